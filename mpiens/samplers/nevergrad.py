"""Nevergrad's optimisers, through its ask-and-tell interface.

Source: Rapin and Teytaud (2018), Nevergrad - a gradient-free optimization platform,
https://github.com/facebookresearch/nevergrad.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from mpiens.errors import SpecError
from mpiens.record import Params
from mpiens.samplers.adaptive import AdaptiveSampler
from mpiens.samplers.base import FinishedTrial, Plan
from mpiens.samplers.options import check_options, library, refused
from mpiens.samplers.unit import UnitCube
from mpiens.space import Choices, Domain
from mpiens.space.values import nearest, shown
from mpiens.trial import TrialState, trial_seed

_WORKERS = 16
"""Points that may be tried at a time. With 1 some optimisers wait for ever for an answer to the first."""


class NevergradSampler(AdaptiveSampler):
    """One optimiser of Nevergrad's registry; a failed trial has an infinite loss there.

    Raises:
        SpecError: Nevergrad is not installed, or does not take these options.
    """

    replays = True

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        super().__init__(plan)
        check_options(plan.algorithm, plan.options, ("optimizer", "num_workers"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._ng: Any = library("nevergrad", "nevergrad", "nevergrad")
        self._cube = UnitCube(domains)
        self._cube.check_searchable(plan.algorithm)
        self._sign = [1.0 if direction == "minimize" else -1.0 for direction in plan.directions]
        self._optimizer = self._make(plan)
        self._trials: dict[int, Any] = {}
        self.begin()

    def _make(self, plan: Plan) -> Any:
        ng, registry = self._ng, self._ng.optimizers.registry
        name = plan.options.get("optimizer", "TwoPointsDE")  # NGOpt of 1.0.12 fails with NumPy 2.4
        if not isinstance(name, str) or name not in registry:
            raise SpecError(
                f"{shown(name)} is no optimizer of nevergrad{nearest(name, registry)}", key="search.options.optimizer"
            )
        if getattr(registry[name], "no_parallelization", False):
            raise SpecError(
                f"{name} asks for a point only when it knows what came of the one before, but several are tried at a "
                "time; use another optimizer, such as TwoPointsDE or CMA",
                key="search.options.optimizer",
            )
        parts = {}
        for parameter, domain in self._cube.domains.items():
            if isinstance(domain, Choices):
                parts[parameter] = ng.p.Choice([(i + 0.5) / len(domain.values) for i in range(len(domain.values))])
            else:
                parts[parameter] = ng.p.Scalar(init=0.5, lower=0.0, upper=1.0)
        space = ng.p.Dict(**parts)
        space.random_state = np.random.RandomState(trial_seed(plan.seed, 0))
        workers = plan.options.get("num_workers", max(2, plan.batch) if plan.batch else _WORKERS)
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 2:
            raise SpecError(
                f"expected a whole number from 2 on, found {workers!r}: several points are tried at a time",
                key="search.options.num_workers",
            )
        try:
            return registry[name](parametrization=space, budget=plan.total, num_workers=workers)
        except (ValueError, TypeError) as error:
            raise refused(plan.algorithm, error, plan.options) from error

    def choose(self, number: int) -> Params:
        """The point with this number."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            candidate = self._optimizer.ask()
        self._trials[number] = candidate
        return self._cube.decode([float(np.ravel(candidate.value[name])[0]) for name in self._cube.domains])

    def adopt(self, number: int, params: Params) -> None:
        """A point that somebody else has chosen is being tried."""
        self._trials.pop(number, None)
        try:
            row = self._cube.encode(params)
        except ValueError:
            return
        values = dict(zip(self._cube.domains, row, strict=True))
        self._trials[number] = self._optimizer.parametrization.spawn_child(new_value=values)

    def learn(self, trial: FinishedTrial) -> None:
        """What came of a point."""
        candidate = self._trials.pop(trial.number, None)
        if candidate is None:
            return
        if trial.state is TrialState.COMPLETE:
            losses = [sign * value for sign, value in zip(self._sign, trial.values, strict=True)]
        else:
            losses = [float("inf")] * len(self._sign)
        violation = {"constraint_violation": list(trial.constraints)} if trial.constraints else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._optimizer.tell(candidate, losses[0] if len(losses) == 1 else losses, **violation)
            except self._ng.errors.TellNotAskedNotSupportedError:
                return  # A point from outside, which this optimiser cannot use.
