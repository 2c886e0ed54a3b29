"""Copies of files' checksums in files of their own: they stand at a file's end, and go first where it is cut off.

A copy is what stands behind the file's HDF5 data (`mpiens/store/checksums.py`), checksums of itself included. Nothing
needs it as long as the file's own are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mpiens.small_files import rename, write_all, write_whole
from mpiens.store.files import explaining, make_folder, remove, replacing, syncing

FOLDER = "checksums"
_SEGMENTS = "segments"
_SUFFIX = ".sums"


def beside(path: Path) -> Path:
    """Where the copy of the checksums of this file of a run is."""
    # Nobody shall count them among the segments.
    folder = path.parent.parent / FOLDER if path.parent.name == _SEGMENTS else path.parent
    return folder / f"{path.name}{_SUFFIX}"


def writing_beside(path: Path, tail: bytes) -> Iterator[None]:
    """Write the copy, step by step, before the file gets its name.

    Raises:
        StoreError: It cannot be written.
    """
    with explaining(beside(path), "write"):
        make_folder(beside(path).parent)
    with replacing(beside(path)) as temporary:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            write_all(fd, tail)
        finally:
            os.close(fd)
        yield from syncing(temporary)


def remove_with(paths: Iterable[Path]) -> None:
    """Delete files and the copies of their checksums, durably, in their order.

    Raises:
        OSError: The disk refuses.
    """
    remove(part for path in paths for part in (beside(path), path) if part == path or part.exists())


def remove_lone(run_dir: Path) -> None:
    """Delete copies whose files have never come, or have gone: a kill has come between.

    Raises:
        OSError: The disk refuses.
    """
    for folder, of in ((run_dir, run_dir), (run_dir / FOLDER, run_dir / _SEGMENTS)):
        if folder.is_dir():
            remove([path for path in folder.glob(f"*{_SUFFIX}") if not (of / path.stem).exists()])


def rename_with(path: Path, new: Path) -> None:
    """Give a file another name, and the copy of its checksums with it.

    Raises:
        StoreError: The disk refuses.
    """
    with explaining(path, "rename"):
        if beside(path).exists():
            make_folder(beside(new).parent)
            rename(beside(path), beside(new))
        rename(path, new)


def copy_beside(path: Path, new: Path) -> None:
    """Let `new`, which has the content of `path`, have the copy of its checksums too.

    Raises:
        OSError: The disk refuses.
    """
    if beside(path).exists():
        make_folder(beside(new).parent)
        write_whole(beside(new), beside(path).read_bytes())
