"""What the driver wants done, in this order.

Whoever carries it out answers `Ask` with an `Asked` event and `RecordFailure` with a `Stored` event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mpiens.messages import Assignment, Reported
from mpiens.record import Params
from mpiens.reports import Report
from mpiens.samplers.base import FinishedTrial

Outcome = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Ask:
    """Get points from the sampler."""

    count: int


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send trials to a group."""

    group: int
    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class RecordFailure:
    """Store that a trial has failed for good.

    Attributes:
        reports: What its last attempt has reported, as far as it is known.
    """

    number: int
    attempt: int
    group: int
    params: Params
    started_s: float
    elapsed_s: float
    error: str
    history: str
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class NoteRetry:
    """Keep it in mind that an attempt has ended without a result; the trial waits again.

    Attributes:
        number: The trial.
        attempt: How often it was sent, as far as that counts.
        history: All its attempts that have failed.
    """

    number: int
    attempt: int
    history: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the sampler, in this order."""

    trials: tuple[FinishedTrial, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask the pruner, and let the group know."""

    question: Reported


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Make everything so far durable."""


@dataclass(frozen=True, slots=True)
class Hurry:
    """Let running trials that ask whether they should stop do so."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The run has ended.

    Attributes:
        outcome: complete: every trial is finished; stopped: it can go on later; failed: no group is left.
        reason: Why, when it is not complete.
        is_usage: The spec is to blame for a failure.
    """

    outcome: Outcome
    reason: str = ""
    is_usage: bool = False


Action = Ask | Dispatch | RecordFailure | NoteRetry | Tell | Judge | Checkpoint | Hurry | Shutdown
