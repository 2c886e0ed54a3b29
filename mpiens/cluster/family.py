"""All processes of one start of a job on this machine, found by a mark in their environment.

Launchers give ranks sessions of their own, and a launcher that is killed may leave them behind. What a process has
inherited into its environment stays readable in ``/proc``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from mpiens.environment import SUPERVISED


def members(token: str) -> list[int]:
    """Process ids of those that carry this mark and have not ended, without this process."""
    mark = f"{SUPERVISED}={token}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        # A process of somebody else, or one that has just ended, cannot be read; a zombie's environment is empty.
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def end_family(token: str, timeout_s: float = 10.0) -> int:
    """Kill all processes with this mark, and those that they start meanwhile.

    Returns:
        How many there were.
    """
    known: set[int] = set()
    end_s = time.monotonic() + timeout_s
    while (alive := members(token)) and time.monotonic() < end_s:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        known.update(alive)
        time.sleep(0.02)
    return len(known)
