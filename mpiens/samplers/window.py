"""Which of the finished trials a sampler is shown, when there are too many to look at all of them for every point.

What is shown depends on the set of finished trials alone, not on the order in which they came: so a restored sampler
sees the same.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

import numpy as np

Rank = tuple[float, ...]
"""Trials compare by this; the lower, the better."""


class Window:
    """The best trials, and those with the highest numbers.

    Args:
        best: How many of the best.
        recent: How many of the recent.
    """

    def __init__(self, best: int, recent: int) -> None:
        self._most_best, self._most_recent = best, recent
        self._best: list[tuple[Rank, int]] = []
        self._recent: list[int] = []

    def add(self, number: int, rank: Rank) -> list[int]:
        """Take in a finished trial; the numbers that are no longer shown, which may be its own."""
        left = []
        insort(self._best, (rank, number))
        insort(self._recent, number)
        if len(self._best) > self._most_best:
            left.append(self._best.pop()[1])
        if len(self._recent) > self._most_recent:
            left.append(self._recent.pop(0))
        return [gone for gone in dict.fromkeys(left) if not self._shows(gone)]

    def _shows(self, number: int) -> bool:
        at = bisect_left(self._recent, number)
        if at < len(self._recent) and self._recent[at] == number:
            return True
        return any(number == kept for _, kept in self._best)


class FrontWindow:
    """The same for several objectives: the trials that no other one dominates, and those with the highest numbers.

    Args:
        best: How many of the front at most; spread along it.
        recent: How many of the recent.
    """

    def __init__(self, best: int, recent: int) -> None:
        self._most_best, self._most_recent = best, recent
        self._front: dict[int, np.ndarray] = {}
        self._recent: list[int] = []

    def add(self, number: int, rank: Rank) -> list[int]:
        """Take in a finished trial; the numbers that need not be kept any more, which may be its own.

        Args:
            number: The trial.
            rank: Its objectives, to be minimised; infinite where it has none.
        """
        values = np.array(rank)
        left = []
        if self._front:
            others = np.array(list(self._front.values()))
            is_dominated = bool(np.any(np.all(others <= values, axis=1) & np.any(others < values, axis=1)))
        else:
            is_dominated = False
        if not is_dominated and np.all(np.isfinite(values)):
            if self._front:
                beaten = np.all(values <= others, axis=1) & np.any(values < others, axis=1)
                for kept, gone in zip(list(self._front), beaten.tolist(), strict=True):
                    if gone:
                        del self._front[kept]
                        left.append(kept)
            self._front[number] = values
        else:
            left.append(number)
        insort(self._recent, number)
        if len(self._recent) > self._most_recent:
            left.append(self._recent.pop(0))
        recent = set(self._recent) if left else set()
        return [gone for gone in dict.fromkeys(left) if gone not in self._front and gone not in recent]

    def hidden(self) -> set[int]:
        """Trials of the front that are not shown, because it has too many."""
        if len(self._front) <= self._most_best:
            return set()
        order: list[Any] = sorted(self._front, key=lambda number: (*self._front[number].tolist(), number))
        shown = {order[i] for i in np.linspace(0, len(order) - 1, self._most_best).round().astype(int)}
        return set(order) - shown - set(self._recent)
