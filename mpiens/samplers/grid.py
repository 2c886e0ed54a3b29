"""Every point of a space, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past
from mpiens.space import Param


class GridSampler:
    """All points once, then all again for each further repeat.

    Trial ``r * len(points) + i`` is repeat `r` of point `i`: whoever stops a run early has seen the whole space. Where
    the grid has grown, the same holds for each part, one part after the other.

    Args:
        parts: Points, none of them in two parts.
        repeats: How often each is visited.

    Attributes:
        total: Number of points times repeats.
    """

    needs_history = False

    def __init__(self, parts: Sequence[Param], repeats: int = 1) -> None:
        self._parts = parts
        self._repeats = repeats
        self.total = sum(part.count() for part in parts) * repeats
        self._points = self.points_from(0)

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        return list(islice(self._points, n))

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """A grid does not learn."""

    def restore(self, past: Past) -> Mapping[int, Params]:
        """Go on behind the last point that was given."""
        self._points = self.points_from(past.asked)
        return {number: next(self.points_from(number)) for number in past.lost}

    def points_from(self, number: int) -> Iterator[Params]:
        """The points of the trials from this one on."""
        for part in self._parts:
            count = part.count()
            if number >= count * self._repeats:
                number -= count * self._repeats
                continue
            repeat, start = divmod(number, count)
            for _ in range(repeat, self._repeats):
                yield from part.iterate(start)
                start = 0
            number = 0
