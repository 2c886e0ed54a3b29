"""The store in files: seal, finish, reopen, merge."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mpiens.errors import StoreError
from mpiens.store import (
    FileStore,
    Results,
    combine,
    open_results,
    packed_size,
    remove_packed,
    segment,
    shelf,
    writer,
)
from mpiens.store.files import at_once
from mpiens.store.journal import read_frames
from mpiens.store.segment import segment_name, writing_segment
from mpiens.store.table import table

Maker = Callable[..., FileStore]
Packed = Callable[..., bytes]


def assert_same(one: Results, other: Results) -> None:
    assert one.names == other.names
    assert one.trials.equals(other.trials)
    for name in one.names:
        for a, b in zip(one[name], other[name], strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)


def test_an_empty_run_has_a_valid_results_file(open_store: Maker, run_dir: Path) -> None:
    open_store()
    with h5py.File(run_dir / "results.h5") as file:
        assert file.attrs["mpiens_format"] == 1
        assert (file.attrs["name"], file.attrs["state"]) == ("a", "running")
        assert file["spec"][()].decode() == "name: a  # é\n"
        assert dict(file["provenance"].attrs) == {"mpiens": "0.1", "ranks": 4, "pi": 3.5}
        assert list(file["trials/params"]) == ["x", "nmda.PYR->BC", "kind"]
        assert file["trials/values/loss"].shape == (0,)
        assert file["trials/values/loss"].dtype == np.float64
        assert file["trials/values/loss"].attrs["direction"] == "minimize"
        assert h5py.check_enum_dtype(file["trials/state"].dtype) == {"COMPLETE": 1, "PRUNED": 2, "FAIL": 3}
        assert len(file["results"]) == 0


@pytest.mark.parametrize("state", ["running", "complete"])
def test_layout_of_results(open_store: Maker, run_dir: Path, packed: Packed, state: str) -> None:
    store = open_store()
    for number in (3, 1, 5, 2):
        store.append([packed(number)])
        store.seal()
    if state == "complete":
        store.finish("complete")
    with h5py.File(run_dir / "results.h5") as file:
        assert file.attrs["state"] == state
        numbers = file["trials/number"][()].tolist()
        assert numbers == ([1, 2, 3, 5] if state == "complete" else [3, 1, 5, 2])
        assert file["trials/seed"][()].tolist() == [2**32 - 1 - number for number in numbers]
        assert file["trials/error"].asstr()[()].tolist() == ["" if n % 5 else f"ValueError: Übel {n}" for n in numbers]
        assert file["trials/params/kind"].asstr()[()].tolist() == ["ab"[number % 2] for number in numbers]
        assert file["trials/params/nmda.PYR->BC"].dtype == np.int64
        loss = file["trials/values/loss"][()]
        assert np.isnan(loss[numbers.index(5)])
        assert np.nansum(loss) == 36 + 25 + 16
        assert file["results/trace"].shape == (4, 3)
        assert file["results/trace"].dtype == np.float32
        assert file["results/count"].dtype == np.float64  # one trial has failed
        spikes = file["results/spikes"]
        assert list(spikes) == ["values", "offsets", "shapes"]
        offsets = spikes["offsets"][()]
        row = numbers.index(3)
        assert spikes["values"][offsets[row] : offsets[row + 1]].tolist() == [3, 4, 5]
        assert spikes["shapes"].shape == (4, 1)
        assert file["results/mixed"].attrs["encoding"] == "json"
        assert file["trials/number"].is_virtual == (state == "running")

        def fixed(name: str, node: h5py.Dataset | h5py.Group) -> None:
            if isinstance(node, h5py.Dataset):
                text = h5py.check_string_dtype(node.dtype)
                assert text is None or text.length, name
                assert h5py.check_vlen_dtype(node.dtype) is None, name

        file.visititems(fixed)


def test_packing_shows_what_the_master_showed(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    order = np.random.default_rng(1).permutation(60).tolist()
    for start in range(0, 60, 7):
        store.append([packed(number) for number in order[start : start + 7]])
        store.seal()
    before = open_results(run_dir)
    tables = before.trials, {name: before[name] for name in before.names}
    store.finish("complete")
    after = open_results(run_dir)
    assert tables[0].equals(after.trials)
    for name, values in tables[1].items():
        for a, b in zip(values, after[name], strict=True):
            np.testing.assert_array_equal(a, b)
    assert {path.name for path in run_dir.iterdir()} == {"results.h5", "results.h5.sums"}


def test_how_trials_were_sealed_does_not_show(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    for name, step in (("one", 40), ("many", 1)):
        store = open_store()
        for start in range(0, 40, step):
            store.append([packed(number) for number in range(start, start + step)])
            store.seal()
        store.finish("complete")
        run_dir.rename(run_dir.with_name(name))
    one, many = (open_results(run_dir.with_name(name)) for name in ("one", "many"))
    assert_same(one, many)


def test_a_stopped_run_keeps_its_segments_and_can_be_moved(
    open_store: Maker, run_dir: Path, packed: Packed, tmp_path: Path
) -> None:
    store = open_store()
    store.append([packed(1), packed(2)])
    store.finish("stopped")
    with pytest.raises(StoreError, match="closed"):
        store.append([packed(3)])
    moved = tmp_path / "elsewhere" / "b.run"
    moved.parent.mkdir()
    shutil.move(run_dir, moved)
    results = open_results(moved)
    assert results.state == "stopped"
    assert results["count"].tolist() == [1, 2]


def test_reopening_goes_on_where_it_was(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(1)])
    store.seal()
    store.append([packed(2)])
    del store  # killed: nothing is closed
    store = open_store()
    assert store.numbers().tolist() == [1, 2]
    assert store.warnings == []
    store.append([packed(3)])
    store.finish("complete")
    assert open_results(run_dir)["count"].tolist() == [1, 2, 3]


def test_a_complete_run_can_go_on(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    for number in range(1, 5):
        store = open_store()
        assert store.numbers().tolist() == list(range(1, number))
        assert open_results(run_dir).state == "running"
        store.append([packed(number)])
        store.finish("complete")
        assert {path.name for path in run_dir.iterdir()} == {"results.h5", "results.h5.sums"}
    assert open_results(run_dir)["count"].tolist() == [1, 2, 3, 4]


def test_a_complete_run_can_go_on_without_hard_links(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    test_a_complete_run_can_go_on(open_store, run_dir, packed)


def test_the_first_record_of_a_trial_counts(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(1, attempt=1), packed(1, attempt=2), packed(2)])
    store.append([packed(1, attempt=1)])
    store.seal()
    store.append([packed(1, attempt=3), packed(3)])
    store.seal()
    store.append([packed(2, attempt=9)])
    store.finish("complete")
    trials = open_results(run_dir).trials
    assert trials["number"].tolist() == [1, 2, 3]
    assert trials["attempt"].tolist() == [1, 1, 1]


def test_a_journal_whose_segment_is_there_already_doubles_nothing(
    open_store: Maker, run_dir: Path, packed: Packed
) -> None:
    store = open_store()
    store.append([packed(number) for number in (1, 2)])
    journal = run_dir / "journal" / "0-000000.bin"
    kept = journal.read_bytes()
    store.seal()
    assert not journal.exists()
    journal.write_bytes(kept)
    store = open_store()
    store.finish("complete")
    assert open_results(run_dir)["count"].tolist() == [1, 2]


def test_segments_are_merged(open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MERGE_AT", 9)
    store = open_store()
    most = 0
    for number in range(100):
        store.append([packed(number)])
        store.seal()
        most = max(most, len(list((run_dir / "segments").iterdir())))
        if number % 10 == 0:
            assert len(open_results(run_dir)) == number + 1
    assert most <= 11
    results = open_results(run_dir)
    assert sorted(results.trials["number"]) == list(range(100))
    store = open_store()
    assert store.numbers().tolist() == list(range(100))
    store.finish("complete")
    assert open_results(run_dir).trials["seed"].tolist() == [2**32 - 1 - number for number in range(100)]


def test_results_opened_before_a_merge_are_still_whole_after_it(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MERGE_AT", 9)
    store = open_store()
    for number in range(shelf.MERGE_AT - 1):
        store.append([packed(number)])
        store.seal()
    with h5py.File(run_dir / "results.h5") as file:
        store.append([packed(1000)])
        store.seal()
        assert file["trials/number"][()].tolist() == list(range(shelf.MERGE_AT - 1))


def test_results_opened_before_the_end_stay_whole_as_long_as_they_are_open(
    open_store: Maker, run_dir: Path, packed: Packed
) -> None:
    store = open_store()
    for number in range(5):
        store.append([packed(number)])
        store.seal()
    before = h5py.File(run_dir / "results.h5")
    store.append([packed(5)])
    store.seal()
    with h5py.File(run_dir / "results.h5") as file:
        (note,) = store.finish("complete")
        assert "segments stays for a program that still has an earlier results.h5 open" in note
        assert file["trials/number"][()].tolist() == list(range(6))
    with before:
        assert before["results/label"].asstr()[1:5].tolist() == ["t1é", "t2é", "t3é", "t4é"]
    assert packed_size(run_dir) == 6
    assert len(list((run_dir / "segments").iterdir())) == 6
    remove_packed(run_dir)
    assert {path.name for path in run_dir.iterdir()} == {"results.h5", "results.h5.sums"}
    assert len(open_results(run_dir)) == 6


def test_merged_segments_stay_as_long_as_somebody_shows_them(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MERGE_AT", 4)
    store = open_store()
    for number in range(3):
        store.append([packed(number)])
        store.seal()
    with h5py.File(run_dir / "results.h5") as file:
        for number in range(3, 9):
            store.append([packed(number)])
            store.seal()
        assert len(list((run_dir / "segments").iterdir())) > 4
        assert file["trials/number"][()].tolist() == [0, 1, 2]
    for number in (9, 10):
        store.append([packed(number)])
        store.seal()
    assert len(list((run_dir / "segments").iterdir())) <= 6
    store.finish("complete")
    assert {path.name for path in run_dir.iterdir()} == {"results.h5", "results.h5.sums"}


def test_results_whose_segments_are_gone_show_no_numbers_that_could_be_data(
    open_store: Maker, run_dir: Path, packed: Packed
) -> None:
    store = open_store()
    results = {"i": -3, "u": np.arange(3, dtype=np.uint8), "f": 0.5}
    store.append([packed(number, results=results) for number in range(5)])
    store.seal()
    with h5py.File(run_dir / "results.h5", locking=False) as file:
        store.finish("complete")
        assert (run_dir / "segments").is_dir(), "whoever has the file open is seen"
        remove_packed(run_dir)
        assert file["trials/number"][()].tolist() == [-1] * 5
        assert file["trials/state"][()].tolist() == [0] * 5
        assert file["results/i"][()].tolist() == [np.iinfo(np.int64).min] * 5
        assert (file["results/u"][()] == 255).all()
        assert np.isnan(file["results/f"][()]).all()
    assert open_results(run_dir)["i"].tolist() == [-3] * 5


def test_a_big_journal_is_sealed_in_pieces(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_CHUNK_RECORDS", 10)
    store = open_store()
    store.append([packed(number % 35) for number in range(70)])
    store.seal()
    assert len(list((run_dir / "segments").iterdir())) == 4
    assert open_results(run_dir).trials["number"].tolist() == list(range(35))


def test_sealing_nothing_writes_nothing(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(1)])
    store.seal()
    before = (run_dir / "results.h5").stat().st_ino, sorted(run_dir.rglob("*"))
    store.seal()
    assert before == ((run_dir / "results.h5").stat().st_ino, sorted(run_dir.rglob("*")))
    store.finish("stopped")
    assert open_results(run_dir).state == "stopped"


def test_appends_are_synced_in_groups(open_store: Maker, packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(writer, "SYNC_EVERY", 64)
    for number in range(64 * 2 + 1):
        store.append([packed(number)])
    assert len(synced) == 2
    store.sync()
    store.sync()
    assert len(synced) == 3


def test_a_damaged_journal_costs_only_the_damaged_record(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(number) for number in range(1, 5)])
    path = run_dir / "journal" / "0-000000.bin"
    ends = [end for end, _payload in read_frames(path)]
    data = bytearray(path.read_bytes())
    data[ends[1] + 40] ^= 0xFF
    path.write_bytes(data)
    store = open_store()
    assert store.numbers().tolist() == [1, 2, 4]
    assert len(store.warnings) == 1
    assert "0-000000.bin: damaged" in store.warnings[0]
    store.append([packed(3)])
    store.finish("complete")
    assert open_results(run_dir)["count"].tolist() == [1, 2, 3, 4]
    assert (run_dir / "journal" / "0-000000.bin.damaged").read_bytes() == data


def test_a_torn_tail_is_no_damage(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(1), packed(2)])
    path = run_dir / "journal" / "0-000000.bin"
    path.write_bytes(path.read_bytes()[:-5])
    store = open_store()
    assert store.numbers().tolist() == [1]
    store.append([packed(3)])
    assert store.numbers().tolist() == [1, 3]
    store.finish("complete")
    assert store.warnings == []
    assert {path.name for path in run_dir.iterdir()} == {"results.h5", "results.h5.sums"}


def test_damaged_segments_and_results_are_named_and_the_rest_is_used(
    open_store: Maker, run_dir: Path, packed: Packed
) -> None:
    store = open_store()
    for number in (1, 2):
        store.append([packed(number)])
        store.seal()
    (run_dir / "segments" / "0-000000.h5").write_bytes(b"\x89HDF\r\n\x1a\n not really")
    (run_dir / "results.h5").write_bytes(b"oops")
    store = open_store()
    assert [warning.split(":")[0] for warning in store.warnings] == [
        "results.h5 is damaged and was moved to results.h5.damaged",
        "a segment is damaged and was moved to 0-000000.h5.damaged",
    ]
    assert store.numbers().tolist() == [2]
    store.append([packed(1)])
    store.finish("complete")
    assert open_results(run_dir)["count"].tolist() == [1, 2]
    assert [path.name for path in (run_dir / "segments").iterdir()] == ["0-000000.h5.damaged"]


def test_two_writers(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    stores = [open_store(writer=index, writers=2) for index in range(2)]
    for number in (1, 2, 3, 4):
        stores[number % 2].append([packed(number)])
    for store in reversed(stores):
        store.seal()
    for number in range(11, 15):
        stores[number % 2].append([packed(number)])
    for store in reversed(stores):
        store.finish("complete")
    assert open_results(run_dir)["count"].tolist() == [1, 2, 3, 4, 11, 12, 13, 14]


def test_one_writer_takes_over_what_two_had(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    for index in range(2):
        store = open_store(writer=index, writers=2)
        store.append([packed(index + 1)])
        store.sync()
    store = open_store()
    assert store.numbers().tolist() == [1, 2]
    store.finish("complete")
    assert open_results(run_dir)["count"].tolist() == [1, 2]
    assert {path.name for path in run_dir.iterdir()} == {"results.h5", "results.h5.sums"}


def test_the_number_of_writers_may_change_between_starts(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that another segment has replaced is never given to a new one."""
    monkeypatch.setattr(shelf, "MERGE_AT", 6)
    monkeypatch.setattr(shelf, "_MERGE_AT_OF_SEVERAL", 6)
    count = 0
    used: set[str] = set()
    there: set[str] = set()

    def note_names() -> None:
        nonlocal there
        now = {path.name for path in (run_dir / "segments").iterdir()}
        assert not (now - there) & used
        used.update(now)
        there = now

    def start(writers: int, seals: int, state: str | None) -> None:
        nonlocal count
        first = open_store()
        assert first.numbers().tolist() == list(range(count))
        serial = first.share(writers)
        stores = [first]
        stores += [open_store(writer=index, writers=writers, first_serial=serial) for index in range(1, writers)]
        for _ in range(seals):
            for store in stores:
                store.append([packed(count)])
                count += 1
                store.seal()
                note_names()
            at_once(first.adopting([store.sealed() for store in stores[1:]]))
            assert {path.name for path in (run_dir / "journal").iterdir()} == {
                journal.path.name for journal in (store._journal for store in stores)
            }
        for store in reversed(stores):
            if state is None:
                store.close()
            else:
                store.finish(state, trials=count)  # type: ignore[arg-type]

    for writers, seals, state in (
        (3, 4, None),
        (1, 14, None),
        (3, 4, None),
        (2, 3, "stopped"),
        (4, 3, "complete"),
        (3, 3, "complete"),
        (1, 3, "complete"),
        (3, 2, "complete"),
    ):
        start(writers, seals, state)
    assert open_results(run_dir).numbers.tolist() == list(range(count))


def test_names_that_hdf5_forbids(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    names = ["a/b", ".", "..", "", "%", "%2F", "100%", "%b", "values", "é->ü"]
    store = open_store(parameters=names)
    for number in (1, 2):
        results: dict[str, Any] = {name: number for name in names if "/" not in name}
        store.append([packed(number, params=dict.fromkeys(names, number), results=results)])
        store.seal()
    for state in ("running", "complete"):
        if state == "complete":
            store.finish("complete")
        found = open_results(run_dir)
        assert found.names == tuple(name for name in names if "/" not in name)
        assert [column for column in found.trials if column.startswith("params_")] == [f"params_{n}" for n in names]
        assert all(found[name].tolist() == [1, 2] for name in found.names)
        assert found.trials["params_a/b"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1, 2.5, [1.0, 2.5]),
        (True, 3, [1, 3]),
        (True, 2.5, [1.0, 2.5]),
        (True, False, [True, False]),
        (1.5, np.array(2j), [1.5, 2j]),
        ("a", "long é", ["a", "long é"]),
        (1, "a", [1, "a"]),
        (np.arange(2), np.arange(2.0) * 1j, np.arange(2) * np.array([[1], [1j]])),
        (np.float32([1, 2]), np.float16([3, 4]), np.float32([[1, 2], [3, 4]])),
        (np.zeros((2, 0)), np.zeros((2, 0)), np.zeros((2, 2, 0))),
    ],
)
def test_segments_that_disagree(
    open_store: Maker, run_dir: Path, packed: Packed, first: Any, second: Any, expected: Any
) -> None:
    store = open_store()
    for number, value in ((1, first), (2, second)):
        store.append([packed(number, results={"r": value})])
        store.seal()
    for state in ("running", "complete"):
        if state == "complete":
            store.finish("complete")
        found = open_results(run_dir)["r"]
        if isinstance(found, list):
            assert found == expected
        else:
            np.testing.assert_array_equal(found, np.array(expected))
            assert found.dtype == np.array(expected).dtype or found.dtype.kind == "U"


def test_ragged_over_plain_segments_with_gaps(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    pieces: list[list[Any]] = [[np.arange(2), None, np.arange(2) + 5], [np.arange(3.0)], [None], [7], [np.ones((1, 2))]]
    number = 0
    for piece in pieces:
        for value in piece:
            store.append([packed(number, results={} if value is None else {"r": value})])
            number += 1
        store.seal()
    expected = [np.zeros(0) if value is None else value for piece in pieces for value in piece]
    for state in ("running", "complete"):
        if state == "complete":
            store.finish("complete")
        for found, value in zip(open_results(run_dir)["r"], expected, strict=True):
            assert found.shape == np.shape(value)
            np.testing.assert_array_equal(found, value)


def test_a_full_disk_is_named_and_nothing_is_lost(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    store.append([packed(1)])
    sync = os.fsync

    def full(fd: int) -> None:
        if ".tmp" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(fd)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"0-000000.h5: cannot write: No space left on device; make space"):
        store.seal()
    assert list((run_dir / "segments").iterdir()) == []
    monkeypatch.setattr(os, "fsync", sync)
    store.append([packed(2)])
    store.finish("complete")
    assert open_results(run_dir)["count"].tolist() == [1, 2]


@pytest.mark.parametrize("cut", [2, 3])
def test_rows_that_do_not_count_are_not_shown(
    open_store: Maker, run_dir: Path, packed: Packed, record: Callable[..., Any], cut: int
) -> None:
    """Two segments hold the same trials, as two writers may leave them behind."""
    store = open_store()
    store.append([packed(number) for number in (1, 2, 3, 4)])
    store.seal()
    repeated = [record(number) for number in (4, 6, 7, 3, 8)[cut - 2 :]]
    at_once(writing_segment(run_dir / "segments" / segment_name(1, 0), table(repeated).items()))
    at_once(
        writing_segment(run_dir / "segments" / segment_name(2, 0), table([record(8), record(9), record(2)]).items())
    )
    store = open_store()
    numbers = open_results(run_dir).trials["number"].tolist()
    assert numbers == sorted({1, 2, 3, 4, *(one.number for one in repeated), 8, 9})
    for state in ("running", "complete"):
        if state == "complete":
            store.finish("complete")
        results = open_results(run_dir)
        assert results["count"].tolist() == numbers
        assert results["label"].tolist() == [f"t{number}é" for number in numbers]
        for number, spikes in zip(numbers, results["spikes"], strict=True):
            assert spikes.tolist() == [number + index for index in range(number % 4)]


def test_packing_in_small_blocks_gives_the_same(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "_SLICE_BYTES", 16)
    monkeypatch.setattr(combine, "BLOCK_BYTES", 64)
    test_packing_shows_what_the_master_showed(open_store, run_dir, packed)


def test_finishing_goes_step_by_step(open_store: Maker, packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    store.append([packed(number) for number in range(5)])
    done: list[str] = []
    real = writer.writing_packed

    def writing(*arguments: Any) -> Iterator[None]:
        done.append("pack")
        yield from real(*arguments)

    monkeypatch.setattr(writer, "writing_packed", writing)
    store.finish("complete", lambda: done.append("step"))
    assert done.index("pack") > 0, "nothing was said while it sealed"
    assert done[-1] == "step", "nothing was said while it packed"
