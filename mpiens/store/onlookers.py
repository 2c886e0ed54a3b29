"""Programs that still have a results.h5 open that has been replaced: what it shows must not be deleted under them.

HDF5 opens the segments that it shows by their names, when they are read, and shows fill values where one is gone,
without an error. So whoever has an old file open is looked for: among the processes of this machine, because no lock
can be asked for without being in the way of those who come just then. Whoever cannot be seen, on another machine or as
another user, has the time until segments are deleted at all.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

NEVER_NS = 2**63 - 1
_PROCESSES = Path("/proc")


def looking(path: Path) -> Generator[None, None, int]:
    """Look for processes that have a file open which `path` was before, step by step.

    Args:
        path: A file that is only ever replaced.

    Returns:
        When the oldest of these files was written, nanoseconds since 1970; `NEVER_NS` where there is none. It is the
        value of ``yield from``.
    """
    name = path.resolve()
    gone, renamed = f"{name} (deleted)", f"{name.parent}/.nfs"  # as Linux and its NFS call it then
    oldest_ns = NEVER_NS
    for process in _PROCESSES.iterdir() if _PROCESSES.is_dir() else ():
        if not process.name.isdecimal():
            continue
        yield
        try:
            for place in (process / "fd").iterdir():
                opened = str(place.readlink())
                if opened == gone or opened.startswith(renamed):
                    oldest_ns = min(oldest_ns, place.stat().st_mtime_ns)
        except OSError:
            continue  # it has ended, or is somebody else's
    return oldest_ns


def are_there(path: Path) -> bool:
    """True when a process has a file open which `path` was before."""
    steps = looking(path)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value != NEVER_NS)
