"""Is a process of this machine still there?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


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
