"""Programs that still have a results.h5 open that has been replaced: what it shows must not be deleted under them.

HDF5 shows fill values where a segment is gone, without an error. But it locks what it reads, shared, so that whoever
has the old file open can be seen; not where its locks are switched off (``HDF5_USE_FILE_LOCKING=FALSE``), or on file
systems that have none.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Onlookers:
    """Watches the files that were replaced, as long as somebody has them open."""

    def __init__(self) -> None:
        self._replaced: list[int] = []

    @contextmanager
    def kept(self, path: Path) -> Iterator[None]:
        """Remember who has `path` open; the block replaces it."""
        try:
            # For writing, because network file systems lock no others. Nothing is written.
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            fd = -1
        if (
            fd >= 0 and os.fstat(fd).st_nlink > 1
        ):  # a segment too: it holds its rows, and others may be about to read it
            os.close(fd)
            fd = -1
        try:
            yield
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        if fd >= 0:
            self._replaced.append(fd)

    def are_there(self) -> bool:
        """True while somebody has one of them open."""
        gone = [fd for fd in self._replaced if not _is_locked(fd)]
        for fd in gone:
            self._replaced.remove(fd)
            os.close(fd)
        return bool(self._replaced)

    def forget(self) -> None:
        """Watch no more."""
        for fd in self._replaced:
            os.close(fd)
        self._replaced.clear()


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        pass  # no locks here
    return False
