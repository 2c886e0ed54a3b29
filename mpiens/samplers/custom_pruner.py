"""A pruner of the user's own: a class with `should_prune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpiens.errors import MpiensError, SearchError, SpecError
from mpiens.reports import Report
from mpiens.samplers.base import FinishedTrial
from mpiens.samplers.own_code import called, check_keywords, load_class
from mpiens.samplers.window import Window
from mpiens.space.values import shown
from mpiens.trial import TrialState

MOST_SHOWN = 1000
"""So many finished trials are shown, an even sample of all."""

_KEY = "search.pruner"


class OtherTrial(NamedTuple):
    """What a pruner of the user's own is shown of a finished trial.

    Attributes:
        number: Counted from 0.
        state: COMPLETE or PRUNED.
        values: The objective; empty unless COMPLETE.
        reports: Steps and values, in the order of the steps.
    """

    number: int
    state: str
    values: tuple[float, ...]
    reports: tuple[Report, ...]


class CustomPruner:
    """Lets a class of the user's own judge.

    It is made with ``minimize`` or ``maximize`` and the spec's options. ``should_prune(reports, others)`` gets the
    trial's steps and values so far, and the finished trials that have reported. Its answer must follow from these.

    Args:
        asked: The class, ``path.py:Class`` or ``package.module:Class``, as `name`, and its keyword arguments.
        direction: Of the objective.
        folder: Folder that a path is relative to.

    Raises:
        SpecError: There is no such class, or it does not take these options.
    """

    def __init__(self, asked: Mapping[str, Any], direction: str, folder: Path) -> None:
        self._target = target = str(asked["name"])
        self._folder = folder
        options = {option: value for option, value in asked.items() if option != "name"}
        kind = load_class(target, folder, _KEY)
        if not callable(getattr(kind, "should_prune", None)):
            raise SpecError(
                f"{target} has no method 'should_prune'; a pruner needs should_prune(reports, others)", key=_KEY
            )
        check_keywords(target, kind, options, ("direction",), _KEY)
        try:
            self._pruner = called(f"{target}(direction, **options)", folder, lambda: kind(direction, **options))
        except MpiensError as error:
            raise SpecError(str(error), key=_KEY) from error.__cause__
        self._window = Window(MOST_SHOWN, 0, 0)
        self._others: dict[int, OtherTrial] = {}
        self._running: dict[int, tuple[int, list[Report]]] = {}

    def judge(self, number: int, attempt: int, reports: Sequence[Report]) -> bool:
        """Should this trial be given up?

        Raises:
            SearchError: The class fails, or does not say.
        """
        known = self._running.get(number)
        if known is None or known[0] != attempt:
            known = self._running[number] = (attempt, [])
        known[1].extend(reports)
        what = f"{self._target}: should_prune(reports of trial {number}, others)"
        judge, others = self._pruner.should_prune, list(self._others.values())
        answer = called(what, self._folder, lambda: judge(list(known[1]), others))
        if not isinstance(answer, bool | np.bool_):
            found = "nothing" if answer is None else f"{shown(answer)} ({type(answer).__name__})"
            raise SearchError(f"{what} returned {found}; expected True or False")
        return bool(answer)

    def learn(self, trials: Sequence[FinishedTrial]) -> None:
        """These have ended."""
        for trial in trials:
            self._running.pop(trial.number, None)
            if trial.reports and trial.state is not TrialState.FAIL:
                self._others[trial.number] = OtherTrial(trial.number, trial.state.name, trial.values, trial.reports)
                for gone in self._window.add(trial.number, ()):
                    self._others.pop(gone, None)
