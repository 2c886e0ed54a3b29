"""Where points come from: one adapter for each kind of sampler behind the protocol in `base`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past, PastTrial, Plan, Sampler

if TYPE_CHECKING:
    from mpiens.space import Space
    from mpiens.spec import Spec

__all__ = ["FinishedTrial", "Past", "PastTrial", "Plan", "Sampler", "build_sampler", "is_adaptive"]

Builder = Callable[["Plan", "Space", "Spec"], Sampler]


def _grid(plan: Plan, space: Space, spec: Spec) -> Sampler:  # noqa: ARG001
    from mpiens.samplers.grid import GridSampler

    return GridSampler(space.parts(), spec.search.repeats)


def _independent(plan: Plan, space: Space, spec: Spec) -> Sampler:  # noqa: ARG001
    from mpiens.samplers.optuna import IndependentSampler

    return IndependentSampler(plan, space.searchable())


def _optuna(plan: Plan, space: Space, spec: Spec) -> Sampler:  # noqa: ARG001
    from mpiens.samplers.optuna import OptunaSampler

    return OptunaSampler(plan, space.searchable())


_BUILDERS: dict[str, Builder] = {
    "grid": _grid,
    "random": _independent,
    "tpe": _optuna,
    "gp": _optuna,
    "cmaes": _optuna,
    "nsga2": _optuna,
    "nsga3": _optuna,
}


def is_adaptive(algorithm: str) -> bool:
    """True for samplers that learn from results."""
    return algorithm not in ("grid", "random", "brute_force", "lhs", "qmc")


def build_sampler(spec: Spec, space: Space, earlier: Sequence[PastTrial] = ()) -> Sampler:
    """The sampler that the spec asks for.

    Args:
        spec: What is asked for.
        space: Its points.
        earlier: Trials of earlier runs, which a sampler that learns is told first.

    Raises:
        SpecError: It cannot search this space, or does not take these options.
    """
    search = spec.search
    start: list[Params] = [dict(point) for point in search.start]
    plan = Plan(
        algorithm=search.algorithm,
        total=search.trials or 0,
        # Not the root of the trials' own seeds: a model must not draw the numbers that chose its parameters.
        seed=-1 - spec.seed,
        directions=tuple(search.objectives.values()),
        constraints=tuple(search.constraints),
        batch=search.batch,
        options=search.options,
        start=start,
        earlier=earlier,
    )
    return _BUILDERS[search.algorithm](plan, space, spec)
