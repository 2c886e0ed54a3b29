"""Random search by Optuna's own sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.samplers import RandomSampler

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past, Plan
from mpiens.samplers.options import arguments, check_options
from mpiens.samplers.optuna.space import OptunaSpace
from mpiens.space import Domain
from mpiens.trial import trial_seed


class IndependentSampler:
    """Points that depend on nothing but their numbers: random search.

    Args:
        plan: What all samplers are told.
        domains: Parameters by name.

    Attributes:
        total: ``search.trials``.

    Raises:
        SpecError: An option is not one of the sampler's.
    """

    needs_history = False

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        check_options(plan.algorithm, plan.options, arguments(RandomSampler.__init__, ("seed",)))
        self.total = plan.total
        self._plan = plan
        self._space = OptunaSpace(domains)
        # Optuna wants a study and a trial, and looks at neither.
        self._study = optuna.create_study()
        self._trial = optuna.trial.create_trial(value=0.0)
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
        if number < len(self._plan.start):
            return dict(self._plan.start[number])
        draw = RandomSampler(seed=trial_seed(self._plan.seed, number)).sample_independent
        drawn = {n: draw(self._study, self._trial, n, d) for n, d in self._space.distributions.items()}
        return self._space.point(drawn)
