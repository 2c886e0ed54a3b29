"""All processes of one start of a job on this machine, found by a mark in their environment.

Launchers give ranks sessions of their own, and a launcher that is killed may leave them behind. What a process has
inherited into its environment stays readable in ``/proc``.
"""

from __future__ import annotations

import time

from mpiens.environment import SUPERVISED
from mpiens.processes import having, kill


def members(token: str) -> list[int]:
    """Process ids of those that carry this mark and have not ended, without this process."""
    return having(f"{SUPERVISED}={token}")


def end_family(token: str, timeout_s: float = 10.0) -> int:
    """Kill all processes with this mark, and those that they start meanwhile.

    Returns:
        How many there were.
    """
    known: set[int] = set()
    end_s = time.monotonic() + timeout_s
    while (alive := members(token)) and time.monotonic() < end_s:
        for pid in alive:
            kill(pid)
        known.update(alive)
        time.sleep(0.02)
    return len(known)
