"""A sampler of the user's own: a class with `ask` and `tell`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mpiens.errors import MpiensError, SearchError, SpecError
from mpiens.record import Params
from mpiens.reports import Report
from mpiens.samplers.adaptive import AdaptiveSampler, NoMorePoints
from mpiens.samplers.base import FinishedTrial, Plan
from mpiens.samplers.own_code import called, check_keywords, load_class
from mpiens.space import Fixed, Space
from mpiens.space.membership import misfit
from mpiens.space.values import shown

_EXPECTED = "expected a list of so many mappings of parameters to values, or fewer when there are no more"


class ToldTrial(NamedTuple):
    """What a sampler of the user's own is told of a trial.

    Attributes:
        number: Counted from 0; -1 and below for trials of earlier runs.
        params: Its point.
        state: COMPLETE, PRUNED or FAIL.
        values: Objectives in the spec's order; empty unless COMPLETE.
        constraints: Constraints in the spec's order; feasible when none is above 0.
        reports: What it has reported while it ran: steps and values.
    """

    number: int
    params: Params
    state: str
    values: tuple[float, ...]
    constraints: tuple[float, ...]
    reports: tuple[Report, ...] = ()


class CustomSampler(AdaptiveSampler):
    """Lets a class of the user's own choose.

    It is made with the space as it stands in the spec, a seed and the spec's options. `ask(n)` returns n points at
    most, none when there are no more; n is the size of a generation, or 1. After a restart it is asked and told the
    same again.

    Args:
        plan: What all samplers are told.
        target: ``path.py:Class`` or ``package.module:Class``.
        tree: The spec's `space`, as it stands there.
        space: What it means.
        folder: Folder that a path is relative to.

    Raises:
        SpecError: There is no such class, or it does not take these options.
    """

    replays = True

    def __init__(self, plan: Plan, target: str, tree: Mapping[str, Any], space: Space, folder: Path) -> None:
        super().__init__(plan)
        self._target = target
        self._folder = folder
        self._space = space
        self._fixed = {name: d.value for name, d in (space.domains or {}).items() if isinstance(d, Fixed)}
        kind = load_class(target, folder)
        for method in ("ask", "tell"):
            if not callable(getattr(kind, method, None)):
                raise SpecError(
                    f"{target} has no method {method!r}; a sampler needs ask(n) and tell(trials)",
                    key="search.algorithm",
                )
        check_keywords(target, kind, plan.options, ("space", "seed"))
        try:
            self._sampler = called(
                f"{target}(space, seed, **options)",
                folder,
                lambda: kind(dict(tree), plan.seed & 0xFFFFFFFF, **plan.options),
            )
        except MpiensError as error:
            raise SpecError(str(error), key="search.algorithm") from error.__cause__
        self._ready: list[Params] = []
        self._told: list[ToldTrial] = []
        self._points: dict[int, Params] = {}
        self.begin()

    def choose(self, number: int) -> Params:
        """The point with this number."""
        if not self._ready:
            self._pass_on()
            wanted = min(self.plan.batch or 1, self.total - number)
            what = f"{self._target}: ask({wanted})"
            given = called(what, self._folder, lambda: self._sampler.ask(wanted))
            if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
                raise SearchError(f"{what} returned {_described(given)}; {_EXPECTED}")
            # It may be a generator, of which each step is its own code too.
            self._ready = [self._checked(point, what) for point in called(what, self._folder, lambda: list(given))]
            if len(self._ready) > wanted:
                raise SearchError(f"{what} returned {len(self._ready)} points; {_EXPECTED}")
        if not self._ready:
            raise NoMorePoints
        self._points[number] = self._ready.pop(0)
        return dict(self._points[number])

    def adopt(self, number: int, params: Params) -> None:
        """A point that somebody else has chosen is being tried."""
        if params.keys() == set(self._space.names):
            self._points[number] = params

    def learn(self, trial: FinishedTrial) -> None:
        """What came of a point."""
        params = self._points.pop(trial.number, None)
        if params is None:
            return  # Of another space.
        told = ToldTrial(trial.number, params, trial.state.name, trial.values, trial.constraints, trial.reports)
        self._told.append(told)
        if not self.plan.batch:
            self._pass_on()

    def _pass_on(self) -> None:
        """Generations are told as a whole, others trial by trial: after a restart it is the same."""
        told, self._told = self._told, []
        if told:
            numbers = ", ".join(str(trial.number) for trial in told[:5]) + (", ..." if len(told) > 5 else "")
            called(f"{self._target}: tell(trials {numbers})", self._folder, lambda: self._sampler.tell(told))

    def _checked(self, point: Any, what: str) -> Params:
        if not isinstance(point, Mapping):
            raise SearchError(f"{what} returned a list with {_described(point)} in it; {_EXPECTED}")
        plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in point.items()}
        for name, value in plain.items():
            if not _is_data(value):
                raise SearchError(f"{self._target}: ask gave {name!r} a value that is no plain data: {shown(value)}")
        found = misfit(plain, self._space)
        if found is not None:
            name, problem = found
            raise SearchError(f"{what} returned {shown(plain)}: " + (problem if name is None else f"{name}: {problem}"))
        return self._fixed | plain


def _described(value: Any) -> str:
    return "nothing" if value is None else f"{shown(value)} ({type(value).__name__})"


def _is_data(value: Any) -> bool:
    """True for what a message can carry."""
    if isinstance(value, list | tuple):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_data(item) for key, item in value.items())
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, float | str)
