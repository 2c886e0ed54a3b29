"""What a sampler is to the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from mpiens.record import Params
from mpiens.reports import Report
from mpiens.trial import TrialState


class FinishedTrial(NamedTuple):
    """What a sampler is told.

    Attributes:
        number: The trial's number; points are numbered from 0 in the order in which `Sampler.ask` gave them.
        state: COMPLETE, PRUNED or FAIL.
        values: The objectives in the spec's order, then the constraints; empty unless COMPLETE.
        constraints: What `AdaptiveSampler` has taken from the end of `values`; feasible when none is above 0.
        reports: What it has reported while it ran: step and value, by step.
    """

    number: int
    state: TrialState
    values: tuple[float, ...]
    constraints: tuple[float, ...] = ()
    reports: tuple[Report, ...] = ()


class Pruner(Protocol):
    """Says which trials are to be given up while they run.

    There is no state but what was reported and learned: a new one that has learned the same goes on as the old one.
    """

    def judge(self, number: int, attempt: int, reports: Sequence[Report]) -> bool:
        """Should this trial be given up?

        Args:
            number: The trial.
            attempt: Which dispatch of it; a new one begins anew.
            reports: Steps and values since the question before.

        Raises:
            MpiensError: It cannot tell.
        """

    def learn(self, trials: Sequence[FinishedTrial]) -> None:
        """These have ended: with generations, a whole one, otherwise in the order in which they ended."""


class PastTrial(NamedTuple):
    """A point that was given in an earlier process.

    Attributes:
        params: The point; None when it is not known any more, so that the sampler must choose it anew.
        ending: What the sampler was told of it; None while it has not been told.
    """

    params: Params | None
    ending: FinishedTrial | None


@dataclass(frozen=True, slots=True)
class Past:
    """What a sampler has done in earlier processes.

    Attributes:
        asked: How many points it has given.
        lost: Numbers of points that are not known any more, ascending.
        trials: All points in the order of their numbers, to be walked through once; only for samplers with
            `Sampler.needs_history`, for others it may be empty.
        tells: Numbers in the order in which they were told, each after how many points had been asked for by then.
            Finished trials that are not among them were told last.
    """

    asked: int
    lost: Sequence[int] = ()
    trials: Iterable[PastTrial] = ()
    tells: Iterable[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What every sampler is told of the run.

    Attributes:
        algorithm: Its name in the spec.
        total: How many trials there will be.
        seed: Root of its random draws.
        directions: ``minimize`` or ``maximize`` for each objective.
        constraints: Names of the constraints.
        batch: Size of a generation; 0: asynchronous.
        options: Its own keyword arguments.
        start: Points to try first.
        earlier: Trials of earlier runs; all are finished and have a point.
    """

    algorithm: str
    total: int
    seed: int
    directions: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    batch: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    start: Sequence[Params] = ()
    earlier: Sequence[PastTrial] = ()


class Sampler(Protocol):
    """Chooses points.

    There is no state but what was asked and told: a sampler that was restored goes on as one that never stopped.

    Attributes:
        total: How many trials there will be.
        needs_history: Points depend on earlier points and results. Otherwise a point is a function of its number.
    """

    total: int
    needs_history: bool

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """Take in what came of points asked for before. Each is told once."""

    def restore(self, past: Past) -> Mapping[int, Params]:
        """Take over from an earlier process; called once, before anything else.

        Returns:
            The points of `Past.lost`, by number.
        """
