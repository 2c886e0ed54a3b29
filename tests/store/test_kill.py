"""A kill at any step: what was appended is there afterwards, once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from faults import CHANGES, disk
from mpiens.store import FileStore, open_results, shelf

Maker = Callable[..., FileStore]
Packed = Callable[..., bytes]
EVERY_STEP = bool(os.environ.get("MPIENS_EVERY_STEP"))


def small(packed: Packed, number: int) -> bytes:
    """A record with few columns, because there are many steps to die at."""
    return packed(number, params={"x": number}, results={"label": f"t{number}"})


def scenario(open_store: Maker, packed: Packed, acknowledged: list[int]) -> None:
    """A run that is opened, sealed in steps, merged, stopped, reopened and completed twice."""

    def add(store: FileStore, *numbers: int) -> None:
        store.append([small(packed, number) for number in numbers])
        acknowledged.extend(numbers)

    store = open_store(parameters=["x"])
    add(store, 1, 2)
    add(store, 3)
    store.seal()
    for number in (4, 5, 6):
        add(store, number)
        steps = store.sealing()
        next(steps)
        add(store, 10 + number)  # while the one before is sealed
        for _step in steps:
            pass
    store.finish("stopped")
    store = open_store(parameters=["x"])
    add(store, 21)
    store.finish("complete")
    store = open_store(parameters=["x"])
    add(store, 22)
    store.finish("complete")


def snapshot(run_dir: Path, target: Path) -> None:
    """What a kill now would leave. Files that have their name and are HDF5 are never changed any more."""

    def copy(source: str, copied: str) -> None:
        if source.endswith(".h5"):
            os.link(source, copied)
        else:
            shutil.copyfile(source, copied)

    shutil.copytree(run_dir, target, copy_function=copy)


def test_no_record_is_lost_or_doubled(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shelf, "MERGE_AT", 3)
    acknowledged: list[int] = []
    kills: list[tuple[str, list[int]]] = []

    def before(step: int, name: str) -> None:
        kills.append((name, list(acknowledged)))
        is_looked_at = EVERY_STEP or name != "write" or step % 3 == 0
        if is_looked_at and run_dir.exists() and name != "fsync":  # that changes nothing that a kill could lose
            snapshot(run_dir, tmp_path / f"{step}.run")

    with disk(before):
        scenario(open_store, packed, acknowledged)
    assert len(kills) > 150
    assert {name for name, _known in kills} == set(CHANGES)
    shutil.rmtree(run_dir)
    for step, (name, known) in enumerate(kills):
        if (tmp_path / f"{step}.run").exists():
            (tmp_path / f"{step}.run").rename(run_dir)
            with disk(lambda *_: None, tears=False):
                more = [small(packed, 101)] if step % 4 == 0 else []
                _check_goes_on(open_store, run_dir, more, known, f"killed before step {step}: {name}")
            shutil.rmtree(run_dir)


def _check_goes_on(open_store: Maker, run_dir: Path, more: list[bytes], acknowledged: list[int], when: str) -> None:
    if (run_dir / "results.h5").exists():
        with h5py.File(run_dir / "results.h5") as file:
            numbers = file["trials/number"][()].tolist()
            assert len(set(numbers)) == len(numbers), when
            assert set(numbers) <= set(range(1, 23)), when
    store = open_store(parameters=["x"])
    found = store.numbers().tolist()
    # What was written when the kill came may be there without having been acknowledged.
    assert set(acknowledged) <= set(found), when
    assert store.warnings == [], when
    store.append(more)
    found += [101] * len(more)
    store.finish("complete")
    results = open_results(run_dir)
    assert ("label" in results) == bool(found), when
    assert not found or results["label"].tolist() == [f"t{n}" for n in found], when
    with h5py.File(run_dir / "results.h5") as file:
        assert file["trials/seed"][()].tolist() == [2**32 - 1 - number for number in found], when
    assert {path.name for path in run_dir.iterdir()} == {"results.h5", "results.h5.sums"}, when


def test_long_runs_have_few_segments(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    with disk(lambda *_: None, tears=False):
        store = open_store(parameters=["x"])
        for number in range(56):
            store.append([small(packed, number)])
            for _step in store.sealing():
                most = max(most, sum(1 for _ in (run_dir / "segments").glob("*.h5")))
    with h5py.File(run_dir / "results.h5") as file:
        assert sorted(file["trials/number"][()].tolist()) == list(range(56))
        assert len(file["trials/number"].virtual_sources()) < 64
    assert 40 < most < 64
    store.finish("complete")
    assert open_results(run_dir).trials["number"].tolist() == list(range(56))
