"""Damaged files that hold rows: all trials but those hit are kept, and a run goes on to the same results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from faults import Killed, dies_at, disk
from mpiens.store import FileStore, open_results
from mpiens.store.beside import beside
from mpiens.store.checked import verify
from mpiens.store.checksums import read_footer
from mpiens.store.extents import datasets, extents
from mpiens.store.hdf5 import keys
from mpiens.store.salvage import salvage
from project import contents

Maker = Callable[..., FileStore]
Packed = Callable[..., bytes]
COUNT = 300
STEP = 1 if os.environ.get("MPIENS_EVERY_STEP") else 3
KEPT_TWICE = ("trials/state", "trials/error", "trials/history")


def make(packed: Packed, number: int) -> bytes:
    """Wide errors are compressed; whole numbers become others where a trial has none."""
    if number % 5:
        return packed(number)
    return packed(number, error=f"ValueError: {number} " + "x" * (number % 150))


@pytest.fixture
def whole(open_store: Maker, run_dir: Path, packed: Packed, tmp_path: Path) -> Path:
    """The results of an undisturbed run."""
    store = open_store()
    store.append([make(packed, number) for number in range(COUNT)])
    store.finish("complete")
    return run_dir.rename(tmp_path / "whole.run")


@pytest.fixture
def stopped(open_store: Maker, run_dir: Path, packed: Packed, whole: Path) -> Path:
    """The one segment of a run that has stopped."""
    store = open_store()
    store.append([make(packed, number) for number in range(COUNT)])
    store.finish("stopped")
    return run_dir / "segments" / "0-000000.h5"


def flip(path: Path, *places: int) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 4
    path.write_bytes(data)


def places(path: Path) -> Iterator[tuple[str, int]]:
    """A byte in the midst of every dataset of every column."""
    with h5py.File(path) as file:
        for key in keys(file):
            for name, dataset in datasets(file, key).items():
                found = extents(dataset)
                extent = found[len(found) // 2]
                yield f"{key[0]}/{key[1]}/{name}", (extent.start + extent.stop) // 2


def footer_of(path: Path) -> Any:
    with path.open("rb") as file:
        return read_footer(path, file.fileno())


def go_on(open_store: Maker, packed: Packed, run_dir: Path) -> list[int]:
    """Complete the run; the trials that had to run again."""
    store = open_store()
    lost = sorted(set(range(COUNT)) - set(store.numbers().tolist()))
    store.append([make(packed, number) for number in lost])
    store.finish("complete")
    open_results(run_dir).verify()
    return lost


def test_a_bit_in_any_column_costs_only_the_rows_hit(
    open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    sound = shutil.copytree(run_dir, tmp_path / "sound.run")
    all_places = list(places(stopped))
    assert len(all_places) > 18
    for index, (name, place) in enumerate(all_places):
        flip(stopped, place)
        found = salvage(stopped)
        assert found is not None
        assert found.lost < COUNT / 2, name
        assert found.lost or name.startswith(KEPT_TWICE), name
        if index % 5:
            flip(stopped, place)
            assert salvage(stopped) is None
            continue
        damaged = stopped.read_bytes()
        assert len(go_on(open_store, packed, run_dir)) == found.lost, name
        assert contents(run_dir) == contents(whole), name
        assert stopped.with_name("0-000000.h5.damaged").read_bytes() == damaged
        shutil.rmtree(run_dir)
        shutil.copytree(sound, run_dir)


def test_what_is_lost_is_said(open_store: Maker, stopped: Path) -> None:
    place = dict(places(stopped))["results/trace/"]
    flip(stopped, place)
    store = open_store()
    (warning,) = store.warnings
    lost = COUNT - len(store.numbers())
    assert "0-000000.h5: damaged: bytes " in warning
    assert "moved to 0-000000.h5.damaged" in warning
    assert f"{COUNT - lost} of its {COUNT} trials are sound, {lost} are lost, and run again" in warning
    assert open_store().warnings == []


def test_rows_without_a_value_can_be_those_that_are_lost(
    open_store: Maker, packed: Packed, run_dir: Path, tmp_path: Path
) -> None:
    """The column of those that are left has another type, until the others are there again."""

    def record(number: int) -> bytes:
        results: dict[str, Any] = {"big": number} if number >= 64 else {}
        return packed(number, results={**results, "wide": np.full(64, number)})

    numbers = range(1, 300)
    for name in ("whole", "damaged"):
        store = open_store()
        store.append([record(number) for number in numbers])
        if name == "whole":
            store.finish("complete")
            run_dir.rename(tmp_path / "whole.run")
    store.finish("stopped")
    path = run_dir / "segments" / "0-000000.h5"
    wide = next(extent for name, extent in _extents(path) if name == "results/wide/")
    data = bytearray(path.read_bytes())
    data[wide.start : wide.start + 64 * 512] = bytes(64 * 512)
    path.write_bytes(data)
    store = open_store()
    left = store.numbers().tolist()
    assert left
    assert min(left) >= 64
    assert open_results(run_dir)["big"].tolist() == left
    assert open_results(run_dir)["big"].dtype == np.int64
    store.append([record(number) for number in numbers if number not in left])
    store.finish("complete")
    assert contents(run_dir) == contents(tmp_path / "whole.run")


def _extents(path: Path) -> Iterator[tuple[str, Any]]:
    with h5py.File(path) as file:
        for key in keys(file):
            for name, dataset in datasets(file, key).items():
                yield f"{key[0]}/{key[1]}/{name}", extents(dataset)[0]


def test_structure_and_checksums_cost_no_trial(
    open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    sound = shutil.copytree(run_dir, tmp_path / "sound.run")
    footer = footer_of(stopped)
    with h5py.File(stopped) as file:
        header = h5py.h5o.get_info(file["results/trace"].id).addr
    size = stopped.stat().st_size
    for place in (8, 40, header + 6, footer.length - 20, footer.length + 30, size - 100):
        flip(stopped, place)
        with pytest.raises(Exception, match="damaged"):
            verify(stopped)
        # A damaged checksum costs what it belongs to.
        assert len(go_on(open_store, packed, run_dir)) < (COUNT / 2 if place == size - 100 else 1), place
        assert contents(run_dir) == contents(whole)
        shutil.rmtree(run_dir)
        shutil.copytree(sound, run_dir)


def test_a_damaged_copy_of_the_structure_costs_no_more_than_the_rows_hit(
    open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path
) -> None:
    footer = footer_of(stopped)
    flip(stopped, footer.length + footer.copy_bytes // 2, dict(places(stopped))["results/trace/"])
    assert 0 < len(go_on(open_store, packed, run_dir)) < COUNT / 2
    assert contents(run_dir) == contents(whole)


@pytest.mark.parametrize("is_ragged", [False, True])
def test_texts_that_are_compressed_are_read_around_what_is_damaged(
    is_ragged: bool, open_store: Maker, packed: Packed, run_dir: Path, tmp_path: Path
) -> None:
    def record(number: int) -> bytes:
        text = f"{number} ".ljust(500, "y")
        return packed(number, results={"text": np.array([text] * (1 + number % 3)) if is_ragged else text})

    store = open_store()
    store.append([record(number) for number in range(900)])
    store.finish("complete")
    shutil.copytree(run_dir, tmp_path / "whole.run")
    path = run_dir / "results.h5"
    with h5py.File(path) as file:
        damaged = extents(datasets(file, ("results", "text"))["values" if is_ragged else ""])[1]
    flip(path, (damaged.start + damaged.stop) // 2)
    store = open_store()
    lost = sorted(set(range(900)) - set(store.numbers().tolist()))
    assert 0 < len(lost) < 450
    store.append([record(number) for number in lost])
    store.finish("complete")
    assert contents(run_dir) == contents(tmp_path / "whole.run")


def test_what_has_grown_is_kept(open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path) -> None:
    stopped.write_bytes(stopped.read_bytes() + bytes(5000))
    assert go_on(open_store, packed, run_dir) == []
    assert contents(run_dir) == contents(whole)


def last_column(path: Path) -> tuple[int, int]:
    """Where that column begins and ends which stands last in the file."""
    with h5py.File(path) as file:
        parts = [extent for key in keys(file) for data in datasets(file, key).values() for extent in extents(data)]
    last = max(parts)
    return last.start, last.stop


@pytest.mark.parametrize("is_packed", [False, True])
def test_rows_before_a_cut_are_kept(
    is_packed: bool, open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path
) -> None:
    path = stopped
    if is_packed:
        open_store().finish("complete")
        path = run_dir / "results.h5"
    start, stop = last_column(path)
    os.truncate(path, start + (stop - start) * 3 // 4)
    lost = go_on(open_store, packed, run_dir)
    assert lost == list(range(COUNT - len(lost), COUNT))
    assert COUNT // 5 < len(lost) < COUNT // 3
    assert contents(run_dir) == contents(whole)


def test_what_is_cut_off_is_lost_without_the_checksums_beside_it(
    open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path
) -> None:
    os.truncate(stopped, stopped.stat().st_size - 1000)
    beside(stopped).write_bytes(b"of some other file")
    assert go_on(open_store, packed, run_dir) == list(range(COUNT))
    assert contents(run_dir) == contents(whole)


def test_a_packed_file(open_store: Maker, packed: Packed, whole: Path, run_dir: Path) -> None:
    shutil.copytree(whole, run_dir)
    path = run_dir / "results.h5"
    for _ in range(2):
        flip(path, *(place for name, place in places(path) if name in ("trials/seed/", "results/spikes/values")))
        assert 0 < len(go_on(open_store, packed, run_dir)) < COUNT / 2
        assert contents(run_dir) == contents(whole)
    assert len([path for path in run_dir.glob("results.h5.damaged*") if path.suffix != ".sums"]) == 2


def test_a_missing_segment_is_named(
    open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path
) -> None:
    stopped.unlink()
    store = open_store()
    assert store.warnings == [f"{stopped}: this segment is missing; its trials run again"]
    assert open_store().warnings == []
    store.append([make(packed, number) for number in range(COUNT)])
    store.finish("complete")
    assert contents(run_dir) == contents(whole)


def test_what_a_damaged_merged_segment_had_replaced_counts_again(
    open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    """As after a kill between a pack and the end of its segments."""
    kept = shutil.copytree(stopped.parent, tmp_path / "segments")
    open_store().finish("complete")
    shutil.copytree(kept, stopped.parent)
    flip(run_dir / "results.h5", *(place for _name, place in places(run_dir / "results.h5")))
    assert go_on(open_store, packed, run_dir) == []
    assert contents(run_dir) == contents(whole)


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_kill_while_it_is_saved_costs_nothing_more(
    is_packed: bool, open_store: Maker, packed: Packed, run_dir: Path, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    path = stopped
    if is_packed:
        open_store().finish("complete")
        path = run_dir / "results.h5"
    flip(path, dict(places(path))["results/spikes/values"])
    found = salvage(path)
    assert found is not None
    damaged = run_dir.rename(tmp_path / "damaged.run")
    step, is_over = 0, False
    while not is_over:
        shutil.copytree(damaged, run_dir)
        try:
            with disk(dies_at(step), tears=False):
                open_store()
            is_over = True
        except Killed:
            step += STEP
        with disk(lambda *_: None, tears=False):
            assert len(open_store().numbers()) == COUNT - found.lost, step
            if is_over or step % 9 == 0:
                assert len(go_on(open_store, packed, run_dir)) == found.lost, step
                assert contents(run_dir) == contents(whole), step
        shutil.rmtree(run_dir)
    assert step > 8
