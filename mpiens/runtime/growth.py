"""Grids that go on with more points: the forms that a run's space has had, in space.json.

A trial's number is its place in the grid, and its seed follows from the number. So points keep their places: those of
the first form come first, then what each later form has added.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import Any

from mpiens.errors import SpecError, UsageError
from mpiens.record import Params
from mpiens.samplers.grid import GridSampler
from mpiens.small_files import is_as_written, with_checksum, write_whole
from mpiens.space import Param, check_larger, embedded, grown, parse_space
from mpiens.space.sources import row_key
from mpiens.spec import LoadedSpec
from mpiens.spec.algorithms import GRIDS
from mpiens.store.files import explaining

NAME = "space.json"
_CHECKED_AT_ONCE = 50_000


@dataclasses.dataclass(frozen=True, slots=True)
class Growth:
    """The space of a run.

    Attributes:
        loaded: The spec, with its points in the run's order.
        forms: What space.json is to say from now on; empty: this is no grid.
        is_known: The space is what the run had, or more; it need not be compared with the one in the checkpoint.
        warnings: What a person should know.
    """

    loaded: LoadedSpec
    forms: tuple[Any, ...] = ()
    is_known: bool = False
    warnings: tuple[str, ...] = ()


def begin(loaded: LoadedSpec) -> Growth:
    """The space of a new run."""
    if loaded.spec.search.algorithm not in GRIDS:
        return Growth(loaded)
    return Growth(loaded, (_plain(embedded(loaded.spec.space, loaded.folder)),))


def go_on(loaded: LoadedSpec, run_dir: Path, is_forced: bool) -> Growth:
    """The space of a run that goes on.

    Raises:
        UsageError: It is a grid, and lacks points that the run has.
    """
    new = begin(loaded)
    known = read_forms(run_dir) if new.forms else ()
    if not known:
        if not (new.forms and (run_dir / NAME).exists()):
            return new
        text = f"{run_dir / NAME}: damaged; that the points are still those of the run is seen from its other files"
        return dataclasses.replace(new, warnings=(text,))
    if json.dumps(known[-1]) != json.dumps(new.forms[0]):
        try:
            check_larger(loaded.space, parse_space(known[-1], Path()).grid())
        except SpecError as error:
            if is_forced:
                return new
            raise UsageError(
                f"{run_dir}: {error}; add points to those of the run, or start a new run with --output DIR; "
                "--force goes on all the same"
            ) from None
        known += new.forms
    return Growth(dataclasses.replace(loaded, space=grown(loaded.space, known[:-1])), known, True)


def keep_forms(run_dir: Path, forms: tuple[Any, ...]) -> None:
    """Write space.json, where it does not say this already."""
    if forms and json.dumps(forms) != json.dumps(read_forms(run_dir)):
        path = run_dir / NAME
        with explaining(path, "write"):
            write_whole(path, json.dumps(with_checksum({"forms": forms})))


def read_forms(run_dir: Path) -> tuple[Any, ...]:
    """What space.json says; nothing where it is not there, or damaged."""
    try:
        content = json.loads((run_dir / NAME).read_bytes())
        return tuple(content["forms"]) if is_as_written(content) else ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ()


def run_points(run_dir: Path) -> tuple[Param, ...]:
    """The points of a grid's run, part by part in the order of their numbers; nothing where they are not known."""
    forms = read_forms(run_dir)
    return grown(parse_space(forms[-1], Path()), forms[:-1]).parts() if forms else ()


def check_records(
    sampler: GridSampler,
    numbers: Collection[int],
    points: Callable[[Collection[int]], dict[int, Params]],
    run_dir: Path,
) -> None:
    """Refuse a grid whose points are not those that the records say.

    Raises:
        UsageError: A trial has another point.
    """
    recorded = set(numbers)
    expected = ((number, point) for number, point in enumerate(sampler.points_from(0)) if number in recorded)
    while block := dict(islice(expected, _CHECKED_AT_ONCE)):
        found = points(list(block))
        for number, point in block.items():
            if number in found and row_key(found[number]) != row_key(point):
                raise UsageError(
                    f"{run_dir}: trial {number} is at {found[number]}, and by the spec it would be at {point}; "
                    "give the spec that the run was made with, or start a new run with --output DIR"
                )


def _plain(tree: Any) -> Any:
    # As it comes back from JSON.
    return json.loads(json.dumps(tree))
