"""Optuna's TPE, with what it looks at prepared for it: which trials are good, and how much each of the others counts.

Left to itself it goes through all trials for every point, several times.

Source: Watanabe (2023), Tree-structured Parzen estimator: understanding its algorithm components and their roles for
better empirical performance, arXiv:2304.11127.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial

from mpiens.samplers.optuna.density import draw, log_density
from mpiens.samplers.optuna.rows import Rows


class PreparedTPE(TPESampler):
    """TPE that is told what to look at.

    Attributes:
        rows: What; None: it looks for itself.
    """

    rows: Rows | None = None

    def seed(self, seed: int) -> None:
        """Become as if made with this seed."""
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)

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
        good = self._estimate(self.rows.good(), None, search_space)
        points = draw(good._mixture_distribution, self._rng.rng, self._n_ei_candidates)
        others = self._estimate(*self.rows.others(points, self._constant_liar), search_space)
        # How much denser the good ones are.
        gain = log_density(good._mixture_distribution, points) - log_density(others._mixture_distribution, points)
        point = self._compare(dict(zip(search_space, points.T, strict=True)), gain)
        return {name: d.to_external_repr(point[name]) for name, d in search_space.items()}

    def _estimate(self, rows: np.ndarray, weights: np.ndarray | None, space: dict[str, BaseDistribution]) -> Any:
        columns = dict(zip(space, rows.T, strict=True))
        return self._parzen_estimator_cls(columns, space, self._parzen_estimator_parameters, weights)
