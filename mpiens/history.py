"""The attempts at a trial that have failed, as text: a line of JSON each, oldest first. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

MOST_BYTES = 4000
"""A longer history takes in no more attempts: in results.h5 every trial's takes as much room as the longest."""

_MOST_ERROR = 400


class FailedAttempt(NamedTuple):
    """An attempt that has failed.

    Attributes:
        attempt: Which dispatch of the trial, from 1.
        group: Group that ran it; -1 when that is not known.
        started_s: Start, in seconds since 1970 (UTC); None where the attempt did not live to tell.
        elapsed_s: How long it ran; None likewise.
        error: Cause, one line.
        is_own: False where a process ended with several trials, and nobody knows which of them has ended it.
    """

    attempt: int
    group: int
    started_s: float | None
    elapsed_s: float | None
    error: str
    is_own: bool = True


def extended(history: str, failed: FailedAttempt) -> str:
    """`history` with one more attempt."""
    rounded = failed._replace(
        started_s=None if failed.started_s is None else round(failed.started_s, 3),
        elapsed_s=None if failed.elapsed_s is None else round(failed.elapsed_s, 6),
        error=failed.error[:_MOST_ERROR],
    )
    fields = rounded._asdict()
    if failed.is_own:
        del fields["is_own"]
    line = json.dumps(fields, ensure_ascii=False) + "\n"
    return history + line if len(history) + len(line.encode("utf-8", "replace")) <= MOST_BYTES else history


def attempts_in(history: str) -> Iterator[FailedAttempt]:
    """The attempts in a history; a line that is damaged is left out."""
    for line in history.splitlines():
        try:
            found = json.loads(line)
            started_s, elapsed_s = (None if found[n] is None else float(found[n]) for n in ("started_s", "elapsed_s"))
            is_own = bool(found.get("is_own", True))
            yield FailedAttempt(
                int(found["attempt"]), int(found["group"]), started_s, elapsed_s, str(found["error"]), is_own
            )
        except (ValueError, TypeError, KeyError):
            continue


def spared_in(history: str) -> int:
    """How many of these attempts may have ended because of another trial."""
    return sum(not attempt.is_own for attempt in attempts_in(history)) if history else 0
