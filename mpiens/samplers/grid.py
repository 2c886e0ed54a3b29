"""Every point of a space, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past
from mpiens.space import Param


class GridSampler:
    """All points once, then all again for each further repeat.

    Trial ``r * len(points) + i`` is repeat `r` of point `i`: whoever stops a run early has seen the whole space.

    Attributes:
        total: Number of points times repeats.
    """

    needs_history = False

    def __init__(self, points: Param, repeats: int = 1) -> None:
        self._param = points
        self._count = len(points)
        self._repeats = repeats
        self.total = self._count * repeats
        self._points = self._iterate(0)

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        return list(islice(self._points, n))

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """A grid does not learn."""

    def restore(self, past: Past) -> Mapping[int, Params]:
        """Go on behind the last point that was given."""
        self._points = self._iterate(past.asked)
        return {number: next(self._iterate(number)) for number in past.lost}

    def _iterate(self, number: int) -> Iterator[Params]:
        repeat, start = divmod(number, self._count) if self._count else (self._repeats, 0)
        for _ in range(repeat, self._repeats):
            yield from self._param.iterate(start)
            start = 0
