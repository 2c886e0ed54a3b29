"""What can happen to the driver."""

from __future__ import annotations

from dataclasses import dataclass

from mpiens.messages import Reported, Result
from mpiens.record import Params


@dataclass(frozen=True, slots=True)
class GroupReady:
    """A group is set up and takes trials."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupLost:
    """A group can run no more trials.

    Attributes:
        error: Cause, one line.
        number: Trial that it was at; None: the first of those that it has, as far as anybody knows.
        is_usage: The spec is to blame.
        is_death: A rank of it has died, so that others in its place may do better.
    """

    group: int
    error: str
    number: int | None = None
    is_usage: bool = False
    is_death: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """The sampler has answered an `Ask`; fewer points than asked for mean that there are no more."""

    points: list[Params]


@dataclass(frozen=True, slots=True)
class Stored:
    """These attempts are finished and their records are safe."""

    group: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """These attempts failed; nothing is recorded yet."""

    group: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Questioned:
    """A group asks whether its trial is to be given up.

    Attributes:
        question: What the trial has reported, and which trial it is.
    """

    question: Reported


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes.

    Attributes:
        now_s: Seconds on a clock that never goes back.
    """

    now_s: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants the run to end early: the first time when running trials have ended, the second time at once.

    Attributes:
        reason: For the summary, such as ``SIGTERM``.
        may_be_loss: It may be that a launcher ends all ranks because one was killed. Then running attempts count,
            because one of them may have killed it.
    """

    reason: str
    may_be_loss: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing has happened: time to ask ahead. Worth saying when `Driver.wants_point`."""


Event = GroupReady | GroupLost | Asked | Stored | Failed | Questioned | Tick | StopRequested | Idle
