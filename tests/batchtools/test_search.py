"""Projects in netpyne.batchtools' form: the same numbers as under it, and its `search`."""

from __future__ import annotations

import itertools
import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mpiens
from batchtools.oracle import environment
from launch import run_ranks
from mpiens.batch_search import domain, path_of, script_of, search, search_part
from mpiens.errors import UsageError

CFG = """
from netpyne.batchtools import specs

cfg = specs.SimConfig()
cfg.duration = 100
cfg.verbose = False
cfg.weights = {"E->I": 0.01, "in->E": 0.02}
cfg.counts = [5, 3]
cfg.pair = [1, 1]
cfg.update({"duration": 60, "weights": {"in->E": 0.03}}, force_match=True)
cfg.analysis["plotRaster"] = {"saveFig": True, "showFig": True}
"""
# The network is that of the benchmark, here in the idiom of older projects.
BENCHMARK = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "batchtools.py"))
NET_PARAMS = BENCHMARK["NET_PARAMS"].replace(
    "from cfg import cfg\n", "try:\n    from __main__ import cfg\nexcept ImportError:\n    from cfg import cfg\n"
)
INIT = """
import json
from netpyne.batchtools import specs, comm
from netpyne import sim
from cfg import cfg
from netParams import netParams

comm.initialize()
sim.createSimulateAnalyze(netParams=netParams, simConfig=cfg)
if comm.is_host():
    spikes = sorted(zip(sim.allSimData["spkt"], sim.allSimData["spkid"]))
    low, high = cfg.pair
    mappings = cfg.get_mappings()
    comm.send(json.dumps({"loss": abs(len(spikes) - 30.0) + low * high, "times": [t for t, _ in spikes],
        "ids": [int(i) for _, i in spikes], "duration": cfg.duration, "mapped": sorted(mappings)}))
    comm.close()
"""
BATCH = """
import sys
from mpiens import search

if __name__ == "__main__":
    study = search(job_type="sh", comm_type="socket", run_config={"command": "python init.py"},
        params={"weights.E->I": [0.005, 0.05], "counts.1": range(2, 4), "pair": [(1, 2), (3, 4)]},
        label="sweep", output_path="./batch", checkpoint_path="./ray", metric="loss", mode="min")
    print(len(study.data), flush=True)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, code in {"cfg": CFG, "netParams": NET_PARAMS, "init": INIT, "batch": BATCH}.items():
        (tmp_path / f"{name}.py").write_text(code)
    return tmp_path


def by_batchtools(project: Path, params: dict[str, Any], label: str) -> dict[str, Any]:
    folder = project / "oracle"
    folder.mkdir(exist_ok=True)
    command = [Path(__file__).with_name("oracle.py"), project / "init.py"]
    env = environment(params, folder, label) | {"MPLBACKEND": "Agg"}
    done = run_ranks(0, command, 120, env=env, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    sent: dict[str, Any] = json.loads((folder / f"{label}.out").read_text())
    return sent


@pytest.mark.neuron
@pytest.mark.mpi
def test_a_search_gives_the_numbers_of_netpyne_batchtools(project: Path) -> None:
    done = run_ranks(3, ["batch.py"], 240, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line == "8"] == ["8"] * 3, "every rank gets the table"
    table = pd_read(project / "sweep.csv")
    assert list(table.columns[:6]) == ["trial_label", "trial_path", "weights.E->I", "counts.1", "pair", "loss"]
    assert {"times", "ids", "duration", "mapped", "state", "error"} <= set(table.columns)
    assert table["trial_label"].tolist() == [f"sweep_{number}" for number in range(8)]
    results = mpiens.open(project / "batch" / "sweep")
    points = list(itertools.product([0.005, 0.05], [2, 3], [(1, 2), (3, 4)]))
    for number in (3, 6):
        weight, cells, pair = points[number]
        sent = by_batchtools(project, {"weights.E->I": weight, "counts.1": cells, "pair": pair}, f"sweep_{number}")
        assert len(sent["times"]) > 10
        assert results["times"][number].tolist() == sent["times"]
        assert results["ids"][number].tolist() == sent["ids"]
        assert results["loss"][number] == sent["loss"]
        assert results["duration"][number] == sent["duration"] == 60
        assert [str(name) for name in results["mapped"][number]] == sent["mapped"]
    assert (project / "batch" / "sweep" / "trials" / "3" / "trial_3_raster.png").stat().st_size > 1000
    assert sorted(path.name for path in project.glob("*.png")) == []


def pd_read(path: Path) -> Any:
    import pandas as pd

    return pd.read_csv(path, index_col=0)


ROSENBROCK = """
from netpyne import sim, specs
cfg = specs.SimConfig()
cfg.x = [1.0, 1.0]
cfg.kind = "a"
cfg.update_cfg()
x0, x1 = cfg.x
sim.send({"fx": 100 * (x1 - x0**2) ** 2 + (1 - x0) ** 2, "kind": cfg.kind})
"""
OPTIMIZE = """
from mpiens import search
params = {"x.0": [0, 3], "x.1": (0.0, 3.0), "kind": list("abc")}
same = dict(run_config={"command": "python rosenbrock.py"}, params=params, algorithm="optuna", metric="fx", mode="min",
    max_concurrent=4, label="optuna", output_path="out")
study = search(num_samples=20, **same)
data = study.data
assert data["x.0"].between(0, 3).all() and (data["x.0"] % 1 != 0).all() and set(data["kind"]) <= set("abc")
assert len(data) == 20 and data["fx"].min() < 5, data
again = search(num_samples=24, **same)
assert len(again.data) == 24 and again.data["fx"].tolist()[:20] == data["fx"].tolist()
"""


@pytest.mark.neuron
def test_an_optimizer_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "rosenbrock.py").write_text(ROSENBROCK)
    (tmp_path / "batch.py").write_text(OPTIMIZE)
    done = run_ranks(0, ["batch.py"], 240, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("values", "algorithm", "expected"),
    [
        ([0, 3], "grid", {"values": [0, 3]}),
        ([0, 3], "variant_generator", {"values": [0, 3]}),
        ([0, 3], "optuna", {"low": 0.0, "high": 3.0}),
        ((np.float64(0.5), 1), "random", {"low": 0.5, "high": 1.0}),
        ([0, 1, 2], "optuna", {"values": [0, 1, 2]}),
        (["a", "b"], "optuna", {"values": ["a", "b"]}),
        ([(0, 0), (1, 1), (2, 4)], "grid", {"values": [[0, 0], [1, 1], [2, 4]]}),
        ([(0, 0), (1, 1)], "optuna", {"values": [[0, 0], [1, 1]]}),
        (range(3), "grid", {"values": [0, 1, 2]}),
        (np.linspace(0, 1, 3), "grid", {"values": [0.0, 0.5, 1.0]}),
        (np.array([[0, 1], [1, 2]]), "grid", {"values": [[0, 1], [1, 2]]}),
        ({"grid_search": [1, 2]}, "grid", {"values": [1, 2]}),
        (5, "optuna", 5),
        ("text", "grid", "text"),
        (np.float64(0.25), "grid", 0.25),
        (SimpleNamespace(categories=[1, 2]), "optuna", {"values": [1, 2]}),
        (SimpleNamespace(lower=0.5, upper=2), "optuna", {"low": 0.5, "high": 2.0, "type": "float"}),
    ],
)
def test_what_parameters_mean(values: Any, algorithm: str, expected: Any) -> None:
    assert domain("a", values, algorithm) == expected


@pytest.mark.parametrize(
    ("values", "algorithm", "words"),
    [
        (range(3), "optuna", "a range gives the points of a grid; optuna takes a list"),
        (np.arange(3), "random", "a ndarray gives the points of a grid"),
        ({"grid_search": [1, 2]}, "optuna", "grid_search is for a grid"),
        (SimpleNamespace(lower=0, upper=2), "grid", "a grid cannot draw from a range"),
    ],
)
def test_what_parameters_cannot_mean(values: Any, algorithm: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        domain("a", values, algorithm)


def test_several_metrics_and_generations() -> None:
    part = search_part("nsga2", 5, {"population_size": 4}, None, True, ["f", "g"], ["min", "max"])
    objectives = {"f": "minimize", "g": "maximize"}
    assert part == {
        "algorithm": "nsga2",
        "objectives": objectives,
        "trials": 5,
        "options": {"population_size": 4},
    }
    assert search_part("optuna", 5, {}, 3, True, "f", "max") == {
        "algorithm": "tpe",
        "objectives": {"f": "maximize"},
        "batch": 3,
        "trials": 5,
    }
    assert "batch" not in search_part("optuna", 5, {}, 3, False, "f", "max")
    assert search_part("variant_generator", 2, {}, 3, True, None, "min") == {
        "algorithm": "grid",
        "objectives": {},
        "repeats": 2,
    }


def test_paths_may_be_tuples() -> None:
    assert [path_of(key) for key in ("nmda.PYR->BC", ("nmda", "PYR->BC"), ("xn", 0))] == [
        *["nmda.PYR->BC"] * 2,
        "xn.0",
    ]


def test_the_script_of_a_command() -> None:
    here = Path.cwd()
    assert script_of({"command": "python init.py"}) == (here / "init.py", 1)
    assert script_of({"command": "mpiexec -n 8 nrniv -python -mpi src/init.py"}) == (here / "src/init.py", 8)
    sge = "mpiexec -n $NSLOTS -hosts $(hostname) nrniv -python -mpi init.py"
    assert script_of({"command": sge, "cores": 4}) == (here / "init.py", 4)
    for command, words in [("", "needs a command"), ("./run.sh", "names no script"), ("python a.py 3", "arguments")]:
        with pytest.raises(UsageError, match=words):
            script_of({"command": command})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "cluster"}, "host must not be given"),
        ({"params": None}, "params is missing"),
        ({"algorithm": "optuna"}, "optuna needs a metric"),
        ({"metric": "fx", "mode": "least"}, "mode must be min or max"),
        ({"metric": ["a", "b"], "mode": ["min"]}, "mode must be min or max"),
        ({"params": {"x": {"y": 1}}}, "space.x"),
        ({"params": {"x": [math.nan]}}, "space.x"),
        ({"algorithm": "optunna", "metric": "fx"}, "unknown algorithm 'optunna'"),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"run_config": {"command": "python init.py"}, "params": {"x": [1]}} | changes
    with pytest.raises(UsageError, match=words):
        search(output_path=tmp_path, **arguments)
