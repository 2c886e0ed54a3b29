"""Trials of earlier runs and studies, and runs as studies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import xarray as xr

from project import completed, contents, mpiens, trials, write_project

MODEL = """
def simulate(trial):
    p = trial.params
    if trial.number == 3:
        raise RuntimeError("no")
    return {"loss": (p["x"] - 0.3) ** 2 + p["n"], "above": p["x"] - 0.9, "trace": [p["x"]] * p["n"], "label": p["kind"]}
"""
SPACE = {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 3}, "kind": ["a", "b"], "shape": [[1, 2], [3, 4]]}


def project(folder: Path, **search: Any) -> Path:
    settings = {
        "algorithm": "tpe",
        "trials": 14,
        "batch": 4,
        "objectives": {"loss": "minimize"},
        "constraints": ["above"],
    }
    folder.mkdir(exist_ok=True)
    return write_project(folder, MODEL, space=SPACE, search=settings | search, limits={"max_attempts": 1})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    completed(0, "run", project(folder))
    return folder / "small.run"


def test_a_study_holds_the_trials_of_its_run(earlier: Path, tmp_path: Path) -> None:
    out = tmp_path / "study.db"
    completed(0, "export", earlier, "--to", "optuna", out)
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{out}")
    table = trials(earlier)
    assert len(study.trials) == 14
    for number, trial in enumerate(study.trials):
        assert trial.state.name == ("FAIL" if number == 3 else "COMPLETE")
        assert trial.params["x"] == table["x"][number]
        assert trial.distributions["x"] == optuna.distributions.FloatDistribution(0.0, 1.0)
        if number != 3:
            assert trial.value == table["loss"][number]
            assert trial.user_attrs["label"] == trial.params["kind"]
            assert list(trial.constraints.values()) == [table["above"][number]]
    assert "RuntimeError: no" in study.trials[3].user_attrs["error"]
    refused = mpiens(0, "export", earlier, "--to", "optuna", out)
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr


@pytest.mark.parametrize("algorithm", ["tpe", "nsga2"])
def test_a_run_and_its_study_teach_the_same(algorithm: str, earlier: Path, tmp_path: Path) -> None:
    completed(0, "export", earlier, "--to", "optuna", tmp_path / "study.db")
    shutil.copytree(earlier, tmp_path / "before.run")
    options = {"population_size": 6} if algorithm == "nsga2" else {}
    names = ["before.run", "study.db"]
    for name in names:
        spec = project(tmp_path, algorithm=algorithm, options=options, **{"from": name})
        completed(0, "run", spec, "--output", tmp_path / f"{name}.out")
    one, other = (contents(tmp_path / f"{name}.out") for name in names)
    assert one == other
    completed(0, "run", project(tmp_path, algorithm=algorithm, options=options), "--output", tmp_path / "alone.out")
    assert contents(tmp_path / "alone.out") != one


def test_a_resumed_run_knows_the_same_after_the_earlier_one_is_gone(earlier: Path, tmp_path: Path) -> None:
    shutil.copytree(earlier, tmp_path / "before.run")
    whole = project(tmp_path, **{"from": ["before.run"]}, trials=12)
    completed(0, "run", whole, "--output", tmp_path / "whole.out")
    half = project(tmp_path, **{"from": ["before.run"]}, trials=4)
    completed(0, "run", half, "--output", tmp_path / "parts.out")
    shutil.rmtree(tmp_path / "before.run")
    completed(0, "resume", tmp_path / "parts.out", "--set", "search.trials=12")
    assert contents(tmp_path / "parts.out") == contents(tmp_path / "whole.out")


def test_tables_and_arrays(earlier: Path, tmp_path: Path) -> None:
    table = trials(earlier)
    completed(0, "export", earlier, "--to", "csv", tmp_path / "t.csv")
    frame = pd.read_csv(tmp_path / "t.csv")
    assert np.allclose(frame["params_x"], table["x"])
    assert frame["state"][3] == "FAIL"
    completed(0, "export", earlier, "--to", "npz", tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as arrays:
        assert np.allclose(arrays["params_x"], table["x"])
        ends = arrays["results_trace_offsets"]
        assert np.diff(ends).tolist() == [0 if i == 3 else n for i, n in enumerate(table["n"].tolist())]
    completed(0, "export", earlier, "--to", "netcdf", tmp_path / "t.nc")
    with xr.open_dataset(tmp_path / "t.nc", engine="h5netcdf") as arrays:
        assert np.allclose(arrays["params_x"], table["x"])
        assert arrays["params_x"].dims == ("trial",)
        assert arrays["state"].values[3] == "FAIL"
        ends = arrays["results_trace_offsets"].values
        assert np.diff(ends).tolist() == [0 if i == 3 else n for i, n in enumerate(table["n"].tolist())]
        assert len(arrays["results_trace_values"]) == ends[-1]


def test_a_grid_becomes_a_grid(tmp_path: Path) -> None:
    model = """
import numpy as np

def simulate(trial):
    x = trial.params["a.b"]
    return {"loss": x, "trace": np.arange(3.0) + x, "word": "w"}
"""
    search = {"algorithm": "grid", "objectives": {"loss": "minimize"}}
    spec = write_project(tmp_path, model, space={"a.b": [1.0, 2.0], "kind": ["p", "q"]}, search=search)
    completed(0, "run", spec)
    completed(0, "export", tmp_path / "small.run", "--to", "netcdf", tmp_path / "t.nc")
    with xr.open_dataset(tmp_path / "t.nc", engine="h5netcdf") as grid:
        assert grid["trace"].dims == ("a.b", "kind", "trace_dim0")
        assert grid["trace"].sel({"a.b": 2.0, "kind": "q"}).values.tolist() == [2.0, 3.0, 4.0]
        assert grid["word"].values.tolist() == [["w", "w"], ["w", "w"]]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"from": "nowhere.run"}, ["search.from", "no such run or study"]),
        ({"from": ["nowhere.run"]}, ["search.from.0", "no such run or study"]),
        (
            {"from": "before.run", "objectives": {"above": "minimize"}, "constraints": []},
            ["search.from", "the objectives of that run are loss, those of this search above; expected the same"],
        ),
        (
            {"from": "before.db", "objectives": {"speed": "minimize"}},
            ["search.from", "the objectives of the study are loss, those of this search speed; expected the same"],
        ),
        ({"from": "before.run", "objectives": {"speed": "minimize"}}, ["search.from", "that run has no 'speed'"]),
        ({"from": "before.run", "objectives": {"loss": "maximize"}}, ["search.from", "is to minimize 'loss'"]),
        ({"from": "broken.db"}, ["search.from", "cannot be read as an Optuna study"]),
        ({"from": "before.run", "algorithm": "random"}, ["search.from", "does not learn"]),
        ({"from": "before.run", "algorithm": "pymoo", "constraints": []}, ["search.from", "pymoo cannot take over"]),
    ],
)
def test_earlier_runs_that_cannot_be_used(
    search: dict[str, Any], words: list[str], earlier: Path, tmp_path: Path
) -> None:
    shutil.copytree(earlier, tmp_path / "before.run")
    (tmp_path / "broken.db").write_text("not a database")
    if search["from"] == "before.db":
        completed(0, "export", earlier, "--to", "optuna", tmp_path / "before.db")
    done = mpiens(0, "validate", project(tmp_path, **search))
    assert done.returncode == (2 if words else 0), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_what_a_sampler_was_told_is_kept_again_when_a_run_goes_on(earlier: Path, tmp_path: Path) -> None:
    spec, run_dir = project(tmp_path, **{"from": str(earlier), "trials": 4}), tmp_path / "small.run"
    completed(0, "run", spec)
    kept = (run_dir / "earlier.bin").read_bytes()
    (run_dir / "earlier.bin").unlink()
    completed(0, "resume", run_dir)
    assert (run_dir / "earlier.bin").read_bytes() == kept


def test_trials_of_another_space_are_counted_and_none_is_an_error(earlier: Path, tmp_path: Path) -> None:
    table = trials(earlier)
    inside = sum(x <= 0.5 for number, x in enumerate(table["x"]) if number != 3)
    assert 0 < inside < 13
    spec, here = project(tmp_path, **{"from": str(earlier), "trials": 4}), "space.x={low: 0.0, high: 0.5}"
    assert f"from      13 of 13 complete trials of {earlier} are told to tpe\n" in completed(0, "validate", spec)
    said = f"{inside} of 13 complete trials of {earlier} are told to tpe; the others are not in this space"
    assert f"from      {said}\n" in completed(0, "validate", spec, "--set", here)
    done = mpiens(0, "run", spec, "--set", here)
    assert done.returncode == 0
    assert f"warning: search.from: {said}\n" in done.stdout + done.stderr
    beyond = mpiens(0, "validate", spec, "--set", "space.x={low: 2.0, high: 3.0}")
    assert beyond.returncode == 2
    assert "search.from: " in beyond.stderr
    assert "none of its 13 complete trials is in this space" in beyond.stderr
    assert "x is outside in 13, such as 0." in beyond.stderr
    other = mpiens(
        0, "run", spec, "--set", "space={gain: {low: 0, high: 1}, delay: 2}", "--output", tmp_path / "new.run"
    )
    assert other.returncode == 2
    assert "its parameters are kind, n, shape, x; those here are gain, delay" in other.stderr
    assert not (tmp_path / "new.run").exists()
    fixed = completed(0, "validate", spec, "--set", "space.more=2")
    assert "from      13 of 13 " in fixed, "what has one value need not have been a parameter"
