"""One run per directory: a lock on a file, held by rank 0 for as long as it lives.

The kernel lets go of it when the process ends, however it ends, so that a resume right after a kill is not refused. On
file systems that cannot lock, the run's status must do: it is renewed every two seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import struct
from pathlib import Path

from mpiens.errors import RunExistsError, UsageError

NAME = "run.lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)
_FLOCK = struct.Struct("hhqqi4x")  # of Linux: type, whence, start, length, process


def is_held(run_dir: Path) -> bool:
    """True while a process that this machine knows holds a run directory; takes no lock itself."""
    try:
        fd = os.open(run_dir / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_ = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        return bool(kind != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(fd)


class RunLock:
    """Holds a run directory, once it is told which."""

    def __init__(self) -> None:
        self._path = Path()
        self._fd: int | None = None

    def hold(self, run_dir: Path) -> None:
        """Hold this directory, which exists.

        Raises:
            RunExistsError: Another process holds it.
            UsageError: The file cannot be made.
        """
        self._path = run_dir / NAME
        try:
            while not self._take():
                pass
        except OSError as error:
            raise UsageError(f"{run_dir}: cannot be used as the run directory: {error.strerror}") from error

    def _take(self) -> bool:
        """False when the file was deleted by its holder meanwhile."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip()
            os.close(fd)
            if error.errno in _TAKEN:
                raise RunExistsError(
                    f"{self._path.parent}: a run is going on there ({holder or 'just starting'}); "
                    "--output DIR puts this one elsewhere"
                ) from None
            return True  # This file system has no locks.
        try:
            is_current = os.fstat(fd).st_ino == self._path.stat().st_ino
        except FileNotFoundError:
            is_current = False
        if not is_current:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
        self._fd = fd
        return True

    def release(self) -> None:
        """Let others have the directory."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._fd)
            self._fd = None
