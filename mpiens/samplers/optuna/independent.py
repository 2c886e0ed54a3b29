"""Random search by Optuna's own sampler."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.samplers import RandomSampler

from mpiens.record import Params
from mpiens.samplers.base import Plan
from mpiens.samplers.numbered import NumberedSampler
from mpiens.samplers.options import arguments, check_options
from mpiens.samplers.optuna.space import OptunaSpace
from mpiens.space import Domain
from mpiens.trial import trial_seed


class IndependentSampler(NumberedSampler):
    """Random search: each point from a random stream of its own.

    Args:
        plan: What all samplers are told.
        domains: Parameters by name.

    Raises:
        SpecError: An option is not one of the sampler's.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        check_options(plan.algorithm, plan.options, arguments(RandomSampler.__init__, ("seed",)))
        self._seed = plan.seed
        self._space = OptunaSpace(domains)
        # Optuna wants a study and a trial, and looks at neither.
        self._study = optuna.create_study()
        self._trial = optuna.trial.create_trial(value=0.0)
        super().__init__(plan.total, self._random_point, plan.start)

    def _random_point(self, number: int) -> Params:
        draw = RandomSampler(seed=trial_seed(self._seed, number)).sample_independent
        drawn = {n: draw(self._study, self._trial, n, d) for n, d in self._space.distributions.items()}
        return self._space.point(drawn)
