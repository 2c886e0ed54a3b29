"""Optuna's TPE, with what it looks at prepared for it: which trials are good, and how much each of the others counts.

Left to itself it goes through all trials for every point, several times. Here rows of numbers are kept instead, of a
window of the trials, and the weights make the window look like the whole.

Source: Watanabe (2023), Tree-structured Parzen estimator: understanding its algorithm components and their roles for
better empirical performance, arXiv:2304.11127.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.trial import FrozenTrial

from mpiens.samplers.optuna.density import log_density
from mpiens.samplers.window import Rank, Window

_EQUAL = 25
"""So many of the last trials count in full, the older ones less: Optuna's rule."""


class Split(NamedTuple):
    """What TPE estimates densities from; rows are in Optuna's internal numbers, in the order of the trials' numbers.

    Attributes:
        good: ``[n, parameters]``.
        others: ``[m, parameters]``.
        weights: Of the others, ``[m]``.
    """

    good: np.ndarray
    others: np.ndarray
    weights: np.ndarray


class Rows:
    """The trials that TPE is shown.

    Args:
        space: Parameters that are drawn.
        window: Which finished trials are kept.
        most_running: So many of the running trials are shown, those with the highest numbers.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], window: Window, most_running: int) -> None:
        # In the order in which Optuna would find them.
        self.space = {name: d for name, d in sorted(space.items()) if not d.single()}
        self._window = window
        self._most_running = most_running
        self._finished: list[int] = []
        self._running: list[int] = []
        self._table = np.empty((64, len(self.space)))
        self._places: dict[int, int] = {}
        self._free: list[int] = []

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """A trial is running."""
        if number not in self._places:
            insort(self._running, number)
            self._places[number] = self._free.pop() if self._free else len(self._places)
            if len(self._places) > len(self._table):
                self._table = np.concatenate([self._table, np.empty_like(self._table)])
        row = [float(d.to_internal_repr(params[name])) for name, d in self.space.items()]
        self._table[self._places[number]] = row

    def drop(self, number: int) -> None:
        """Nothing is learned from this running trial."""
        self._running.remove(number)
        self._forget(number)

    def finish(self, number: int, rank: Rank) -> list[int]:
        """A running trial has ended; the numbers that are not needed any more."""
        self._running.remove(number)
        insort(self._finished, number)
        gone = self._window.add(number, rank)
        for left in gone:
            self._finished.remove(left)
            self._forget(left)
        return gone

    def _forget(self, number: int) -> None:
        self._free.append(self._places.pop(number))

    @property
    def count(self) -> int:
        """How many trials have finished, shown or not."""
        return self._window.count

    def split(self, with_running: bool) -> Split:
        """Good trials and others, now; running ones are among the others, or left out."""
        count = self._window.count
        good = sorted(self._window.best(default_gamma(count)))
        is_good = set(good)
        running = self._running[-self._most_running :] if with_running else []
        others = sorted([number for number in self._finished if number not in is_good] + running)
        total = count - len(good) + (len(self._running) if with_running else 0)
        return Split(self._of(good), self._of(others), self._weights(others, total))

    def _of(self, numbers: list[int]) -> np.ndarray:
        return self._table[[self._places[number] for number in numbers]]

    def _weights(self, others: list[int], total: int) -> np.ndarray:
        """As Optuna weighs `total` trials, with each one of the sample in place of several that are not shown."""
        if total < _EQUAL:
            return np.ones(len(others))
        full = min(_EQUAL, len(others))
        older = np.array(others[: len(others) - full], dtype=float)
        if len(others) == total:
            ramp = np.linspace(1 / total, 1, len(older))
        else:
            # The sample is even, so that numbers tell places.
            ramp = np.maximum(1, older) / max(1, others[-1])
        weights = np.concatenate([ramp, np.ones(full)])
        share = self._window.stands_for
        sample = self._window.sample
        weights[[number in sample for number in others]] *= share
        return weights


class PreparedTPE(TPESampler):
    """TPE that is told what to look at.

    Attributes:
        rows: What; None: it looks for itself.
    """

    rows: Rows | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters are drawn together."""
        return super().infer_relative_search_space(study, trial) if self.rows is None else self.rows.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point; empty while points are to be random."""
        if self.rows is None:
            return super().sample_relative(study, trial, search_space)
        if self.rows.count < self._n_startup_trials or not search_space:
            return {}
        parts = self.rows.split(self._constant_liar)
        good = self._estimate(parts.good, search_space, None)
        others = self._estimate(parts.others, search_space, parts.weights)
        drawn = good.sample(self._rng.rng, self._n_ei_candidates)
        points = np.array([drawn[name] for name in search_space]).T
        # How much denser the good ones are.
        gain = log_density(good._mixture_distribution, points) - log_density(others._mixture_distribution, points)
        point = self._compare(drawn, gain)
        return {name: d.to_external_repr(point[name]) for name, d in search_space.items()}

    def _estimate(self, rows: np.ndarray, space: dict[str, BaseDistribution], weights: np.ndarray | None) -> Any:
        columns = dict(zip(space, rows.T, strict=True))
        return self._parzen_estimator_cls(columns, space, self._parzen_estimator_parameters, weights)
