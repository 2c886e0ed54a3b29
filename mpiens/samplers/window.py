"""Which of the finished trials a sampler is shown, when there are too many to look at all of them for every point.

What is shown depends on the set of finished trials alone, not on the order in which they came: so a restored sampler
sees the same.
"""

from __future__ import annotations

from bisect import insort
from typing import Any

import numpy as np

from mpiens.trial import trial_seed

_LOT = 7

Rank = tuple[float, ...]
"""Trials compare by this; the lower, the better."""


class Window:
    """The best trials, those with the highest numbers, and a sample of all.

    The sample is even: good or recent trials must not seem more frequent than they are, because samplers look at where
    points are dense.

    Args:
        size: How many trials.
        best: How many of them are the best.
        recent: How many of them are the recent.
    """

    def __init__(self, size: int, best: int, recent: int) -> None:
        self._best = Lowest(best)
        self._recent = Lowest(recent)
        self._sample = Lowest(size - best - recent)

    def add(self, number: int, rank: Rank) -> list[int]:
        """Take in a finished trial; the numbers that are no longer shown, which may be its own."""
        left = {self._best.add((*rank, number), number), self._recent.add((-number,), number)}
        gone = []
        for other in left:
            if other is not None and other not in self._best and other not in self._recent:
                # As if drawn by lot, and the same for the same number.
                gone.append(self._sample.add((trial_seed(_LOT, other),), other))
        return [other for other in gone if other is not None]


class Lowest:
    """The numbers with the lowest keys.

    Args:
        most: How many.

    Attributes:
        numbers: They.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ordered: list[tuple[Rank, int]] = []
        self.numbers: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self.numbers

    def first(self, most: int) -> list[int]:
        """The lowest ones, in order."""
        return [number for _, number in self._ordered[:most]]

    def add(self, key: Rank, number: int) -> int | None:
        """Take one in; the one that must leave for it, which may be itself."""
        insort(self._ordered, (key, number))
        self.numbers.add(number)
        if len(self._ordered) <= self._most:
            return None
        gone = self._ordered.pop()[1]
        self.numbers.remove(gone)
        return gone


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
