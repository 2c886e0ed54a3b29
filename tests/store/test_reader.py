"""Reading results: tables, arrays, grids, and what is no result."""

from __future__ import annotations

import builtins
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mpiens.errors import StoreError
from mpiens.store import FileStore, open_results, shelf
from mpiens.store.checksums import seal
from mpiens.trial import TrialState

Maker = Callable[..., FileStore]
Packed = Callable[..., bytes]


def test_the_table(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(number) for number in (4, 0, 2)])
    store.seal()
    with open_results(run_dir) as results:
        assert (results.name, results.state, results.spec) == ("a", "running", "name: a  # é\n")
        assert results.provenance == {"mpiens": "0.1", "ranks": 4, "pi": 3.5}
        assert len(results) == 3
        trials = results.trials
    assert trials.columns.tolist() == [
        "number",
        "state",
        "params_x",
        "params_nmda.PYR->BC",
        "params_kind",
        "values_loss",
        "attempt",
        "group",
        "seed",
        "started_s",
        "elapsed_s",
        "error",
    ]
    assert trials["number"].tolist() == [0, 2, 4]
    assert trials["state"].tolist() == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials["params_kind"].tolist() == ["a", "a", "a"]
    assert np.isnan(trials["values_loss"][0])
    assert trials["error"][0] == "ValueError: Übel 0"
    assert results.trials is trials


def test_nested_parameters_are_decoded(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store(parameters=["p"])
    values: list[Any] = [[1, 2], {"a": None}, True, 3, "x"]
    store.append([packed(number, params={"p": value}) for number, value in enumerate(values)])
    store.seal()
    assert open_results(run_dir).trials["params_p"].tolist() == values


def test_results_by_name(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(number) for number in (2, 1, 0)])
    store.seal()
    results = open_results(run_dir)
    assert results.names == ("count", "trace", "spikes", "label", "mixed")
    assert list(results) == list(results.names)
    assert "trace" in results
    assert "loss" in results
    assert "nothing" not in results
    assert results["trace"].shape == (3, 3)
    assert [value.tolist() for value in results["spikes"]] == [[], [1], [2, 3]]
    assert results["label"].tolist() == ["", "t1é", "t2é"]
    assert results["mixed"] == [None, 1, "even"]
    assert results["loss"].tolist()[1:] == [36.0, 25.0]
    with pytest.raises(KeyError, match="no result 'tracee'; nearest: trace") as caught:
        results["tracee"]
    assert isinstance(caught.value, StoreError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_the_view_stays_what_it_was_while_the_run_goes_on(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(5), packed(1)])
    store.seal()
    results = open_results(run_dir)
    store.append([packed(3)])
    store.seal()
    assert results["count"].tolist()[0] == 1
    assert results.trials["number"].tolist() == [1, 5]
    store.finish("complete")
    assert len(results["spikes"]) == 2
    assert open_results(run_dir).trials["number"].tolist() == [1, 3, 5]


def test_another_process_reads_whole_rows_while_the_run_writes(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MERGE_AT", 6)
    program = """
import sys
import h5py
from mpiens.store import open_results
seen, state, reads = 0, "running", 0
while state != "complete":
    try:
        results = open_results(sys.argv[1])
        numbers, counts = results.trials["number"], results["count"] if "count" in results else []
    except Exception as error:
        print(type(error).__name__, error)
        raise
    with h5py.File(sys.argv[1] + "/results.h5") as file:
        assert file["trials/number"].shape == file["trials/seed"].shape
    assert len(numbers) >= seen and [c for c in counts if c == c] == [n for n in numbers if n % 5], (numbers, counts)
    seen, state, reads = len(numbers), results.state, reads + 1
print(seen, reads)
"""
    store = open_store()
    reader = subprocess.Popen(
        [sys.executable, "-c", program, str(run_dir)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for number in range(120):
        store.append([packed(number)])
        store.seal()
    store.finish("complete")
    output, _nothing = reader.communicate(timeout=120)
    assert reader.returncode == 0, output
    assert output.split()[0] == "120"


def test_the_best_trial(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    assert open_results(run_dir).best is None
    store.append([packed(number) for number in range(12)])
    store.seal()
    best = open_results(run_dir).best
    assert best is not None
    assert best["number"] == 7
    store = open_store(objectives={"loss": "maximize"})
    worst = open_results(run_dir).best
    assert worst is not None
    assert worst["number"] == 1
    open_store(objectives={"loss": "maximize", "cost": "minimize"})
    with pytest.raises(StoreError, match="2 objectives: loss, cost"):
        _ = open_results(run_dir).best


def test_a_grid_becomes_a_dataset(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store(parameters=["a", "b"])
    points = [(a, b) for a in (3, 1, 2) for b in ("u", "v")]
    for number, (a, b) in enumerate(points * 2):
        changes: dict[str, Any] = {
            "params": {"a": a, "b": b},
            "state": TrialState.COMPLETE,
            "values": {"loss": a * 10.0 + number},
            "results": {"trace": np.full(4, a), "spikes": np.arange(number)},
        }
        store.append([packed(number, **changes)])
        if number == 5:
            store.seal()
            single = open_results(run_dir).to_xarray()
        if number == 7:
            store.seal()
            with pytest.raises(StoreError, match=r"not a full grid: the point .* has 1 trials, another has 2"):
                open_results(run_dir).to_xarray()
    store.finish("complete")
    assert dict(single.sizes) == {"a": 3, "b": 2, "trace_dim0": 4}
    assert float(single["loss"].sel(a=2, b="v")) == 25.0
    both = open_results(run_dir).to_xarray()
    assert both["trace"].dims == ("a", "b", "repeat", "trace_dim0")
    assert both["number"].sel(a=3, b="v").values.tolist() == [1, 7]
    assert both["spikes"].sel(a=1, b="u", repeat=1).item().tolist() == list(range(8))
    assert both["state"].sel(a=1, b="u", repeat=0).item() == "COMPLETE"


def test_what_is_no_grid_is_refused(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    with pytest.raises(StoreError, match="not a full grid"):
        open_results(run_dir).to_xarray()
    store.append([packed(1), packed(2)])
    store.seal()
    with pytest.raises(StoreError, match="8 points, but only 2 trials"):
        open_results(run_dir).to_xarray()


def test_repr_is_for_people(open_store: Maker, run_dir: Path, packed: Packed) -> None:
    store = open_store()
    store.append([packed(0), packed(1), packed(2)])
    store.seal()
    assert repr(open_results(run_dir)) == (
        "<Results of 'a' (running): 3 trials (2 COMPLETE, 0 PRUNED, 1 FAIL); "
        "results: count, trace, spikes, label, mixed>"
    )


def test_what_cannot_be_opened_is_named(open_store: Maker, run_dir: Path, packed: Packed, tmp_path: Path) -> None:
    store = open_store()
    store.append([packed(1)])
    store.finish("complete")
    whole = (run_dir / "results.h5").read_bytes()
    with pytest.raises(StoreError, match=r"no such file or folder.*did you mean .*a\.run"):
        open_results(tmp_path / "b.run")
    with pytest.raises(StoreError, match=r"no results\.h5 in this folder"):
        open_results(tmp_path)
    path = tmp_path / "x.h5"
    for content in (b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"x\.h5: not a file of results; expected a run directory or its results"):
            open_results(path)
    for content in (whole[: len(whole) // 2], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"x\.h5: damaged: the checksums at its end are missing"):
            open_results(path)
    with h5py.File(path, "w") as file:
        file["a"] = 1
    with pytest.raises(StoreError, match="not of mpiens"):
        open_results(path)
    with h5py.File(path, "w") as file:
        file.attrs["mpiens_format"] = 2
    seal(path)
    with pytest.raises(StoreError, match="format 2, this mpiens reads format 1"):
        open_results(path)


def test_a_master_without_its_segments_is_refused(
    open_store: Maker, run_dir: Path, packed: Packed, tmp_path: Path
) -> None:
    store = open_store()
    store.append([packed(1)])
    store.seal()
    shutil.copy(run_dir / "results.h5", tmp_path / "alone.h5")
    with pytest.raises(StoreError, match=r"segments/0-000000\.h5, which is not there"):
        open_results(tmp_path / "alone.h5")


def test_a_missing_library_is_named(open_store: Maker, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store()
    results = open_results(run_dir)
    load = builtins.__import__
    for name in [name for name in sys.modules if name.split(".")[0] in ("pandas", "xarray")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(StoreError, match=r"pandas is not installed.*mpiens\[analysis\]"):
        _ = results.trials
    assert load is builtins.__import__


def test_what_trials_reported_is_there_from_journal_to_packed_file(
    open_store: Callable[..., FileStore], packed: Callable[..., bytes], record: Callable[..., Any], run_dir: Path
) -> None:
    store = open_store()
    for numbers in (range(6), range(6, 20), range(20, 26)):  # the first ones have reported nothing
        store.append([packed(number) for number in numbers])
        if numbers.stop < 26:
            store.seal()
    expected = [(n, step, value) for n in range(26) for step, value in record(n).reports]
    again = open_store().outcomes()
    assert [(n, *report) for n in range(26) for report in again.reported(n)] == expected
    store.seal()
    for state in ("running", "complete"):
        if state == "complete":
            store.finish("complete")
        found = open_results(run_dir)
        assert found.state == state
        assert list(found.reports().itertuples(index=False, name=None)) == expected
        assert found.reports(7)["value"].tolist() == [value for _, value in record(7).reports]
        assert len(found.trials) == 26
