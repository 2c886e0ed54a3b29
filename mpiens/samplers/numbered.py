"""Points that depend on nothing but their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past


class NumberedSampler:
    """Gives the points of a function of the trial's number. Nothing is learned.

    Args:
        total: How many trials there will be.
        point: The point with a number.
        start: Points that come first, in place of the function's.
    """

    needs_history = False

    def __init__(self, total: int, point: Callable[[int], Params], start: Sequence[Params] = ()) -> None:
        self.total = total
        self._point = point
        self._start = start
        self._asked = 0

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        first = self._asked
        self._asked = min(first + n, self.total)
        return [self._draw(number) for number in range(first, self._asked)]

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """Nothing is learned."""

    def restore(self, past: Past) -> Mapping[int, Params]:
        """Go on behind the last point that was given."""
        self._asked = past.asked
        return {number: self._draw(number) for number in past.lost}

    def _draw(self, number: int) -> Params:
        return dict(self._start[number]) if number < len(self._start) else self._point(number)
