"""Faults at the disk: every change that mpiens makes to its files can fail, or be the last thing the process does.

They go through `mpiens/store/files.py` and `mpiens/small_files.py`; here the ``os`` that these see is another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mpiens import small_files
from mpiens.store import files

CHANGES = ("write", "fsync", "replace", "unlink", "rmdir", "link", "ftruncate", "mkdir")


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


class FaultyOs:
    """As the module ``os``; `before` is called with the number and the name of each change, and may raise.

    Args:
        before: Called before each change.
        tears: The first call of ``write`` for some bytes writes half of them, as a full disk or a signal may cause.
        syncs: Really wait for the disk.
    """

    def __init__(self, before: Callable[[int, str], None], tears: bool = True, syncs: bool = False) -> None:
        self.seen: list[str] = []
        self._before = before
        self._tears = tears
        self._syncs = syncs

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in CHANGES:
            return call

        def changed(*args: Any, **options: Any) -> Any:
            self._before(len(self.seen), name)
            self.seen.append(name)
            if name == "fsync" and not self._syncs:
                return None
            if name == "write" and self._tears and len(args[1]) > 1:
                return os.write(args[0], memoryview(args[1])[: len(args[1]) // 2])
            return call(*args, **options)

        return changed


@contextmanager
def disk(before: Callable[[int, str], None], **options: bool) -> Iterator[FaultyOs]:
    """Let mpiens see such a disk."""
    real, faulty = files.os, FaultyOs(before, **options)
    files.os = small_files.os = faulty  # type: ignore[assignment]
    try:
        yield faulty
    finally:
        files.os = small_files.os = real


def dies_at(step: int) -> Callable[[int, str], None]:
    """Before change `step`, and nothing may change the disk afterwards."""

    def before(number: int, name: str) -> None:
        if number >= step:
            raise Killed(name)

    return before


def fails_at(step: int, error: int, times: int = 1) -> Callable[[int, str], None]:
    """So many changes fail from `step` on: those that need room, or for other errors than a full disk all of them."""
    needing_room = ("write", "fsync", "mkdir", "link")
    failed = 0

    def before(number: int, name: str) -> None:
        nonlocal failed
        import errno

        if number >= step and failed < times and (name in needing_room or error != errno.ENOSPC):
            failed += 1
            raise OSError(error, os.strerror(error))

    return before
