"""Files that appear whole or not at all, and errors that name them.

Every change of the disk by the journals, segments, checkpoints and small files goes through the calls of ``os`` in this
module and in `mpiens/small_files.py`: tests let each of them fail, or end the process.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mpiens.errors import StoreError
from mpiens.small_files import force, rename, sync_folder, temporary_name

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
RAISED_BY_H5PY = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)
_STEP_S = 0.001
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
    except RAISED_BY_H5PY as error:
        raise store_error(path, doing, error) from error


def cut(fd: int, size: int) -> None:
    """Cut a file off at `size`."""
    os.ftruncate(fd, size)


def name_aside(path: Path) -> Path:
    """Where a damaged file is kept; never a name that is taken."""
    aside, count = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.damaged.{count}")
    return aside


def link(old: Path, new: Path) -> None:
    """Give a file a second name, durably.

    Raises:
        OSError: The file system has no hard links.
    """
    os.link(old, new)
    sync_folder(new.parent)


def keep_as(path: Path, kept: Path) -> None:
    """Let `kept` be what `path` is now. `path` stays, except on file systems without hard links."""
    temporary = temporary_name(kept)
    with suppress(FileNotFoundError):
        os.unlink(temporary)  # noqa: PTH108 - all changes are calls of os
    try:
        os.link(path, temporary)
    except OSError:
        rename(path, kept)
        return
    rename(temporary, kept)
    with suppress(FileNotFoundError):  # it stays where `kept` was the same file already
        os.unlink(temporary)  # noqa: PTH108 - all changes are calls of os


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    fd = os.open(path, os.O_RDWR)
    try:
        force(fd)
    finally:
        os.close(fd)


def syncing(path: Path) -> Iterator[None]:
    """`sync_file` by a thread of its own, in steps that last a millisecond at most: a disk may take long.

    Raises:
        OSError: The disk refuses.
    """
    failures: list[BaseException] = []

    def sync() -> None:
        try:
            sync_file(path)
        except BaseException as error:  # noqa: BLE001 - raised below, where somebody can hear it
            failures.append(error)

    thread = threading.Thread(target=sync, name=f"sync {path.name}")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_STEP_S)
            yield
    finally:
        thread.join()
    if failures:
        raise failures[0]


def at_once(steps: Iterator[None], between: Callable[[], None] = lambda: None) -> None:
    """Carry out all steps of something that can be done step by step, and `between` after each."""
    for _step in steps:
        between()


def make_folder(folder: Path) -> None:
    """Make `folder` and what is above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        os.mkdir(folder)  # noqa: PTH102 - all changes are calls of os
    except FileExistsError:
        return
    sync_folder(folder.parent)


def remove(paths: Iterable[Path]) -> None:
    """Delete files, durably; those that are gone already are no error."""
    folders = set()
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - all changes are calls of os
        folders.add(path.parent)
    for folder in folders:
        sync_folder(folder)


def remove_empty(folder: Path) -> None:
    """Delete a folder unless there is something in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        os.rmdir(folder)  # noqa: PTH106 - all changes are calls of os


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; when the block ends well it becomes `path`, atomically and durably.

    The block makes the content durable itself (`syncing`).

    Raises:
        StoreError: It cannot be written; what was at `path` before is untouched.
    """
    temporary = temporary_name(path)
    with explaining(path, "write"):
        try:
            yield temporary
            rename(temporary, path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - all changes are calls of os
            raise
