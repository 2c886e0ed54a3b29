"""The trials that TPE looks at, as rows of numbers.

TPE calls some trials good, draws points where these are dense, and takes the one where all others are least dense. A
trial counts for a density only near itself, and in the emptiest place its nearest neighbours decide. So of the others
those nearest to the points drawn are shown; of the rest a sample, each with the weight of all that it stands for. What
is shown depends on the set of trials and on the points alone: a restored sampler sees the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.sampler import default_gamma

from mpiens.samplers.window import Lowest, Rank
from mpiens.trial import trial_seed

_EQUAL = 25
"""So many of the last trials count in full, the older ones less: Optuna's rule."""

_MOST_GOOD = 25
_MOST_RECENT = 50
_LOT = 7
_NO_LOT = np.inf
_STRIDE = 16
_NEIGHBOUR_STRIDE = 8
_MOST_COMPARED = 4000
"""So many trials are compared with the points drawn, those nearest to a good one: it takes about a millisecond."""


class Others(NamedTuple):
    """What TPE estimates the density of all but the good trials from.

    Attributes:
        rows: In Optuna's internal numbers, in the order of the trials' numbers, ``[n, parameters]``.
        weights: ``[n]``.
    """

    rows: np.ndarray
    weights: np.ndarray


class Rows:
    """Keeps all trials, and shows some.

    Args:
        space: Parameters that are drawn.
        size: So many finished trials are shown; 0: all.
        most_running: So many of the running trials are shown, those with the highest numbers.

    Attributes:
        space: Those that can differ, in the order in which Optuna would find them.
        count: How many trials have finished.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], size: int, most_running: int) -> None:
        self.space = {name: d for name, d in sorted(space.items()) if not d.single()}
        self.count = 0
        self._size = size
        self._most_running = most_running
        self._running: dict[int, list[float]] = {}
        most_good = min(_MOST_GOOD, size // 4) if size else _MOST_GOOD
        self._best = Lowest(most_good)
        self._recent = Lowest(min(_MOST_RECENT, size // 10))
        self._numbers = np.empty(64, np.int64)
        self._lots = np.empty(64, np.float64)
        self._table = np.empty((64, len(self.space)))
        self._distances = _Distances(self.space, most_good)

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """A trial is running."""
        self._running[number] = [float(d.to_internal_repr(params[name])) for name, d in self.space.items()]

    def drop(self, number: int) -> None:
        """Nothing is learned from this running trial."""
        del self._running[number]

    def finish(self, number: int, rank: Rank) -> None:
        """A running trial has ended."""
        place, self.count = self.count, self.count + 1
        self._numbers, self._lots, self._table = (
            _with_room(array, self.count) for array in (self._numbers, self._lots, self._table)
        )
        self._numbers[place] = number
        # As if drawn by lot, and the same for the same number.
        self._lots[place] = trial_seed(_LOT, number)
        self._table[place] = self._running.pop(number)
        self._best.add((*rank, number), place)
        self._recent.add((-number,), place)

    def good(self) -> np.ndarray:
        """The good trials, in the order of their numbers, ``[n, parameters]``."""
        good = self._good()
        return np.asarray(self._table[good[np.argsort(self._numbers[good])]])

    def others(self, points: np.ndarray, with_running: bool) -> Others:
        """All but the good trials, as far as they count at these points.

        Args:
            points: ``[n, parameters]``.
            with_running: Running trials are among them.
        """
        good = self._good()
        shown, stand_for = self._shown(good, points)
        running = sorted(self._running)[-self._most_running :] if with_running else []
        numbers = np.concatenate([self._numbers[shown], np.array(running, np.int64)])
        rows = np.array([self._running[number] for number in running]).reshape(len(running), len(self.space))
        order = np.argsort(numbers)
        total = self.count - len(good) + (len(self._running) if with_running else 0)
        weights = np.concatenate([stand_for, np.ones(len(running))])[order] * _recency(numbers[order], total)
        return Others(np.concatenate([self._table[shown], rows])[order], weights)

    def _good(self) -> np.ndarray:
        return np.array(self._best.first(default_gamma(self.count)), dtype=np.intp)

    def _shown(self, good: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of the trials that are shown besides the good ones, and how many trials each of them stands for."""
        is_open = np.ones(self.count, dtype=bool)
        is_open[good] = False
        if not self._size or self.count <= self._size:
            shown = np.flatnonzero(is_open)
            return shown, np.ones(len(shown))
        recent = np.array([place for place in self._recent.numbers if is_open[place]], dtype=np.intp)
        is_open[recent] = False
        lots = self._lots[: self.count]
        near = self._near(good, points, is_open)
        is_open[near] = False
        left = self._size - len(self._best.numbers) - len(recent) - len(near)
        sample = lowest(np.where(is_open, lots, _NO_LOT), lots, left)
        represented = self.count - len(good) - len(recent) - len(near)
        stand_for = np.ones(len(recent) + len(near) + len(sample))
        stand_for[len(recent) + len(near) :] = represented / max(1, len(sample))
        return np.concatenate([recent, near, sample]), stand_for

    def _near(self, good: np.ndarray, points: np.ndarray, is_open: np.ndarray) -> np.ndarray:
        """Places of the trials nearest to each of the points."""
        lots = self._lots[: self.count]
        distances = self._distances.to_nearest(good, self._table[: self.count])
        compared = np.flatnonzero(is_open)
        if len(compared) > _MOST_COMPARED:
            compared = lowest(np.where(is_open, distances, np.inf), lots, _MOST_COMPARED)
        each, lots = max(1, self._size // 2 // len(points)), lots[compared]
        return np.asarray(compared[nearest_of_each(self._distances.from_points(points, compared), lots, each)])


class _Distances:
    """How far each trial is from the nearest of some; worked out only for what is new.

    Args:
        space: What the columns are.
        most: Of how many at most.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], most: int) -> None:
        self._space = list(space.values())
        self._is_choice = [isinstance(d, CategoricalDistribution) for d in self._space]
        self._targets: list[int | None] = [None] * most
        self._unit = np.empty((64, len(self._space)), np.float32, order="F")
        self._squares = np.empty((most, 64), np.float32)
        self._nearest = np.empty(64, np.float32)
        self._known = 0

    def to_nearest(self, targets: np.ndarray, table: np.ndarray) -> np.ndarray:
        """Squares of the distances from each row to the nearest of the rows at `targets`, in units of the ranges."""
        first, self._known = self._known, len(table)
        self._unit, self._nearest = (_with_room(array, len(table)) for array in (self._unit, self._nearest))
        self._squares = _with_room(self._squares.T, len(table)).T
        self._unit[first : len(table)] = self._in_units(table[first:])
        wanted = set(targets.tolist())
        new = wanted - set(self._targets)
        begin = 0 if new or set(self._targets) - {None} - wanted else first
        kept = [column for column, target in enumerate(self._targets) if target in wanted]
        changed = [column for column, target in enumerate(self._targets) if target not in wanted]
        for column in changed:
            self._targets[column] = new.pop() if new else None
        changed = [column for column in changed if self._targets[column] is not None]
        self._measure(kept, first)
        self._measure(changed, 0)
        self._nearest[begin : self._known] = self._squares[kept + changed, begin : self._known].min(axis=0)
        return self._nearest[: self._known]

    def from_points(self, points: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Squares of the distances from each point to each of the rows at `places`, ``[len(points), len(places)]``."""
        squares = np.zeros((len(points), len(places)), np.float32)
        own, apart = self._in_units(points).astype(np.float32), np.empty_like(squares)
        for index, is_choice in enumerate(self._is_choice):
            np.subtract(self._unit[places, index], own[:, index, np.newaxis], out=apart)
            squares += apart != 0 if is_choice else np.multiply(apart, apart, out=apart)
        return squares

    def _measure(self, columns: list[int], first: int) -> None:
        targets = np.array([self._targets[column] for column in columns], np.intp)
        squares = np.zeros((len(columns), self._known - first), np.float32)
        # Parameter by parameter: so the sum is the same however many rows there are.
        for index, is_choice in enumerate(self._is_choice):
            apart = np.subtract.outer(self._unit[targets, index], self._unit[first : self._known, index])
            squares += apart != 0 if is_choice else np.multiply(apart, apart, out=apart)
        self._squares[columns, first : self._known] = squares

    def _in_units(self, table: np.ndarray) -> np.ndarray:
        made = table.copy()
        for index, d in enumerate(self._space):
            if isinstance(d, CategoricalDistribution):
                continue
            assert isinstance(d, FloatDistribution | IntDistribution)
            low, high = (np.log([d.low, d.high])) if d.log else (d.low, d.high)
            made[:, index] = ((np.log(made[:, index]) if d.log else made[:, index]) - low) / (high - low)
        return made


def _recency(numbers: np.ndarray, total: int) -> np.ndarray:
    """The weights that Optuna gives to so many trials, of which these are shown."""
    if total < _EQUAL:
        return np.ones(len(numbers))
    full = min(_EQUAL, len(numbers))
    older = numbers[: len(numbers) - full]
    if len(numbers) == total:
        ramp = np.linspace(1 / total, 1, len(older))
    else:
        ramp = np.maximum(1, older) / max(1, int(numbers[-1]))
    return np.concatenate([ramp, np.ones(full)])


def lowest(values: np.ndarray, lots: np.ndarray, most: int) -> np.ndarray:
    """Places of the lowest values; of equal ones those with the lowest lots."""
    if most <= 0 or len(values) <= most:
        return np.arange(len(values))[: max(0, most)]
    few, rank = values[::_STRIDE], 2 * most // _STRIDE + _STRIDE
    if rank < len(few):
        # Every so many of them tell where the limit must lie; then few are left to be looked at.
        places = np.flatnonzero(values <= np.partition(few, rank)[rank])
        if most <= len(places) < len(values):
            return np.asarray(places[lowest(values[places], lots[places], most)])
    limit = np.partition(values, most - 1)[most - 1]
    lower, equal = np.flatnonzero(values < limit), np.flatnonzero(values == limit)
    return np.concatenate([lower, equal[np.argsort(lots[equal])[: most - len(lower)]]])


def nearest_of_each(squares: np.ndarray, lots: np.ndarray, most: int) -> np.ndarray:
    """Columns that are among the lowest of some row, in their order; of equal values those with the lowest lots.

    Args:
        squares: ``[rows, columns]``.
        lots: Of each column.
        most: So many of each row.
    """
    few, rank = squares[:, ::_NEIGHBOUR_STRIDE], 2 * most // _NEIGHBOUR_STRIDE + _NEIGHBOUR_STRIDE
    if rank < few.shape[1]:
        # As in `lowest`, for all rows at once.
        places = np.flatnonzero(squares <= np.partition(few, rank, axis=1)[:, rank, np.newaxis])
        rows, columns = np.divmod(places, squares.shape[1])
        counts = np.bincount(rows, minlength=len(squares))
        if counts.min() >= most:
            order = np.lexsort((lots[columns], squares.ravel()[places], rows))
            place_in_row = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            return np.unique(columns[order[place_in_row < most]])
    return np.unique(np.concatenate([lowest(row, lots, most) for row in squares]))


def _with_room(array: np.ndarray, count: int) -> np.ndarray:
    """The array, or a longer one with the same content, so that it has so many rows."""
    if count <= len(array):
        return array
    # In the same order in memory.
    longer = np.empty((2 * count, *array.shape[1:]), array.dtype, order="F" if array.flags.f_contiguous else "C")
    longer[: len(array)] = array
    return longer
