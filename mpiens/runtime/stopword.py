"""What a supervisor has been asked by, told to rank 0: all launchers hand on SIGUSR1, and nothing else."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mpiens.small_files import write_whole
from mpiens.store.files import remove

_PLACE = "journal/stop.txt"
_MOST_BYTES = 80


def leave_word(run_dir: Path, reason: str) -> None:
    """As a supervisor, before the signal. A run that has no directory yet goes without."""
    with contextlib.suppress(OSError):
        write_whole(run_dir / _PLACE, reason, is_durable=False)


def take_word(run_dir: Path) -> str:
    """The reason of the signal that has come, once; empty where nobody has left one."""
    path = run_dir / _PLACE
    try:
        reason = path.read_text(errors="replace")[:_MOST_BYTES].strip()
    except OSError:
        return ""
    with contextlib.suppress(OSError):
        remove([path])
    return reason if reason.isprintable() else ""
