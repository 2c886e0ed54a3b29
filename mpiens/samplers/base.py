"""What a sampler is to the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mpiens.record import Params
from mpiens.trial import TrialState


class FinishedTrial(NamedTuple):
    """What a sampler is told.

    Attributes:
        number: The trial's number; points are numbered from 0 in the order in which `Sampler.ask` gave them.
        state: COMPLETE, PRUNED or FAIL.
        values: The objectives in the spec's order; empty unless COMPLETE.
    """

    number: int
    state: TrialState
    values: tuple[float, ...]


class Sampler(Protocol):
    """Chooses points.

    Attributes:
        total: How many trials there will be.
    """

    total: int

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """Take in what came of points asked for before. Each is told once."""
