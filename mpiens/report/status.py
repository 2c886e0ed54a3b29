"""status.json: the run's counts for other programs, and for `mpiens status`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from mpiens.environment import SUPERVISED
from mpiens.errors import MpiensError, SearchError, UsageError
from mpiens.processes import is_alive
from mpiens.report import words
from mpiens.runtime.lifesign import STATUS_NAME, age_s
from mpiens.runtime.lock import is_held
from mpiens.runtime.observer import Ending, Snapshot
from mpiens.small_files import is_as_written, with_checksum, write_whole

EVERY_S = 2.0
CHANGED = "is_changed"
"""Key under which `read_status` says that the file is not as a run has written it."""

_MOST_OF_FRONT = 200
STALE_S = 30.0
"""A status that says running, comes from another machine, and was not renewed for this long, belongs to a run that was
killed. On this machine its process is looked for instead."""


class StatusFile:
    """Keeps status.json of a run; replaced atomically."""

    def __init__(self) -> None:
        self._written_s = 0.0

    def take_terminal(self, terminal: TextIO) -> None:
        """Nothing to do."""

    def warned(self, text: str) -> None:
        """Nothing to do."""

    def noted(self, text: str) -> None:
        """Not kept."""

    def started(self, snapshot: Snapshot, plan: str) -> None:  # noqa: ARG002
        """Write it at once."""
        self._write(snapshot)

    def updated(self, snapshot: Snapshot) -> None:
        """Write it every two seconds."""
        if time.monotonic() - self._written_s >= EVERY_S:
            self._write(snapshot)

    def ended(self, ending: Ending) -> None:
        """Write it a last time."""
        self._write(ending.last, ending.reason)

    def failed(self, error: MpiensError, last: Snapshot) -> None:
        """Write why the run cannot go on."""
        self._write(last, str(error), isinstance(error, SearchError))

    def _write(self, snapshot: Snapshot, reason: str = "", is_final: bool = False) -> None:
        self._written_s = time.monotonic()
        text = json.dumps(with_checksum(_plain(snapshot, reason) | {"is_final": is_final}), indent=1) + "\n"
        # A display must not end a run; whatever is wrong with the disk, the store will say it.
        with contextlib.suppress(OSError):
            write_whole(snapshot.run_dir / STATUS_NAME, text, is_durable=False)


def _plain(snapshot: Snapshot, reason: str) -> dict[str, Any]:
    best = snapshot.best
    return {
        "name": snapshot.name,
        "state": snapshot.state,
        "reason": reason,
        "total": snapshot.total,
        "complete": snapshot.complete,
        "pruned": snapshot.pruned,
        "failed": snapshot.failed,
        "running": snapshot.running,
        "retried": snapshot.retried,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        "rate_per_s": round(snapshot.rate_per_s, 6),
        "time_left_s": None if snapshot.time_left_s is None else round(snapshot.time_left_s, 3),
        "best": None
        if best is None
        else {
            "number": best.number,
            "values": dict(zip(snapshot.objectives, best.values, strict=True)),
            "params": best.params,
        },
        "front": [
            {"number": b.number, "values": dict(zip(snapshot.objectives, b.values, strict=True)), "params": b.params}
            for b in sorted(snapshot.front, key=lambda b: (b.values, b.number))[:_MOST_OF_FRONT]
        ],
        "causes": dict(snapshot.causes),
        "repeated": dict(snapshot.repeated),
        "groups": snapshot.groups,
        "group_size": snapshot.group_size,
        "ranks": snapshot.ranks,
        "lost_groups": snapshot.lost_groups,
        "lost_ranks": snapshot.lost_ranks,
        "busy_share": round(snapshot.busy_share, 4),
        "updated": time.time(),
        "host": platform.node(),
        "pid": os.getpid(),
        "job": os.environ.get(SUPERVISED, ""),
    }


def read_status(run_dir: Path) -> dict[str, Any]:
    """The status of the run in this directory; a run whose process has gone, or was not heard of any more, is lost.

    Raises:
        UsageError: There is no run, or its status cannot be read.
    """
    path = run_dir / STATUS_NAME if run_dir.is_dir() else run_dir.parent / STATUS_NAME
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{run_dir}: {_without_status(path.parent)}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if not isinstance(status, Mapping) or not isinstance(status.get("state"), str):
        raise UsageError(f"{path}: not a status file of mpiens")
    status = dict(status)
    status[CHANGED] = not is_as_written(status)
    if status["state"] == "running" and not _is_seen(path.parent, status):
        status["state"] = "lost"
    return status


def _without_status(run_dir: Path) -> str:
    """Why this directory may have no status."""
    from mpiens.runtime.resume import holds_run

    if is_held(run_dir):
        return "a run is starting here and has not written its state yet; ask again in some seconds"
    if holds_run(run_dir):
        return (
            f"files of a run are here, but {STATUS_NAME} is missing: it is still starting, was killed before it wrote "
            f"its state, or the file was removed; `{words.resume(run_dir)}` goes on with what there is"
        )
    return f"no run here ({STATUS_NAME} is missing); `mpiens list` shows runs below"


def _is_seen(run_dir: Path, status: Mapping[str, Any]) -> bool:
    """True when the run of this status may be there still: as its process on this machine, by its word elsewhere."""
    if status.get("host") != platform.node():
        return age_s(status) <= STALE_S
    updated = status.get("updated")
    if isinstance(updated, (int, float)) and is_alive(status.get("pid"), updated):
        return True
    return is_held(run_dir)  # by a process of another container, or of one that goes on with the run just now
