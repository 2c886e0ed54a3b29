"""Trials of earlier runs, which a sampler is told at its start (``search.from``).

They are kept in the run directory: what a sampler knew must not change when the earlier run goes on or is deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from mpiens.errors import SpecError, StoreError
from mpiens.samplers import FinishedTrial, PastTrial
from mpiens.small_files import write_whole
from mpiens.spec import LoadedSpec
from mpiens.store import open_results
from mpiens.store.files import explaining
from mpiens.trial import TrialState

NAME = "earlier.bin"
STUDIES = (".db", ".sqlite", ".sqlite3")
"""Suffixes of Optuna studies."""

_DIGEST_BYTES = 16


def earlier_trials(loaded: LoadedSpec, run_dir: Path | None = None) -> list[PastTrial]:
    """Complete trials of the runs that the spec names, in their order.

    Args:
        loaded: The spec.
        run_dir: Directory of a run that goes on; what it has kept is taken.

    Raises:
        SpecError: There is no such run, or it lacks a value that this search needs.
        StoreError: What was kept is damaged.
    """
    named = loaded.spec.search.from_
    if named is None:
        return []
    if run_dir is not None and (run_dir / NAME).is_file():
        return _read(run_dir / NAME)
    trials: list[PastTrial] = []
    for index, name in enumerate([named] if isinstance(named, str) else named):
        key = "search.from" if isinstance(named, str) else f"search.from.{index}"
        place = (loaded.folder / name).absolute()
        if not place.exists():
            raise SpecError(f"{place}: no such run or study", key=key)
        try:
            found = list(_of_study(place, loaded) if place.suffix in STUDIES else _of_run(place, loaded))
        except StoreError as error:
            raise SpecError(str(error), key=key) from error
        if not found:
            raise SpecError(f"{place}: no complete trial to learn from", key=key)
        trials += found
    return trials


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
