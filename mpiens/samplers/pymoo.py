"""Evolutionary algorithms of pymoo, generation by generation.

Source: Blank and Deb (2020), pymoo: multi-objective optimization in Python, IEEE Access,
doi:10.1109/ACCESS.2020.2990567.
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
from mpiens.samplers.options import arguments, check_choice, check_options, library, refused
from mpiens.samplers.signatures import check_values
from mpiens.samplers.unit import UnitCube
from mpiens.space import Domain
from mpiens.trial import TrialState, trial_seed

_KINDS = {
    "GA": "pymoo.algorithms.soo.nonconvex.ga",
    "DE": "pymoo.algorithms.soo.nonconvex.de",
    "ES": "pymoo.algorithms.soo.nonconvex.es",
    "PSO": "pymoo.algorithms.soo.nonconvex.pso",
    "NSGA2": "pymoo.algorithms.moo.nsga2",
    "SMSEMOA": "pymoo.algorithms.moo.sms",
}
_SEVERAL = ("NSGA2", "SMSEMOA")
_REHEARSALS = 3
_WORST = 1e20
"""Loss of a trial that has none: pymoo needs a number for each of a generation."""


class PymooSampler(AdaptiveSampler):
    """One of pymoo's algorithms; a generation of it is a generation of the run.

    Raises:
        SpecError: pymoo is not installed, does not take these options, or there are no generations.
    """

    replays = True

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        super().__init__(plan)
        if not plan.batch:
            raise SpecError("pymoo works in generations; set batch, such as batch: 50", key="search.batch")
        if plan.earlier:
            raise SpecError("pymoo cannot take over trials of earlier runs; use nsga2, or remove it", key="search.from")
        several = len(plan.directions) > 1
        options = dict(plan.options)
        fitting = _SEVERAL if several else tuple(_KINDS)
        kind = check_choice(options.pop("algorithm", "NSGA2" if several else "GA"), fitting, "algorithm")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library("pymoo", plan.algorithm, "pymoo")
            algorithm: Any = getattr(library(_KINDS[kind], plan.algorithm, "pymoo"), kind)
            core: Any = library("pymoo.core.problem", plan.algorithm, "pymoo")
            termination: Any = library("pymoo.core.termination", plan.algorithm, "pymoo")
        check_options(plan.algorithm, plan.options, ["algorithm", *arguments(algorithm.__init__, ("kwargs",))])
        check_values(options, algorithm.__init__)
        if options.get("pop_size", plan.batch) != plan.batch:
            raise SpecError(
                f"must be the size of a generation, batch: {plan.batch}; leave it out", key="search.options.pop_size"
            )
        self._cube = UnitCube(domains)
        self._cube.check_searchable(plan.algorithm)
        self._sign = np.array([1.0 if direction == "minimize" else -1.0 for direction in plan.directions])
        problem = core.Problem(
            n_var=self._cube.dimensions,
            n_obj=len(plan.directions),
            n_ieq_constr=len(plan.constraints),
            xl=np.zeros(self._cube.dimensions),
            xu=np.ones(self._cube.dimensions),
        )

        def make() -> Any:
            made = algorithm(**{**options, "pop_size": plan.batch})
            made.setup(problem, termination=termination.NoTermination(), seed=trial_seed(plan.seed, 0), verbose=False)
            return made

        try:
            if options:
                _rehearse(make(), len(plan.directions), len(plan.constraints))
            self._algorithm = make()
        except Exception as error:  # pymoo has no class of its own for them
            raise refused(plan.algorithm, error, plan.options) from error
        self._population: Any = None
        self._places: dict[int, int] = {}
        self._given = 0
        self._answers: dict[int, FinishedTrial] = {}
        self.begin()

    def choose(self, number: int) -> Params:
        """The point with this number."""
        if self._population is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._population = self._algorithm.ask()
            self._given = 0
        if self._given < len(self._population):
            row = self._population[self._given].X.tolist()
            self._places[number] = self._given
            self._given += 1
        else:  # It wants fewer than a generation has, because it found no more that are new.
            row = np.random.default_rng(trial_seed(self.plan.seed, number)).random(self._cube.dimensions).tolist()
        return self._cube.decode(row)

    def adopt(self, number: int, params: Params) -> None:
        """A point that somebody else has chosen takes the place of one of the generation."""
        place = self._places.get(number)
        if place is None:
            return
        try:
            self._population[place].X = np.array(self._cube.encode(params))
        except ValueError:
            return

    def learn(self, trial: FinishedTrial) -> None:
        """What came of a point; the algorithm is told when its generation is complete."""
        place = self._places.pop(trial.number, None)
        if place is None or self._population is None:
            return
        self._answers[place] = trial
        if len(self._answers) < len(self._population):
            return
        losses, violations = [], []
        for index in range(len(self._population)):
            answer = self._answers[index]
            is_complete = answer.state is TrialState.COMPLETE
            losses.append(self._sign * answer.values if is_complete else np.full(len(self._sign), _WORST))
            violations.append(answer.constraints if is_complete else (_WORST,) * len(self.plan.constraints))
        self._population.set("F", np.array(losses))
        if self.plan.constraints:
            self._population.set("G", np.array(violations))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._algorithm.tell(infills=self._population)
        self._population, self._answers = None, {}


def _rehearse(algorithm: Any, objectives: int, constraints: int) -> None:
    """Ask and tell a few generations: pymoo looks at most options only when it needs them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(_REHEARSALS):
            population = algorithm.ask()
            if population is None or not len(population):
                raise ValueError("no points come of them")
            population.set("F", np.arange(len(population) * objectives, dtype=float).reshape(-1, objectives))
            if constraints:
                population.set("G", np.zeros((len(population), constraints)))
            algorithm.tell(infills=population)
