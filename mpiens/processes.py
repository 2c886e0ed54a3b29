"""Processes of this machine: is one still there, which carry a mark, and one that ends with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def is_alive(pid: Any, seen_s: float = float("inf")) -> bool:
    """True while the process `pid` lives that was there at `seen_s`; a later one of the same number is another."""
    try:
        # Empty for a process that was killed and that nobody has buried yet.
        if not Path(f"/proc/{pid}/cmdline").read_bytes():
            return False
        ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        booted = Path("/proc/stat").read_text(encoding="utf-8").partition("btime ")[2].split()[0]
        return int(booted) + ticks / os.sysconf("SC_CLK_TCK") <= seen_s + 2.0
    except (OSError, ValueError, IndexError):
        return False


def having(*variables: str) -> list[int]:
    """Process ids of those, this one aside, whose environment at their start held all of these ``NAME=value``."""
    marks = {variable.encode() for variable in variables}
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        # A process of somebody else, or one that has just ended, cannot be read; a zombie's environment is empty.
        with contextlib.suppress(OSError):
            if marks.issubset((folder / "environ").read_bytes().split(b"\0")):
                found.append(int(folder.name))
    return found


def kill(pid: int) -> None:
    """Kill a process, unless it has ended or is somebody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def end_with_parent(parent: int | None = None, number: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel send this process `number` when its parent ends.

    Args:
        parent: Who that was when this process started: when it has ended meanwhile, the signal comes now. None: a
            parent that cannot have ended yet.
        number: The signal.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)
