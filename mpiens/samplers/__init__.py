"""Where points come from: one adapter for each kind of sampler behind the protocol in `base`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mpiens.samplers.base import FinishedTrial, Past, PastTrial, Sampler

if TYPE_CHECKING:
    from mpiens.space import Space
    from mpiens.spec import Spec

__all__ = ["ADAPTIVE", "FinishedTrial", "Past", "PastTrial", "Sampler", "build_sampler"]

ADAPTIVE = frozenset({"tpe"})
"""Algorithms that learn from results."""


def _grid(spec: Spec, space: Space) -> Sampler:
    from mpiens.samplers.grid import GridSampler

    return GridSampler(space.grid(), spec.search.repeats)


def _independent(spec: Spec, space: Space) -> Sampler:
    from mpiens.samplers.optuna import IndependentSampler

    return IndependentSampler(spec.search.algorithm, space.searchable(), spec.search, spec.seed)


def _optuna(spec: Spec, space: Space) -> Sampler:
    from mpiens.samplers.optuna import OptunaSampler

    return OptunaSampler(spec.search.algorithm, space.searchable(), spec.search, spec.seed)


_BUILDERS: dict[str, Callable[[Spec, Space], Sampler]] = {"grid": _grid, "random": _independent, "tpe": _optuna}


def build_sampler(spec: Spec, space: Space) -> Sampler:
    """The sampler that the spec asks for.

    Raises:
        SpecError: It cannot search this space, or does not take these options.
    """
    return _BUILDERS[spec.search.algorithm](spec, space)
