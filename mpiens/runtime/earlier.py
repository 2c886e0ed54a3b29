"""Trials of earlier runs, which a sampler is told at its start (``search.from``).

They are kept in the run directory: what a sampler knew must not change when the earlier run goes on or is deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from mpiens.errors import SpecError, StoreError
from mpiens.record import Params
from mpiens.samplers import FinishedTrial, PastTrial
from mpiens.small_files import write_whole
from mpiens.space import Fixed, Space
from mpiens.space.membership import admits, misfit
from mpiens.space.values import shown
from mpiens.spec import LoadedSpec
from mpiens.store import open_results
from mpiens.store.files import explaining
from mpiens.trial import TrialState

NAME = "earlier.bin"
STUDIES = (".db", ".sqlite", ".sqlite3")
"""Suffixes of Optuna studies."""

_DIGEST_BYTES = 16


class Earlier(NamedTuple):
    """What earlier runs have to tell.

    Attributes:
        trials: Complete trials whose points are in this space, in the order in which they are named.
        counts: For each run, as it is named: how many these are, and how many complete trials it has. Of a run that
            goes on, which takes what it has kept: nothing.
    """

    trials: list[PastTrial]
    counts: tuple[tuple[str, int, int], ...] = ()


def earlier_trials(loaded: LoadedSpec, run_dir: Path | None = None) -> Earlier:
    """Complete trials of the runs that the spec names, in their order.

    Args:
        loaded: The spec.
        run_dir: Directory of a run that goes on; what it has kept is taken.

    Raises:
        SpecError: There is no such run, it has other objectives, or none of its trials is in this space.
        StoreError: What was kept is damaged.
    """
    named = loaded.spec.search.from_
    if named is None:
        return Earlier([])
    if run_dir is not None and (run_dir / NAME).is_file():
        return Earlier(_read(run_dir / NAME))
    trials: list[PastTrial] = []
    counts = []
    fixed = {name: d.value for name, d in (loaded.space.domains or {}).items() if isinstance(d, Fixed)}
    for index, name in enumerate([named] if isinstance(named, str) else named):
        key = "search.from" if isinstance(named, str) else f"search.from.{index}"
        place = (loaded.folder / name).absolute()
        if not place.exists():
            raise SpecError(f"{place}: no such run or study", key=key)
        try:
            found = list(_of_study(place, loaded) if place.suffix in STUDIES else _of_run(place, loaded))
        except StoreError as error:
            is_other_file = place.is_file() and place.suffix not in (*STUDIES, ".h5")
            hint = f"; an Optuna study's name ends in {' or '.join(STUDIES)}" if is_other_file else ""
            raise SpecError(f"{error}{hint}", key=key) from error
        if not found:
            raise SpecError(f"{place}: no complete trial to learn from", key=key)
        points = [trial.params or {} for trial in found]
        # What has one value here need not have been a parameter there.
        fitting = [
            t._replace(params=fixed | point)
            for t, point in zip(found, points, strict=True)
            if misfit(point, loaded.space) is None
        ]
        if not fitting:
            raise SpecError(f"{place}: {_misfit(points, loaded.space)}", key=key)
        trials += fitting
        counts.append((name, len(fitting), len(found)))
    return Earlier(trials, tuple(counts))


def _misfit(points: Sequence[Params], space: Space) -> str:
    """Why none of these points is in this space."""
    one = "its complete trial is not" if len(points) == 1 else f"none of its {len(points)} complete trials is"
    text = f"{one} in this space, so that there is nothing to learn from; "
    variable = {name for name in space.names if not isinstance((space.domains or {}).get(name), Fixed)}
    if not any(variable <= point.keys() <= set(space.names) for point in points):
        return text + f"its parameters are {', '.join(sorted(points[0]))}; those here are {', '.join(space.names)}"
    outside = []
    for name, domain in (space.domains or {}).items():
        values = [point[name] for point in points if name in point and not admits(domain, point[name])]
        if values:
            outside.append(f"{name} is outside in {len(values)}, such as {shown(values[0])}")
    return text + "; ".join(outside[:5])


def keep_earlier(run_dir: Path, trials: list[PastTrial]) -> None:
    """Write them into the run directory; nothing when there are none.

    Raises:
        StoreError: The disk refuses.
    """
    if not trials:
        return
    content = msgpack.packb([(t.params, t.ending.values) for t in trials if t.ending is not None])
    path = run_dir / NAME
    with explaining(path, "write"):
        write_whole(path, _digest(content) + content)


def _read(path: Path) -> list[PastTrial]:
    with explaining(path, "read"):
        data = path.read_bytes()
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if digest != _digest(content):
        raise StoreError(
            f"{path}: damaged: its checksum is not that of its content; put a copy of it back, or delete it: then the "
            "trials of search.from are taken as they are there now, and a run in generations may end with other points"
        )
    return [_past(params, values) for params, values in msgpack.unpackb(content, strict_map_key=False)]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _past(params: dict[str, Any], values: Any) -> PastTrial:
    return PastTrial(params, FinishedTrial(0, TrialState.COMPLETE, tuple(map(float, values))))


def _of_run(place: Path, loaded: LoadedSpec) -> Iterator[PastTrial]:
    search = loaded.spec.search
    with open_results(place) as results:
        for name in (*search.objectives, *search.constraints):
            if name not in results:
                raise StoreError(f"{place}: that run has no {name!r}")
        if results.directions and set(results.directions) != set(search.objectives):
            raise StoreError(
                f"{place}: the objectives of that run are {', '.join(results.directions)}, those of this search "
                f"{', '.join(search.objectives) or 'none'}; expected the same"
            )
        for name, direction in search.objectives.items():
            if results.directions.get(name, direction) != direction:
                raise StoreError(
                    f"{place}: that run is to {results.directions[name]} {name!r}, this one to {direction}"
                )
        columns = [results[name] for name in (*search.objectives, *search.constraints)]
        for params, state, *values in zip(results.points(), results.states(), *columns, strict=True):
            if state == TrialState.COMPLETE:
                yield _past(params, values)


def _of_study(place: Path, loaded: LoadedSpec) -> Iterator[PastTrial]:
    from mpiens.samplers.optuna.exchange import read_study

    for params, values in read_study(
        place, loaded.spec.search.objectives, loaded.spec.search.constraints, loaded.space
    ):
        yield _past(params, values)
