"""Parts of a spec that must go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mpiens.errors import SpecError
from mpiens.space import Space
from mpiens.space.membership import misfit
from mpiens.spec.algorithms import (
    ALGORITHMS,
    GRIDS,
    TAKE_CONSTRAINTS,
    WITHOUT_DIRECTION,
    WITHOUT_OBJECTIVE,
    check_algorithm,
    is_custom,
    pruner_named,
)
from mpiens.spec.command_checks import check_command
from mpiens.spec.schema import COUNTED_BY_SPACE, Spec

Check = Callable[[Spec, Space], None]


def consistency_problems(spec: Spec, space: Space) -> list[SpecError]:
    """What does not go together; nothing when all does."""
    return list(_problems(spec, space))


def _problems(spec: Spec, space: Space) -> Iterator[SpecError]:
    for check in (
        _check_algorithm,
        _check_space,
        _check_objectives,
        _check_constraints,
        _check_from,
        _check_pruner,
        _check_fixed,
        _check_start,
        _check_model,
    ):
        try:
            check(spec, space)
        except SpecError as error:
            yield error


def _check_algorithm(spec: Spec, _space: Space) -> None:
    check_algorithm(spec.search.algorithm)


def _check_space(spec: Spec, space: Space) -> None:
    algorithm, trials = spec.search.algorithm, spec.search.trials
    if algorithm in GRIDS:
        points = space.grid()
        if trials is not None and trials != points.count() * spec.search.repeats:
            repeats = f" and {spec.search.repeats} repeats of each" if spec.search.repeats > 1 else ""
            raise SpecError(
                f"{trials} trials, but this grid has {points.count()} points{repeats}; "
                "a grid's number follows from its space: remove trials",
                key="search.trials",
            )
    elif algorithm in COUNTED_BY_SPACE:
        points = space.grid()
        if trials is not None and trials > points.count() * spec.search.repeats:
            raise SpecError(
                f"{trials} trials, but this space has {points.count()} points; remove trials to visit all",
                key="search.trials",
            )
    elif not is_custom(algorithm):
        space.searchable()


def _check_objectives(spec: Spec, _space: Space) -> None:
    search = spec.search
    if not search.objectives and search.algorithm not in WITHOUT_OBJECTIVE and not is_custom(search.algorithm):
        raise SpecError(
            f"{search.algorithm} needs an objective, such as objectives: {{loss: minimize}}; "
            "without one use grid or random",
            key="search.objectives",
        )


def _check_from(spec: Spec, _space: Space) -> None:
    if spec.search.from_ is not None and spec.search.algorithm in WITHOUT_OBJECTIVE:
        raise SpecError(f"{spec.search.algorithm} does not learn from earlier runs; remove it", key="search.from")


def _check_pruner(spec: Spec, _space: Space) -> None:
    search = spec.search
    if search.pruner is None:
        return
    name = pruner_named(search.pruner)["name"]
    if len(search.objectives) != 1 and name not in WITHOUT_DIRECTION:
        raise SpecError(
            f"{name} compares trials by one objective, found {len(search.objectives) or 'none'}", key="search.pruner"
        )


def _check_constraints(spec: Spec, _space: Space) -> None:
    search = spec.search
    if search.constraints and not search.objectives:
        raise SpecError("constraints need an objective", key="search.constraints")
    learns = search.algorithm in ALGORITHMS and search.algorithm not in WITHOUT_OBJECTIVE
    if search.constraints and learns and search.algorithm not in TAKE_CONSTRAINTS:
        raise SpecError(
            f"{search.algorithm} does not take constraints; {', '.join(TAKE_CONSTRAINTS)} do", key="search.constraints"
        )
    for index, name in enumerate(search.constraints):
        if name in search.objectives:
            raise SpecError(f"{name!r} is an objective too; remove one of the two", key=f"search.constraints.{index}")
        if name in search.constraints[:index]:
            raise SpecError(f"{name!r} stands twice", key=f"search.constraints.{index}")


def _check_fixed(spec: Spec, space: Space) -> None:
    for name in spec.model.fixed:
        if name in space.names:
            raise SpecError("is a parameter of the space too; remove one of the two", key=f"model.fixed.{name}")


def _check_start(spec: Spec, space: Space) -> None:
    search = spec.search
    if search.start and (search.algorithm in COUNTED_BY_SPACE or space.domains is None):
        raise SpecError(f"{search.algorithm} visits the points of the space; remove start", key="search.start")
    if search.trials is not None and len(search.start) > search.trials:
        raise SpecError(f"{len(search.start)} points, but only {search.trials} trials", key="search.start")
    for index, point in enumerate(search.start):
        found = misfit(point, space)
        if found is not None:
            name, problem = found
            raise SpecError(problem, key=f"search.start.{index}" + ("" if name is None else f".{name}"))


def _check_model(spec: Spec, space: Space) -> None:
    model = spec.model
    if model.kind == "command":
        check_command(spec, space)
    elif model.isolation == "process" and spec.groups.size > 1:
        raise SpecError(
            f"process works in groups of one rank, and groups.size is {spec.groups.size}; set one of them otherwise",
            key="model.isolation",
        )
