"""Results by name from NetPyNE's data, seeds for each trial, and spikes as a table."""

from __future__ import annotations

import types
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

import mpiens
from mpiens.errors import MpiensError, TrialError
from mpiens.models.simulation_data import take_results
from mpiens.trial import trial_seed
from project import completed
from project import mpiens as command

INIT = """
import numpy as np
from netpyne.batchtools import specs, comm
from netpyne import sim

cfg = specs.SimConfig()
cfg.duration = 60
cfg.rate = 50
cfg.recordTraces = {"V_soma": {"sec": "soma", "loc": 0.5, "var": "v"}}
cfg.recordCells = [0, "B"]
cfg.recordStep = 0.5
cfg.seeds = {"conn": 7, "stim": 8, "loc": 9}
cfg.ends = "send"
cfg.update()

netParams = specs.NetParams()
for pop, cells in (("A", 3), ("B", 2)):
    netParams.popParams[pop] = {"cellType": "A", "numCells": cells}
netParams.cellParams["A"] = {"conds": {"cellType": "A"}, "secs": {"soma": {"geom": {"diam": 10, "L": 10},
    "mechs": {"hh": {}}}}}
netParams.synMechParams["e"] = {"mod": "ExpSyn", "tau": 2, "e": 0}
netParams.stimSourceParams["s"] = {"type": "NetStim", "rate": cfg.rate, "noise": 1.0}
netParams.stimTargetParams["t"] = {"source": "s", "conds": {"pop": "A"}, "weight": 0.05, "delay": 1, "synMech": "e"}
netParams.connParams["A->B"] = {"preConds": {"pop": "A"}, "postConds": {"pop": "B"}, "weight": 0.05, "delay": 2,
    "synMech": "e"}
sim.create(netParams, cfg)
# NetPyNE's own recording fails with this NEURON, its gathering does not: each rank has the part of its cells.
sim.simData["LFP"] = sum(np.outer([0, 1, 2], [1, 10]) * (cell.gid + 1) for cell in sim.net.cells)
sim.simulate()
rates = sim.analysis.popAvgRates(show=False)
if cfg.ends == "send":
    comm.send({"own": dict(rates) if rates else {}, "seeds": dict(cfg.seeds)})
elif cfg.ends == "clear":
    sim.clearAll()
elif cfg.ends == "exit":
    raise SystemExit
"""
PARTS = ["spikes", "rates", "traces", "lfp", "avgRate"]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "init.py"
    path.write_text(INIT)
    return path


@pytest.mark.neuron
@pytest.mark.mpi
def test_parts_do_not_depend_on_ranks_and_agree_with_netpyne(script, run_group):
    trials = [{"rate": 80}, {"rate": 80, "ends": "exit"}]
    serial = run_group("netpyne", script, trials, results=PARTS)
    assert serial[0]["errors"] == [""]
    results = serial[0]["results"]
    t_ms, gid = (np.array([float.fromhex(t) for t in results["spikes.t_ms"]]), np.array(results["spikes.gid"]))
    assert len(t_ms) == len(gid) > 10
    assert np.all(np.diff(t_ms) >= 0)
    assert results["spikes.pops"] == ["A", "B"]
    assert results["spikes.pop_of_gid"] == [0, 0, 0, 1, 1]
    assert results["lfp"] == [[0, 0], [15, 150], [30, 300]]
    for pop, cells in (("A", [0, 1, 2]), ("B", [3, 4])):
        rate = float.fromhex(results[f"rates.{pop}"])
        assert rate == pytest.approx(np.isin(gid, cells).sum() / len(cells) / 0.06)
        assert rate == pytest.approx(float.fromhex(results[f"own.{pop}"]))
    assert results["traces.V_soma.gid"] == [0, 3, 4]
    assert np.shape(results["traces.V_soma"]) == (3, len(results["traces.t_ms"]))
    assert [row[0] for row in results["traces.V_soma"]] == [-65.0] * 3
    assert [results[f"seeds.{name}"] for name in ("conn", "stim", "loc")] == [7, 8, 9], "the script's own"
    named = {name for name in results if name.partition(".")[0] not in ("own", "seeds")}
    assert serial[1]["errors"] == [""], "a script that sends nothing and exits"
    assert {name: serial[1]["results"][name] for name in named} == {name: results[name] for name in named}
    parallel = run_group("netpyne", script, trials, ranks=2, group_size=2, results=PARTS)
    assert {name: parallel[0]["results"][name] for name in named} == {name: results[name] for name in named}


@pytest.mark.neuron
def test_what_is_not_there_is_named(script, run_group):
    entries = run_group("netpyne", script, [{"ends": "clear"}, {}], results=["spkts"])
    assert "call sim.gatherData() after sim.runSim()" in entries[0]["errors"][0]
    assert "no part 'spkts' in sim.allSimData; did you mean 'spkt'?" in entries[1]["errors"][0]


def test_parts_of_strange_data():
    sim = types.SimpleNamespace(cfg=types.SimpleNamespace(recordTraces={"v": {}}, duration=10), net=None)
    for data, words in [
        ({"v": {"cell_1": [1.0], "cell_0": [1.0, 2.0]}}, "differ in length"),
        ({"v": {}}, "nothing was recorded for 'v'"),
        ({}, "gathered no data"),
    ]:
        sim.allSimData = data
        with pytest.raises(TrialError, match=words):
            take_results(["traces"], sim)
    sim.allSimData = {"spkt": [], "spkid": [], "v": {"cell_10": [1.0], "cell_9": [2.0]}}
    assert take_results(["traces"], sim)["traces.v"].tolist() == [[2.0], [1.0]]
    assert len(take_results(["spikes"], sim)["spikes.t_ms"]) == 0
    # Not recorded for real: NetPyNE 1.1 records none with NEURON 9.
    with pytest.raises(TrialError, match="recordLFP"):
        take_results(["lfp"], sim)
    sim.allSimData = {"LFP": [[1, 2], [3, 4], [5, 6]], "note": "x"}
    assert take_results(["lfp", "note"], sim)["lfp"].shape == (3, 2)
    assert take_results(["note"], sim) == {"note": "x"}


@pytest.mark.neuron
def test_seeds_of_each_trial(script, run_group):
    trials = [{}, {}, {"seeds.stim": 5}]
    varied = run_group("netpyne", script, trials, results=["spikes"], seeds=True)
    for number, stim in ((0, trial_seed(1, 0)), (1, trial_seed(1, 1)), (2, 5)):
        results = varied[number]["results"]
        assert results["seeds.conn"] == results["seeds.loc"] == trial_seed(1, number)
        assert results["seeds.stim"] == stim
    assert varied[0]["results"]["spikes.t_ms"] != varied[1]["results"]["spikes.t_ms"]


@pytest.mark.neuron
def test_from_the_spec_to_the_table(script, tmp_path):
    spec = {
        "name": "parts",
        "seed": 3,
        "model": {
            "netpyne": "init.py",
            "results": ["spikes", "rates"],
            "seeds": "per_trial",
            "fixed": {"ends": "none"},
        },
        "space": {"rate": [40, 90]},
        "search": {"algorithm": "grid"},
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    completed(0, "run", path, "--progress", "off")
    results = mpiens.open(tmp_path / "parts.run")
    table = results.spikes(1)
    assert list(table.columns) == ["t_ms", "gid", "pop"]
    assert len(table) == len(results["spikes.t_ms"][1]) > 5
    assert set(table["pop"]) == {"A", "B"}
    assert set(table[table["pop"] == "B"]["gid"]) == {3, 4}
    with pytest.raises(MpiensError, match="no trial 2"):
        results.spikes(2)
    axes = mpiens.plot_raster(table)
    assert sum(len(line.get_xdata()) for line in axes.lines) == len(table)
    axes.figure.savefig(tmp_path / "raster.png")
    assert (tmp_path / "raster.png").stat().st_size > 1000
    with h5py.File(tmp_path / "parts.run" / "results.h5") as file:
        assert file["trials/seed"][()].tolist() == [trial_seed(3, 0), trial_seed(3, 1)]
    path.write_text(yaml.safe_dump(spec | {"model": {"python": "m.py:f", "results": ["spikes"]}}))
    assert "results is for a NetPyNE script only" in command(0, "validate", path).stderr


def test_a_table_of_what_scripts_send_themselves():
    from mpiens.store.spikes import has_spikes, spike_table

    data = {"spkt": np.array([3.0, 1.0]), "spkid": np.array([0.0, 2.0])}
    assert has_spikes(data)
    table = spike_table(pd, data, data.get)
    assert table.to_dict("list") == {"t_ms": [1.0, 3.0], "gid": [2, 0]}
    assert mpiens.plot_raster(table).get_xlabel() == "time (ms)"
    nothing = {"spikes.t_ms": None, "spikes.gid": None, "spikes.pop_of_gid": None, "spikes.pops": None}
    assert len(spike_table(pd, nothing, nothing.get)) == 0
