"""Optuna's samplers, through its ask-and-tell interface.

No Optuna sampler lives longer than one point: each is made anew, seeded from the run's seed and the trial's number. So
the only state is the history of trials, which can be written down as data.

Source: Akiba et al. (2019), Optuna: a next-generation hyperparameter optimization framework, KDD,
doi:10.1145/3292500.3330701. The only place that imports optuna.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from mpiens.errors import SpecError
from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past
from mpiens.space import Choices, Domain, Fixed, Range
from mpiens.trial import trial_seed

if TYPE_CHECKING:
    from mpiens.spec.schema import SearchSpec

_SAMPLERS: dict[str, type[BaseSampler]] = {"random": RandomSampler, "tpe": TPESampler}
_PLAIN = (bool, int, float, str)


class _OptunaBase:
    """What all of Optuna's samplers share: the space in Optuna's terms, and a sampler for each trial."""

    def __init__(self, algorithm: str, domains: Mapping[str, Domain], search: SearchSpec, seed: int) -> None:
        assert search.trials is not None
        self.total = search.trials
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Not the root of the trials' own seeds: a model must not draw the numbers that chose its parameters.
        self._root_seed = -1 - seed
        self._kind = _SAMPLERS[algorithm]
        self._options = dict(search.options)
        self._fixed: Params = {name: d.value for name, d in domains.items() if isinstance(d, Fixed)}
        self._domains = {name: d for name, d in domains.items() if not isinstance(d, Fixed)}
        self._distributions = {name: _distribution(d) for name, d in self._domains.items()}
        self._asked = 0
        _check_options(self._kind, algorithm, self._options)

    def _sampler(self, number: int) -> BaseSampler:
        return self._kind(**({"seed": trial_seed(self._root_seed, number)} | self._options))

    def _point(self, drawn: Mapping[str, Any]) -> Params:
        point = {}
        for name, domain in self._domains.items():
            value = drawn[name]
            if isinstance(domain, Choices) and not _is_plain(domain):
                value = domain.values[value]
            point[name] = value
        return point | self._fixed


class IndependentSampler(_OptunaBase):
    """Points that depend on nothing but their numbers: random search.

    Args:
        algorithm: ``random``.
        domains: Parameters by name.
        search: The spec's `search` part.
        seed: Root of the sampler's random draws.

    Attributes:
        total: ``search.trials``.

    Raises:
        SpecError: An option is not one of the sampler's, or has a value that it refuses.
    """

    needs_history = False

    def __init__(self, algorithm: str, domains: Mapping[str, Domain], search: SearchSpec, seed: int) -> None:
        super().__init__(algorithm, domains, search, seed)
        # Optuna wants a study and a trial, and looks at neither.
        self._study = optuna.create_study()
        self._trial = optuna.trial.create_trial(value=0.0)

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
        draw = self._sampler(number).sample_independent
        return self._point({n: draw(self._study, self._trial, n, d) for n, d in self._distributions.items()})


class OptunaSampler(_OptunaBase):
    """Asks an Optuna study that lives in memory; its trials have the run's numbers.

    Args:
        algorithm: ``tpe``.
        domains: Parameters by name.
        search: The spec's `search` part.
        seed: Root of the sampler's random draws.

    Attributes:
        total: ``search.trials``.

    Raises:
        SpecError: There is no objective, or an option is not one of the sampler's, or has a value that it refuses.
    """

    needs_history = True

    def __init__(self, algorithm: str, domains: Mapping[str, Domain], search: SearchSpec, seed: int) -> None:
        directions = list(search.objectives.values())
        if not directions:
            raise SpecError(
                f"{algorithm} needs an objective, for example objectives: {{loss: minimize}}; "
                "to record results only, use grid or random",
                key="search.objectives",
            )
        super().__init__(algorithm, domains, search, seed)
        if search.options:
            _rehearse(self._sampler(0), algorithm, self._distributions)
        self._study = optuna.create_study(direction=directions[0], sampler=self._sampler(0))
        self._foreign: set[int] = set()

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        return [self._choose() for _ in range(min(n, self.total - self._asked))]

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """Take in what came of points; failed ones as FAIL, which has no value in Optuna's terms."""
        for told in trials:
            if told.number in self._foreign:
                self._study.tell(told.number, state=TrialState.FAIL)
            elif told.state.name == "COMPLETE":
                self._study.tell(told.number, list(told.values))
            else:
                self._study.tell(told.number, state=TrialState[told.state.name])

    def restore(self, past: Past) -> Mapping[int, Params]:
        """Give the study its trials back, those that are still running too: TPE keeps away from them."""
        chosen = {}
        for number, (params, ending) in enumerate(past.trials):
            if params is None:
                chosen[number] = self._choose()
                if ending is not None:
                    self.tell([ending])
                continue
            self._study.add_trial(self._past_trial(number, params, ending))
            self._asked += 1
        return chosen

    def _past_trial(self, number: int, params: Params, ending: FinishedTrial | None) -> FrozenTrial:
        state = TrialState.RUNNING if ending is None else TrialState[ending.state.name]
        values = list(ending.values) if state is TrialState.COMPLETE and ending is not None else None
        try:
            return optuna.trial.create_trial(
                state=state, params=self._drawn(params), distributions=self._distributions, values=values
            )
        except (ValueError, KeyError):
            # Of another space, which --force allows. It keeps its number, and nothing is learned from it.
            self._foreign.add(number)
            return optuna.trial.create_trial(state=TrialState.FAIL if ending else TrialState.RUNNING)

    def _choose(self) -> Params:
        self._study.sampler = self._sampler(self._asked)
        trial = self._study.ask(self._distributions)
        self._asked += 1
        return self._point(trial.params)

    def _drawn(self, params: Params) -> dict[str, Any]:
        """The inverse of `_point`."""
        drawn = {}
        for name, domain in self._domains.items():
            value = params[name]
            if isinstance(domain, Choices) and not _is_plain(domain):
                value = domain.values.index(value)
            drawn[name] = value
        return drawn


def _is_plain(domain: Choices) -> bool:
    return all(isinstance(value, _PLAIN) for value in domain.values)


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Range):
        if domain.is_int:
            return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    assert isinstance(domain, Choices)
    # Optuna knows plain values only; lists stand in for their position.
    return CategoricalDistribution(domain.values if _is_plain(domain) else range(len(domain.values)))


def _check_options(kind: type[BaseSampler], algorithm: str, options: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "seed")]
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"options: {', '.join(known) or 'none'}"
            raise SpecError(f"{algorithm} has no such option; {hint}", key=f"search.options.{name}")
    try:
        kind(**options)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{algorithm} refuses these options: {error}", key="search.options") from error


def _rehearse(sampler: BaseSampler, algorithm: str, distributions: Mapping[str, BaseDistribution]) -> None:
    """Ask and tell a few times: Optuna looks at some options only when it needs them.

    Raises:
        SpecError: An option has a value that fails there.
    """
    study = optuna.create_study(sampler=sampler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in range(15):
                study.tell(study.ask(dict(distributions)), float(number))
    except Exception as error:
        text = f"{algorithm} cannot work with these options: {type(error).__name__}: {error}"
        raise SpecError(text, key="search.options") from error
