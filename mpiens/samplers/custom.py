"""A sampler of the user's own: a class with `ask` and `tell`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from mpiens.errors import MpiensError, SpecError
from mpiens.record import Params
from mpiens.reports import Report
from mpiens.samplers.adaptive import AdaptiveSampler, NoMorePoints
from mpiens.samplers.base import FinishedTrial, Plan
from mpiens.samplers.options import arguments, check_options
from mpiens.samplers.signatures import check_values
from mpiens.space.values import nearest, shown


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
        space: The spec's `space`.
        names: All parameters.
        folder: Folder that a path is relative to.

    Raises:
        SpecError: There is no such class, or it does not take these options.
    """

    replays = True

    def __init__(self, plan: Plan, target: str, space: Mapping[str, Any], names: tuple[str, ...], folder: Path) -> None:
        super().__init__(plan)
        self._target = target
        self._names = names
        kind = load_class(target, folder)
        for method in ("ask", "tell"):
            if not callable(getattr(kind, method, None)):
                raise SpecError(
                    f"{target} has no method {method!r}; a sampler needs ask(n) and tell(trials)",
                    key="search.algorithm",
                )
        check_keywords(target, kind, plan.options, ("space", "seed"))
        try:
            self._sampler = kind(dict(space), plan.seed & 0xFFFFFFFF, **plan.options)
        except Exception as error:
            raise SpecError(
                f"{target}(space, seed, **options) failed: {type(error).__name__}: {error}", key="search.algorithm"
            ) from error
        self._ready: list[Params] = []
        self._told: list[ToldTrial] = []
        self._points: dict[int, Params] = {}
        self.begin()

    def choose(self, number: int) -> Params:
        """The point with this number."""
        if not self._ready:
            self._pass_on()
            wanted = min(self.plan.batch or 1, self.total - number)
            self._ready = [self._checked(point) for point in self._sampler.ask(wanted)]
            if len(self._ready) > wanted:
                raise MpiensError(f"{self._target}: ask({wanted}) returned {len(self._ready)} points")
        if not self._ready:
            raise NoMorePoints
        self._points[number] = self._ready.pop(0)
        return dict(self._points[number])

    def adopt(self, number: int, params: Params) -> None:
        """A point that somebody else has chosen is being tried."""
        if params.keys() == set(self._names):
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
            self._sampler.tell(told)

    def _checked(self, point: Any) -> Params:
        if not isinstance(point, Mapping):
            raise MpiensError(f"{self._target}: ask returned {type(point).__name__}, expected mappings of parameters")
        for name in self._names:
            if name not in point:
                raise MpiensError(f"{self._target}: a point of ask lacks the parameter {name!r}")
        for name in point:
            if name not in self._names:
                raise MpiensError(f"{self._target}: {name!r} is no parameter of the space{nearest(name, self._names)}")
        plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in point.items()}
        for name, value in plain.items():
            if not _is_data(value):
                raise MpiensError(f"{self._target}: ask gave {name!r} a value that is no plain data: {shown(value)}")
        return plain


def _is_data(value: Any) -> bool:
    """True for what a message can carry."""
    if isinstance(value, list | tuple):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_data(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def load_class(target: str, folder: Path, key: str = "search.algorithm") -> Any:
    """The class ``path.py:Class`` or ``package.module:Class``.

    Raises:
        SpecError: There is none.
    """
    place, _, name = target.rpartition(":")
    try:
        module = _module(place, folder)
    except FileNotFoundError as error:
        raise SpecError(f"{place}: no such file beside the spec", key=key) from error
    except Exception as error:
        raise SpecError(f"{place} cannot be imported: {type(error).__name__}: {error}", key=key) from error
    if not hasattr(module, name):
        raise SpecError(f"{place} has no {name!r}{nearest(name, vars(module))}", key=key)
    return getattr(module, name)


def check_keywords(
    target: str, kind: Any, options: Mapping[str, Any], own: Sequence[str], key: str = "search.options"
) -> None:
    """Accept options that are keyword arguments of a class, `own` aside.

    Raises:
        SpecError: One is not.
    """
    if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(kind).parameters.values()):
        check_options(target, options, arguments(kind, own), key)
    check_values(options, kind, key, is_library=False)


def _module(place: str, folder: Path) -> ModuleType:
    if not place.endswith(".py"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        return importlib.import_module(place)
    path = (folder / place).resolve()
    if not path.is_file():
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(f"mpiens_sampler_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and the like look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
