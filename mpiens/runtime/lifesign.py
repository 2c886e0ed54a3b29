"""What a run's status.json says of it, read without trust: it may be damaged, or of some other program."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpiens.processes import is_alive

STATUS_NAME = "status.json"

ALIVE_S = 15.0
"""A running run renews its status every two seconds; after so long it has ended without a word."""


def read_lifesign(run_dir: Path) -> dict[str, Any]:
    """What status.json says; empty when there is none that names a state."""
    try:
        status = json.loads((run_dir / STATUS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(status, dict) or not isinstance(status.get("state"), str):
        return {}
    for name, kind in (("updated", (int, float)), ("pid", int)):
        if not isinstance(status.get(name, 0), kind):
            del status[name]
    return status


def age_s(status: Mapping[str, Any]) -> float:
    """Seconds between now and the moment when this status was written; without end where it does not tell.

    A moment in the future comes from another machine's clock, and counts by its distance.
    """
    updated = status.get("updated")
    return abs(time.time() - updated) if isinstance(updated, (int, float)) else float("inf")


def is_going_on(status: Mapping[str, Any]) -> bool:
    """True when the run of this status has shown a sign of life just now."""
    # A comparison with NaN, which JSON's reader lets in, is false.
    if status.get("state") != "running" or not age_s(status) <= ALIVE_S:
        return False
    if status.get("host") != platform.node():
        return True
    return is_alive(status.get("pid"))
