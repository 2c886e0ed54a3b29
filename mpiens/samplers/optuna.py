"""Optuna's samplers, through its ask-and-tell interface.

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
from optuna.trial import Trial, TrialState

from mpiens.errors import SpecError
from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial
from mpiens.space import Choices, Domain, Fixed, Range

if TYPE_CHECKING:
    from mpiens.spec.schema import SearchSpec

_SAMPLERS: dict[str, type[BaseSampler]] = {"random": RandomSampler, "tpe": TPESampler}
_PLAIN = (bool, int, float, str)


class OptunaSampler:
    """Asks an Optuna study that lives in memory.

    Args:
        algorithm: ``random`` or ``tpe``.
        domains: Parameters by name.
        search: The spec's `search` part.
        seed: Root of the sampler's random draws.

    Attributes:
        total: ``search.trials``.

    Raises:
        SpecError: An option is not one of the sampler's, or has a value that it refuses.
    """

    def __init__(self, algorithm: str, domains: Mapping[str, Domain], search: SearchSpec, seed: int) -> None:
        assert search.trials is not None
        self.total = search.trials
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directions = list(search.objectives.values())
        if algorithm != "random" and not directions:
            raise SpecError(
                f"{algorithm} needs an objective, for example objectives: {{loss: minimize}}; "
                "to record results only, use grid or random",
                key="search.objectives",
            )
        self._has_objective = bool(directions)
        self._fixed: Params = {name: d.value for name, d in domains.items() if isinstance(d, Fixed)}
        self._domains = {name: d for name, d in domains.items() if not isinstance(d, Fixed)}
        self._distributions = {name: _distribution(d) for name, d in self._domains.items()}
        sampler = _make(_SAMPLERS[algorithm], algorithm, search.options, seed)
        direction = directions[0] if directions else "minimize"
        if search.options:
            _rehearse(_make(_SAMPLERS[algorithm], algorithm, search.options, seed), algorithm, self._distributions)
        self._study = optuna.create_study(direction=direction, sampler=sampler)
        self._open: dict[int, Trial] = {}
        self._asked = 0

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        points = []
        for _ in range(min(n, self.total - self._asked)):
            trial = self._study.ask(self._distributions)
            self._open[self._asked] = trial
            self._asked += 1
            points.append(self._point(trial.params))
        return points

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """Take in what came of points; failed ones as FAIL, which has no value in Optuna's terms."""
        for told in trials:
            trial = self._open.pop(told.number)
            if told.state.name != "COMPLETE":
                self._study.tell(trial, state=TrialState[told.state.name])
            elif self._has_objective:
                self._study.tell(trial, list(told.values))
            else:
                self._study.tell(trial, 0.0)  # Random search looks at no value, and Optuna wants one.

    def _point(self, drawn: dict[str, Any]) -> Params:
        point = {}
        for name, domain in self._domains.items():
            value = drawn[name]
            if isinstance(domain, Choices) and not _is_plain(domain):
                value = domain.values[value]
            point[name] = value
        return point | self._fixed


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


def _make(kind: type[BaseSampler], algorithm: str, options: Mapping[str, Any], seed: int) -> BaseSampler:
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "seed")]
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"options: {', '.join(known) or 'none'}"
            raise SpecError(f"{algorithm} has no such option; {hint}", key=f"search.options.{name}")
    try:
        sampler: BaseSampler = kind(**({"seed": seed % 2**32} | dict(options)))
    except (TypeError, ValueError) as error:
        raise SpecError(f"{algorithm} refuses these options: {error}", key="search.options") from error
    return sampler


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
