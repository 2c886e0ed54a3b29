"""Optuna's pruners.

They look at a study of their own in memory, whose trials have what was reported and nothing else. A pruner's answers
depend on the course of reports alone, so that a new one that is told the trials that have ended goes on as the old one.

Sources: Li et al. (2018), Hyperband: a novel bandit-based approach to hyperparameter optimization, JMLR 18(185);
Li et al. (2020), A system for massively parallel hyperparameter tuning, MLSys, arXiv:1810.05934.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState

from mpiens.errors import SearchError, SpecError
from mpiens.reports import Report
from mpiens.samplers.base import FinishedTrial
from mpiens.samplers.options import arguments, check_options, refused
from mpiens.samplers.optuna.storage import WindowStorage, make_trial
from mpiens.samplers.signatures import check_values
from mpiens.samplers.window import Window
from mpiens.space.values import shown
from mpiens.spec.algorithms import pruner_named
from mpiens.trial import TrialState as OwnState

MOST_SHOWN = 1000
"""So many finished trials are shown to a pruner, an even sample of all, so that an answer takes about a millisecond."""

_CLASSES: dict[str, type[BasePruner]] = {
    "median": MedianPruner,
    "percentile": PercentilePruner,
    "successive_halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
    "patient": PatientPruner,
    "threshold": ThresholdPruner,
    "nop": NopPruner,
}
_COMPETITIONS = ("successive_halving", "hyperband")
_WRAPPED = "wrapped_pruner"
_REHEARSALS = 8


class _Running:
    """A trial that has not ended, as far as it is known here."""

    def __init__(self, number: int, attempt: int) -> None:
        self.attempt = attempt
        self.reports: tuple[Report, ...] = ()
        self.is_pruned = False
        self.held = make_trial(number, TrialState.RUNNING, {}, {})


class OptunaPruner:
    """Asks one of Optuna's pruners.

    Args:
        asked: The pruner's name and its keyword arguments, as in the spec.
        directions: ``minimize`` or ``maximize`` for each objective; what is reported is in the first one's terms.
        batch: Size of a generation. With generations, trials that run do not see each other, so that answers depend on
            no order but that of the generations. 0: they see what others have reported so far.

    Raises:
        SpecError: An option is not one of the pruner's, or has a value that it refuses.
    """

    def __init__(self, asked: Mapping[str, Any], directions: Sequence[str], batch: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        _rehearse(asked)
        self._pruner, self._is_competition = _make(asked), _is_competition(asked)
        self._hides_running = batch > 0
        self._storage = WindowStorage()
        self._study = optuna.create_study(
            storage=self._storage,
            direction=StudyDirection[(directions[0] if directions else "minimize").upper()],
            sampler=optuna.samplers.RandomSampler(),
        )
        self._window = Window(MOST_SHOWN, 0, 0)
        self._running: dict[int, _Running] = {}

    def judge(self, number: int, attempt: int, reports: Sequence[Report]) -> bool:
        """Should this trial be given up?

        Every value is judged, those too that were reported between two questions.

        Args:
            number: The trial.
            attempt: Which dispatch of it; a new one begins anew.
            reports: Steps and values since the question before.
        """
        running = self._running.get(number)
        if running is None or running.attempt != attempt:
            running = self._begin(number, attempt)
        self._walk(running, reports)
        return running.is_pruned

    def learn(self, trials: Sequence[FinishedTrial]) -> None:
        """These have ended: with generations, a whole one, otherwise in the order in which they ended."""
        kept, gone = [], set()
        for trial in trials:
            # Only where trials compete does it matter how far those have come that were given up.
            counts = trial.state is OwnState.COMPLETE or (self._is_competition and trial.state is OwnState.PRUNED)
            left = self._window.add(trial.number, ()) if counts and trial.reports else [trial.number]
            gone.update(left)
            if trial.number not in left:
                kept.append(trial)
                running = self._running.get(trial.number)
                if running is None or running.reports != trial.reports[: len(running.reports)]:
                    running = self._begin(trial.number, 0)  # of an earlier process
                self._walk(running, trial.reports[len(running.reports) :], judges=self._is_competition)
        # Not before: all of a generation are judged by what stood before it.
        for trial in kept:
            held = self._running[trial.number].held
            made = make_trial(trial.number, TrialState[trial.state.name], {}, {})
            made.intermediate_values, made.system_attrs = held.intermediate_values, held.system_attrs
            if trial.values:
                made.values = [trial.values[0]]
            self._storage.add(made)
        self._storage.forget([number for number in gone if number in self._storage.trials])
        for trial in trials:
            self._running.pop(trial.number, None)

    def _begin(self, number: int, attempt: int) -> _Running:
        running = self._running[number] = _Running(number, attempt)
        self._storage.add(running.held)
        return running

    def _walk(self, running: _Running, reports: Sequence[Report], judges: bool = True) -> None:
        """Take in what the trial has reported, value by value."""
        number = running.held.number
        # A trial must not compete with itself.
        self._storage.hidden = set(self._running) if self._hides_running else {number}
        for step, value in reports:
            running.held.intermediate_values[step] = value
            if judges and not running.is_pruned:
                running.is_pruned = self._ask(running)
        running.reports += tuple(reports)

    def _ask(self, running: _Running) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's, of values that are all NaN
                return bool(self._pruner.prune(self._study, running.held))
        except Exception as error:
            number, text = running.held.number, f"{type(error).__name__}: {error}"
            raise SearchError(f"the pruner failed while judging trial {number}: {text}") from error


def _make(asked: Mapping[str, Any], key: str = "search.pruner") -> BasePruner:
    """The pruner that the spec asks for.

    Raises:
        SpecError: It does not take these options.
    """
    name, options = str(asked["name"]), {option: value for option, value in asked.items() if option != "name"}
    kind = _CLASSES[name]
    known = arguments(kind.__init__)
    check_options(name, options, known, key)
    check_values({option: value for option, value in options.items() if option != _WRAPPED}, kind.__init__, key)
    if name == "patient":
        inner = _inner(asked, f"{key}.{_WRAPPED}")
        options[_WRAPPED] = None if inner is None else _make(inner, f"{key}.{_WRAPPED}")
    for option, parameter in inspect.signature(kind).parameters.items():
        if parameter.default is parameter.empty and option in known and option not in options:
            raise SpecError(f"{name} needs the option {option!r}", key=key)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(**options)
    except Exception as error:
        raise refused(name, error, {option: asked[option] for option in options}, key) from error


def _inner(asked: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """The pruner within another one."""
    inner = asked.get(_WRAPPED)
    if inner is not None and not isinstance(inner, (str, Mapping)):
        raise SpecError(f"expected a pruner's name, or a mapping, found {shown(inner)}", key=key)
    return None if inner is None else pruner_named(inner, key)


def _is_competition(asked: Mapping[str, Any]) -> bool:
    """True where trials compete for places, so that it matters how far those have come that were given up."""
    inner = _inner(asked, "")
    return asked["name"] in _COMPETITIONS or (inner is not None and _is_competition(inner))


def _rehearse(asked: Mapping[str, Any]) -> None:
    """Judge a few trials: Optuna looks at some options only when it needs them.

    Raises:
        SpecError: An option has a value that fails there.
    """
    pruner, storage = _make(asked), WindowStorage()
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler())
    try:
        for number in range(_REHEARSALS):
            trial = make_trial(number, TrialState.RUNNING, {}, {})
            storage.add(trial)
            for step in range(1, 2 * _REHEARSALS):
                trial.intermediate_values[step] = float(number)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    pruner.prune(study, trial)
            trial.state, trial.value = TrialState.COMPLETE, float(number)
    except Exception as error:
        options = {option: value for option, value in asked.items() if option != "name"}
        raise refused(asked["name"], error, options, "search.pruner", is_in_use=True) from error
