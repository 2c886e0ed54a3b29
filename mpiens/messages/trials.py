"""What the driver and the groups say about trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mpiens.record import Params
from mpiens.reports import Report
from mpiens.trial import TrialState


class Assignment(NamedTuple):
    """One attempt at one trial.

    Attributes:
        number: The trial.
        attempt: Which dispatch of it.
        params: Its point.
        history: The attempts before, as `mpiens.history` writes them; they go into the trial's record.
    """

    number: int
    attempt: int
    params: Params
    history: str = ""


@dataclass(frozen=True, slots=True)
class Assign:
    """Trials to run, in this order, after those assigned before."""

    assignments: tuple[Assignment, ...]


class Failure(NamedTuple):
    """Why an attempt failed on one rank.

    Attributes:
        text: One line.
        retry: The cause may pass.
    """

    text: str
    retry: bool = True


class Question(NamedTuple):
    """What all ranks of a group ask its root during a trial.

    Attributes:
        number: The trial.
        attempt: Which dispatch of it.
        call: How many questions there were in it, this one included.
        topic: What is asked, for messages.
    """

    number: int
    attempt: int
    call: int
    topic: str


class Result(NamedTuple):
    """How an attempt has ended. A named tuple, because there may be a hundred thousand of them a second.

    Attributes:
        number: The trial.
        attempt: Which dispatch of it.
        state: COMPLETE, PRUNED or FAIL.
        values: Objectives in the order of the spec; empty unless COMPLETE.
        started_s: Start, in seconds since 1970 (UTC).
        elapsed_s: How long it ran.
        error: Cause of a failure, one line; empty otherwise.
        retry: The cause may pass, so that another attempt makes sense.
        record: The packed `TrialRecord`; empty for a failure, which the driver may want to try again.
        reports: What the trial has reported while it ran.
    """

    number: int
    attempt: int
    state: TrialState
    values: tuple[float, ...]
    started_s: float
    elapsed_s: float
    error: str
    retry: bool
    record: bytes
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """Attempts that have ended, in the order in which they ran. Those that have failed have no record."""

    group: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Attempts that have ended and whose records are safe, without the records."""

    group: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A trial asks whether it should be given up.

    Attributes:
        group: The group that runs it.
        number: The trial.
        attempt: Which dispatch of it.
        call: How many questions there were in it, this one included.
        reports: Steps and values since the question before.
    """

    group: int
    number: int
    attempt: int
    call: int
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to `Reported`."""

    number: int
    attempt: int
    call: int
    is_pruned: bool


@dataclass(frozen=True, slots=True)
class Hurry:
    """Trials that ask whether they should stop are to end."""
