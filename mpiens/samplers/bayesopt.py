"""Bayesian optimisation with Gaussian processes, by the library bayesian-optimization.

Source: Nogueira (2014), Bayesian Optimization: open source constrained global optimization tool for Python,
https://github.com/bayesian-optimization/BayesianOptimization.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpiens.errors import SpecError
from mpiens.samplers.base import Plan
from mpiens.samplers.observed import MOST_RUNNING, WINDOW, ObservingSampler
from mpiens.samplers.options import check_choice, check_count, library, with_defaults
from mpiens.space import Domain
from mpiens.space.values import is_number
from mpiens.trial import trial_seed

_KINDS = ("ucb", "ei", "poi")
_DEFAULTS = {"init_points": 10, "kind": "ucb", "kappa": 2.576, "xi": 0.01}


class BayesOptSampler(ObservingSampler):
    """A new optimiser for every point. Points that are being tried have the mean loss meanwhile (a constant liar).

    Raises:
        SpecError: The library is not installed, or the options are not such as it takes.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        options = with_defaults(plan.algorithm, plan.options, _DEFAULTS)
        for name in ("kappa", "xi"):
            if not is_number(options[name]) or not math.isfinite(options[name]):
                raise SpecError(f"expected a finite number, found {options[name]!r}", key=f"search.options.{name}")
        startup = check_count(options["init_points"], 1, "init_points")
        check_choice(options["kind"], _KINDS, "kind")
        self._library: Any = library("bayes_opt", plan.algorithm, "bayesopt")
        # scikit-learn needs it, so it is there.
        self._threads: Any = library("threadpoolctl", plan.algorithm, "bayesopt")
        self._options = options
        super().__init__(plan, domains, startup, WINDOW)
        self.begin()

    def propose(self, number: int, rows: np.ndarray, losses: Sequence[float], running: np.ndarray) -> Sequence[float]:
        """Coordinates of the next point."""
        names = [f"x{index:04d}" for index in range(self.cube.dimensions)]
        settings: dict[str, Any] = {
            "f": None,
            "pbounds": dict.fromkeys(names, (0.0, 1.0)),
            "random_state": trial_seed(self.plan.seed, number),
            "verbose": 0,
            "allow_duplicate_points": True,
        }
        asking: dict[str, Any] = {}
        is_old = hasattr(self._library, "UtilityFunction")
        if is_old:
            asking["utility_function"] = self._library.UtilityFunction(
                kind=self._options["kind"], kappa=self._options["kappa"], xi=self._options["xi"]
            )
        else:
            settings["acquisition_function"] = self._acquisition()
        # The other cores belong to simulations, and threads that wait for a busy one take several times as long.
        with warnings.catch_warnings(), self._threads.threadpool_limits(1):
            warnings.simplefilter("ignore")
            optimizer = self._library.BayesianOptimization(**settings)
            lie = float(np.mean(losses))
            known = [*zip(rows, losses, strict=True), *((row, lie) for row in running[-MOST_RUNNING:])]
            for row, loss in known:
                optimizer.register(dict(zip(names, row.tolist(), strict=True)), -loss)
            point = optimizer.suggest(**asking)
        return [float(point[name]) for name in names]

    def _acquisition(self) -> Any:
        acquisition = self._library.acquisition
        if self._options["kind"] == "ucb":
            return acquisition.UpperConfidenceBound(kappa=self._options["kappa"])
        if self._options["kind"] == "ei":
            return acquisition.ExpectedImprovement(xi=self._options["xi"])
        return acquisition.ProbabilityOfImprovement(xi=self._options["xi"])
