"""Every point of a space, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial
from mpiens.space import Param


class GridSampler:
    """All points once, then all again for each further repeat.

    Trial ``r * len(points) + i`` is repeat `r` of point `i`: whoever stops a run early has seen the whole space.

    Attributes:
        total: Number of points times repeats.
    """

    def __init__(self, points: Param, repeats: int = 1) -> None:
        self.total = len(points) * repeats
        self._points: Iterator[Params] = (point for _ in range(repeats) for point in points.iterate())

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        return list(islice(self._points, n))

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """A grid does not learn."""
