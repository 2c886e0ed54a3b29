"""Numbers, times and parameters as people read them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def duration(seconds: float | None) -> str:
    """``1:02:03``, ``2:03`` or ``4.5 s``; ``?`` for None."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def number(value: Any) -> str:
    """Five significant digits; text as it is."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def rate(per_s: float) -> str:
    """Trials a second, a minute or an hour, whichever reads best."""
    if per_s >= 1:
        return f"{per_s:.4g}/s"
    return f"{per_s * 60:.3g}/min" if per_s * 60 >= 1 else f"{per_s * 3600:.3g}/h"


def params(values: Mapping[str, Any], most: int = 6) -> str:
    """``a=1 b=2.5``, at most so many."""
    shown = [f"{name}={number(value)}" for name, value in list(values.items())[:most]]
    return " ".join(shown) + (f" and {len(values) - most} more" if len(values) > most else "")


def resume(run_dir: Path) -> str:
    """The command that goes on with a run."""
    return f"mpiens resume {shlex.quote(str(run_dir))}"


def count(many: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{many} {noun}" if many == 1 else f"{many} {noun}s"
