"""Where points come from: one adapter for each kind of sampler behind the protocol in `base`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past, PastTrial, Plan, Pruner, Sampler
from mpiens.samplers.options import check_options
from mpiens.samplers.repeated import RepeatedSampler
from mpiens.space import Fixed
from mpiens.spec.algorithms import WITHOUT_OBJECTIVE, is_custom, pruner_named

if TYPE_CHECKING:
    from mpiens.space import Space
    from mpiens.spec import Spec

__all__ = [
    "FinishedTrial",
    "Past",
    "PastTrial",
    "Plan",
    "Pruner",
    "Sampler",
    "build_pruner",
    "build_sampler",
    "is_adaptive",
    "trials_per_point",
]


@dataclass(frozen=True, slots=True)
class Place:
    """What a sampler may be made for.

    Attributes:
        spec: What is asked for.
        space: Its points.
        folder: The spec's folder.
    """

    spec: Spec
    space: Space
    folder: Path


def _grid(plan: Plan, place: Place) -> Sampler:
    from mpiens.samplers.grid import GridSampler

    check_options(plan.algorithm, plan.options, ())
    return GridSampler(place.space.parts(), place.spec.search.repeats)


def _shuffled(plan: Plan, place: Place) -> Sampler:
    from mpiens.samplers.shuffled import ShuffledGridSampler

    return ShuffledGridSampler(plan, place.space.grid(), place.spec.search.repeats)


def _custom(plan: Plan, place: Place) -> Sampler:
    from mpiens.samplers.custom import CustomSampler

    return CustomSampler(plan, plan.algorithm, place.spec.space, place.space, place.folder)


_CLASSES = {
    "random": "optuna:IndependentSampler",
    "tpe": "optuna:OptunaSampler",
    "gp": "optuna:OptunaSampler",
    "cmaes": "optuna:OptunaSampler",
    "nsga2": "optuna:OptunaSampler",
    "nsga3": "optuna:OptunaSampler",
    "qmc": "lowdisc:SequenceSampler",
    "lhs": "lowdisc:LatinHypercubeSampler",
    "nevergrad": "nevergrad:NevergradSampler",
    "bayesopt": "bayesopt:BayesOptSampler",
    "hyperopt": "hyperopt:HyperoptSampler",
    "pymoo": "pymoo:PymooSampler",
    "ax": "ax:AxSampler",
}
"""Module and class for algorithms that search domains. Imported when one is asked for: nobody pays for the others."""

_BUILDERS: dict[str, Callable[[Plan, Place], Sampler]] = {"grid": _grid, "brute_force": _shuffled}


def is_adaptive(algorithm: str) -> bool:
    """True for samplers that learn from results."""
    return algorithm not in WITHOUT_OBJECTIVE


def build_sampler(spec: Spec, space: Space, folder: Path = Path(), earlier: Sequence[PastTrial] = ()) -> Sampler:
    """The sampler that the spec asks for.

    Args:
        spec: What is asked for.
        space: Its points.
        folder: The spec's folder.
        earlier: Trials of earlier runs, which a sampler that learns is told first.

    Raises:
        SpecError: It cannot search this space, or does not take these options.
    """
    search = spec.search
    fixed = {name: d.value for name, d in (space.domains or {}).items() if isinstance(d, Fixed)}
    start: list[Params] = [{**fixed, **point} for point in search.start]
    plan = Plan(
        algorithm=search.algorithm,
        total=-(-(search.trials or 0) // trials_per_point(spec)),
        # Not the root of the trials' own seeds: a model must not draw the numbers that chose its parameters.
        seed=-1 - spec.seed,
        directions=tuple(search.objectives.values()),
        constraints=tuple(search.constraints),
        batch=search.batch,
        options=search.options,
        start=start,
        earlier=earlier,
    )
    sampler = _make(plan, Place(spec, space, folder))
    if trials_per_point(spec) > 1:
        return RepeatedSampler(sampler, search.repeats, search.trials or 0)
    return sampler


def trials_per_point(spec: Spec) -> int:
    """How many trials a sampler is told of as one point; a grid's repeats are points to it."""
    return 1 if spec.search.algorithm in _BUILDERS else spec.search.repeats


def _make(plan: Plan, place: Place) -> Sampler:
    name = plan.algorithm
    if name not in _CLASSES:
        return _BUILDERS.get(name, _custom)(plan, place)
    module, _, kind = _CLASSES[name].partition(":")
    make = getattr(import_module(f"mpiens.samplers.{module}"), kind)
    sampler: Sampler = make(plan, place.space.searchable())
    return sampler


def build_pruner(spec: Spec, folder: Path = Path()) -> Pruner | None:
    """The pruner that the spec asks for; None: it has none.

    Raises:
        SpecError: It does not take these options.
    """
    search = spec.search
    if search.pruner is None:
        return None
    asked, directions = pruner_named(search.pruner), tuple(search.objectives.values())
    if is_custom(asked["name"]):
        from mpiens.samplers.custom_pruner import CustomPruner

        return CustomPruner(asked, directions[0], folder)
    from mpiens.samplers.optuna.pruners import OptunaPruner

    return OptunaPruner(asked, directions, search.batch)
