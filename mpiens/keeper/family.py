"""The processes that descend from this one: knowing them, and ending them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path

from mpiens.processes import kill

_PR_SET_CHILD_SUBREAPER = 36
_KILL_BOUND_S = 10.0


def adopt_orphans() -> None:
    """From now on descendants whose parents have ended become children of this process, also after setsid."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> dict[int, int]:
    """Bury children that have ended; their statuses by process id."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended


def is_childless() -> bool:
    """True when nothing descends from this process: every orphan would be its child."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def descendants() -> list[int]:
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only, of which there may be thousands
        if entry.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path("/proc", entry, "stat").read_bytes()
                # The name in parentheses may hold anything; state and parent stand behind it.
                children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(entry))
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def kill_all() -> bool:
    """Kill everything below this process, until nothing is left; False when something will not die."""
    end_s = time.monotonic() + _KILL_BOUND_S
    while True:
        reap()
        if is_childless():
            return True
        for pid in descendants():
            kill(pid)
        if time.monotonic() > end_s:
            return False
        time.sleep(0.001)
