"""Optuna's samplers that learn.

No Optuna sampler keeps anything from one point to the next: each is seeded from the run's seed and the trial's number,
and looks at a study in memory. Of that study it sees a window, because Optuna's samplers go through all trials for
every point. So the only state is the history of trials, which can be written down as data.

Source: Akiba et al. (2019), Optuna: a next-generation hyperparameter optimization framework, KDD,
doi:10.1145/3292500.3330701.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mpiens.errors import SpecError
from mpiens.record import Params
from mpiens.samplers.adaptive import AdaptiveSampler
from mpiens.samplers.base import FinishedTrial, Plan
from mpiens.samplers.options import check_options, library, refused
from mpiens.samplers.optuna.kinds import IDLE, KINDS, make
from mpiens.samplers.optuna.rows import Rows
from mpiens.samplers.optuna.space import OptunaSpace
from mpiens.samplers.optuna.storage import WindowStorage, make_trial
from mpiens.samplers.optuna.tpe import PreparedTPE
from mpiens.samplers.signatures import check_values
from mpiens.samplers.window import FrontWindow, Rank, Window
from mpiens.space import Domain
from mpiens.trial import TrialState as OwnState
from mpiens.trial import trial_seed

MOST_RUNNING = 128
"""So many of the running trials are shown to a sampler, those with the highest numbers."""

_REHEARSALS = 15


class OptunaSampler(AdaptiveSampler):
    """Asks an Optuna study that lives in memory; its trials have the run's numbers.

    Args:
        plan: What all samplers are told.
        domains: Parameters by name.

    Raises:
        SpecError: An option is not one of the sampler's, or has a value that it refuses; or the sampler cannot have so
            many objectives, or constraints.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        super().__init__(plan)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._kind = KINDS[plan.algorithm]
        self.replays = self._kind.replays
        _check(plan)
        options = dict(plan.options)
        is_prepared = plan.algorithm == "tpe" and _is_joint(plan)
        size = options.pop("window", self._kind.prepared if is_prepared else self._kind.window)
        self._make: Callable[[int], BaseSampler] = make(plan.algorithm, options, plan.seed)
        self._space = OptunaSpace(domains)
        self._storage = WindowStorage()
        self._study = _study(self._storage, plan, self._make(0))
        self._rows: Rows | None = None
        self._window: Window | FrontWindow | None = None
        if is_prepared:
            self._rows = Rows(self._space.distributions, size, MOST_RUNNING)
        elif size and len(plan.directions) > 1:
            self._window = FrontWindow(size // 4, size - size // 4)
        elif size:
            self._window = _window(size, self._kind.best)
        self._sign = [1.0 if direction == "minimize" else -1.0 for direction in plan.directions]
        self._many = 400
        _rehearse(options, plan, self._space)
        self._storage.next_number = len(plan.earlier)
        self.begin()
        if plan.algorithm == "cmaes" and self._storage.trials:
            sources = {"source_trials": [_numeric(trial) for trial in self._storage.trials.values()]}
            self._make = make(plan.algorithm, options | sources, plan.seed)

    def choose(self, number: int) -> Params:
        """The point with this number."""
        self._show()
        self._study.sampler = self._new_sampler(number)
        self._storage.next_number = self._id(number)
        with warnings.catch_warnings():
            # Of Optuna's own parts that it calls experimental.
            warnings.simplefilter("ignore")
            trial = self._study.ask(self._space.distributions)
        if self._rows is not None:
            self._rows.start(self._id(number), trial.params)
        return self._space.point(trial.params)

    def adopt(self, number: int, params: Params) -> None:
        """A point that somebody else has chosen is being tried."""
        held = self._storage.trials.get(self._id(number))
        try:
            drawn = self._space.drawn(params)
        except (ValueError, KeyError):
            return
        if held is not None:
            held.params.update(drawn)
        elif drawn:
            held = make_trial(self._id(number), TrialState.RUNNING, drawn, dict(self._space.distributions))
            if number < 0 and self._kind.replays:
                # The first generation, from which an evolution begins; others do not look at this.
                held.system_attrs[f"{self._kind.sampler.__name__}:generation"] = 0
            self._storage.add(held)
        if self._rows is not None and held is not None:
            self._rows.start(self._id(number), drawn)

    def learn(self, trial: FinishedTrial) -> None:
        """What came of a point; a failed one has no value in Optuna's terms, and is not looked at by any sampler."""
        number = self._id(trial.number)
        held = self._storage.trials.get(number)
        if held is None:
            return  # Of another space: nothing is learned from it.
        is_useful = trial.state.name == "COMPLETE" or (trial.state.name == "PRUNED" and bool(trial.reports))
        if self._rows is not None:
            self._storage.forget([number])
            if is_useful:
                self._rows.finish(number, self._rank(trial))
            else:
                self._rows.drop(number)
            return
        if not is_useful:
            self._storage.forget([number])
            return
        # A trial that was shown before must not change under who has seen it.
        self._storage.add(_finished(held, trial))
        if self._window is not None:
            self._storage.forget(self._window.add(number, self._rank(trial)))
        elif self._kind.replays and len(self._storage.trials) > self._many:
            _forget_generations(self._storage)
            self._many = 2 * len(self._storage.trials) + 400

    def _new_sampler(self, number: int) -> BaseSampler:
        if self._rows is None:
            return self._make(number)
        # Keeps nothing but its random numbers, and takes as long to make as to use.
        sampler = self._study.sampler
        assert isinstance(sampler, PreparedTPE)
        sampler.rows = self._rows
        sampler.seed(trial_seed(self.plan.seed, number))
        return sampler

    def _id(self, number: int) -> int:
        """Trials of earlier runs come first."""
        return number + len(self.plan.earlier)

    def _rank(self, trial: FinishedTrial) -> Rank:
        """Lower is better, in the order in which Optuna's TPE parts good trials from the others."""
        if isinstance(self._window, FrontWindow):
            is_feasible = all(value <= 0 for value in trial.constraints)
            values = trial.values if is_feasible and trial.values else (float("inf"),) * len(self._sign)
            return tuple(sign * value for sign, value in zip(self._sign, values, strict=True))
        violation = sum(value for value in trial.constraints if value > 0)
        if violation > 0:
            return (2.0, violation)
        if trial.values:
            return (0.0, self._sign[0] * trial.values[0])
        step, value = trial.reports[-1]
        return (1.0, -step, float("inf") if math.isnan(value) else self._sign[0] * value)

    def _show(self) -> None:
        """Hide what is too much."""
        hidden = self._window.hidden() if isinstance(self._window, FrontWindow) else set()
        if self._window is not None:
            running = [n for n, trial in self._storage.trials.items() if trial.state is TrialState.RUNNING]
            if len(running) > MOST_RUNNING:
                hidden |= set(sorted(running)[:-MOST_RUNNING])
        self._storage.hidden = hidden


def _check(plan: Plan) -> None:
    kind = KINDS[plan.algorithm]
    if plan.algorithm == "gp":
        library("torch", "gp", "gp")
    known = kind.options()
    check_options(plan.algorithm, plan.options, known)
    check_values(plan.options, kind.sampler.__init__, positive=("sigma0",))
    for name, default in IDLE.items():
        if plan.options.get(name, default) != default:
            raise SpecError("Optuna does nothing with it any more; remove it", key=f"search.options.{name}")
    window = plan.options.get("window", kind.window)
    if isinstance(window, bool) or not isinstance(window, int) or 0 < window < 20 or window < 0:
        raise SpecError(
            f"expected 0 for all trials, or a number of trials from 20 on, found {window!r}",
            key="search.options.window",
        )
    if not plan.directions:
        raise SpecError(
            f"{plan.algorithm} needs an objective, for example objectives: {{loss: minimize}}; "
            "to record results only, use grid or random",
            key="search.objectives",
        )
    if len(plan.directions) > 1 and not kind.takes_several:
        raise SpecError(
            f"{plan.algorithm} takes one objective, found {len(plan.directions)}; for several use nsga2, nsga3 or tpe",
            key="search.objectives",
        )


def _is_joint(plan: Plan) -> bool:
    """True when TPE draws all parameters of a point together, always."""
    if plan.options.keys() & {"group", "gamma", "weights"}:
        return False
    return len(plan.directions) == 1 and plan.options.get("multivariate") is not False


def _window(size: int, best: int) -> Window:
    return Window(size, min(best, size // 2), min(50, size // 10))


def _study(storage: WindowStorage, plan: Plan, sampler: BaseSampler) -> optuna.Study:
    directions = [StudyDirection[direction.upper()] for direction in plan.directions]
    return optuna.create_study(storage=storage, directions=directions, sampler=sampler)


def _finished(held: FrozenTrial, told: FinishedTrial) -> FrozenTrial:
    trial = make_trial(held.number, TrialState[told.state.name], held.params, held.distributions)
    trial.system_attrs = held.system_attrs
    if told.constraints:
        trial.system_attrs = {**held.system_attrs, "constraints": list(told.constraints)}
    trial.intermediate_values = dict(told.reports)
    if told.values:
        trial.values = list(told.values)
    return trial


def _numeric(trial: FrozenTrial) -> FrozenTrial:
    """The trial with those parameters only that CMA-ES looks at."""
    kept = {
        name: d
        for name, d in trial.distributions.items()
        if not isinstance(d, CategoricalDistribution) and not d.single()
    }
    made = make_trial(trial.number, trial.state, {name: trial.params[name] for name in kept}, dict(kept))
    made.values = trial.values
    return made


def _forget_generations(storage: WindowStorage) -> None:
    """Keep what a sampler that works in generations looks at: the last two, and the parents of the last ones.

    Its attributes of trials say which generation they are of, those of the study which parents a generation has.
    """
    generations = {
        number: int(value)
        for number, trial in storage.trials.items()
        if trial.state is not TrialState.RUNNING
        for key, value in trial.system_attrs.items()
        if key.endswith(":generation") or key.endswith("_generation")
    }
    if not generations:
        return
    last = max(generations.values())
    parents = {
        key: (int(key.rpartition(":")[2]), ids)
        for key, ids in storage.get_study_system_attrs(0).items()
        if "parent" in key
    }
    storage.forget_study_attrs([key for key, (generation, _) in parents.items() if generation < last])
    needed = {number for generation, ids in parents.values() if generation >= last for number in ids}
    storage.forget(
        [
            number
            for number, trial in storage.trials.items()
            if trial.state is not TrialState.RUNNING and generations.get(number, -1) < last - 1 and number not in needed
        ]
    )


def _rehearse(options: Mapping[str, Any], plan: Plan, space: OptunaSpace) -> None:
    """Ask and tell a few times: Optuna looks at some options only when it needs them, some after a generation.

    Raises:
        SpecError: An option has a value that fails there.
    """
    if not plan.options.keys() - {"window"}:
        return
    options = dict(options)
    if "n_startup_trials" in options:
        options["n_startup_trials"] = min(options["n_startup_trials"], _REHEARSALS // 2)
    if "population_size" in inspect.signature(KINDS[plan.algorithm].sampler).parameters:
        options["population_size"] = min(options.get("population_size", _REHEARSALS), _REHEARSALS // 2)
    storage = WindowStorage()
    study = _study(storage, plan, make(plan.algorithm, options, plan.seed)(0))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in range(_REHEARSALS):
                trial = study.ask(dict(space.distributions))
                held = storage.trials[trial.number]
                values = (float(number),) * len(plan.directions)
                storage.add(_finished(held, FinishedTrial(number, OwnState.COMPLETE, values)))
    except Exception as error:
        raise refused(plan.algorithm, error, plan.options, is_in_use=True) from error
