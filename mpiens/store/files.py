"""Files that appear whole or not at all, and errors that name them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mpiens.errors import StoreError

_ADVICE = {
    errno.ENOSPC: "make space, then resume: what was stored is kept",
    errno.EDQUOT: "the quota is used up; make space, then resume: what was stored is kept",
    errno.EFBIG: "a limit on file sizes is reached (ulimit -f); raise it, then resume: what was stored is kept",
    errno.EROFS: "the file system is read-only; choose another run directory or have it mounted for writing",
    errno.EACCES: "check the permissions of the file and its folder",
    errno.EPERM: "check the permissions of the file and its folder",
    errno.ENOENT: "the run directory was moved or deleted while it was in use",
    errno.EIO: "the disk or its connection failed; check it, then resume: what was synced is kept",
    errno.ESTALE: "the network file system lost the file; check the mount, then resume",
}
_HDF5_ERRNO = re.compile(r"errno = (\d+)")


def store_error(path: Path, doing: str, error: Exception) -> StoreError:
    """A `StoreError` that names the file, the cause and what to do."""
    number = getattr(error, "errno", None)
    if found := _HDF5_ERRNO.search(str(error)):  # HDF5 tells the system's error in the text only
        number = int(found.group(1))
    cause = os.strerror(number) if number else " ".join(str(error).split()) or type(error).__name__
    advice = _ADVICE.get(number or 0, "")
    return StoreError(f"{path}: cannot {doing}: {cause}" + (f"; {advice}" if advice else ""))


@contextmanager
def explaining(path: Path, doing: str) -> Iterator[None]:
    """Turn the errors of files and of HDF5 into a `StoreError` about `path`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # all of these are raised by h5py
        raise store_error(path, doing, error) from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Make `folder` and what is above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def remove(paths: list[Path]) -> None:
    """Delete files, durably; those that are gone already are no error."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
    for folder in {path.parent for path in paths}:
        sync_folder(folder)


def temporary_name(path: Path) -> Path:
    """Where `path` grows before it gets its name. Always the same, so that a killed attempt is overwritten."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; when the block ends well it becomes `path`, atomically and durably.

    Raises:
        StoreError: It cannot be written; what was at `path` before is untouched.
    """
    temporary = temporary_name(path)
    with explaining(path, "write"):
        try:
            yield temporary
            fd = os.open(temporary, os.O_RDWR)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(temporary, path)  # noqa: PTH105 - the counterpart of os.fsync, and tests count both
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
