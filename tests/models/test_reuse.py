"""Networks that stay from trial to trial: the same results as networks that are built anew, to the last bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from mpiens.models.differences import NotPlain, changes, is_mentioned, plain
from project import completed, trials, write_project

SCRIPT = """
from netpyne import specs, sim
from netpyne.batchtools import comm

cfg = specs.SimConfig()
cfg.how, cfg.weight, cfg.pair, cfg.rate, cfg.amp, cfg.pop_hz, cfg.start = "plain", 0.003, 0.002, 60, 0.1, 50, 5
cfg.delay, cfg.cells, cfg.input, cfg.input_delay, cfg.unused, cfg.duration = 1.5, 4, 0.01, 1.0, 1, 40
cfg.random123, cfg.counts = True, "no"
cfg.recordTraces, cfg.recordCells = {"v": {"sec": "soma", "loc": 0.5, "var": "v"}}, [0, 3]
cfg.update()

net = specs.NetParams()
net.unused = cfg.unused
net.scaleConnWeight = 0.7
net.popParams["A"] = {"cellType": "A", "numCells": cfg.cells}
net.popParams["N"] = {"cellModel": "NetStim", "numCells": 3, "rate": cfg.pop_hz, "noise": 0.3}
net.popParams["H"] = {"cellType": "H", "numCells": 1}
net.importCellParams(label="H", conds={"cellType": "H"}, fileName="cell.hoc", cellName="FromFile")
net.cellParams["A"] = {"conds": {"cellType": "A"}, "secs": {
    "soma": {"geom": {"diam": 18, "L": 18}, "mechs": {"hh": {}}},
    "dend": {"geom": {"diam": 2, "L": 80, "nseg": 3}, "topol": {"parentSec": "soma", "parentX": 1, "childX": 0},
        "mechs": {"pas": {"g": "0.0001*uniform(1, 2)", "e": -65}}, "weightNorm": [1.0, 1.3, 1.7]}}}
net.synMechParams["fast"] = {"mod": "ExpSyn", "tau": 2, "e": 0}
net.synMechParams["slow"] = {"mod": "Exp2Syn", "tau1": 1, "tau2": 8, "e": 0}
net.stimSourceParams["s"] = {"type": "NetStim", "rate": cfg.rate, "noise": 0.5, "start": cfg.start}
net.stimSourceParams["i"] = {"type": "IClamp", "del": 10, "dur": 20, "amp": cfg.amp}
net.stimTargetParams["s->A"] = {"source": "s", "conds": {"pop": "A"}, "sec": "soma", "weight": cfg.input,
    "delay": cfg.input_delay, "synMech": "fast"}
net.stimTargetParams["i->A"] = {"source": "i", "conds": {"pop": ["A", "H"], "cellList": [0, -1]},
    "sec": "soma", "loc": 0.5}
net.connParams["A->A"] = {"preConds": {"pop": "A"}, "postConds": {"pop": "A"}, "probability": 0.7,
    "weight": cfg.weight, "synMech": "fast", "delay": "1 + uniform(0, 3)"}
net.connParams["N->A"] = {"preConds": {"pop": "N"}, "postConds": {"pop": "A"}, "weight": cfg.pair,
    "synMech": ["fast", "slow"], "synMechWeightFactor": [0.3, 0.9], "sec": "dend", "synsPerConn": 2,
    "delay": cfg.delay}

if cfg.how == "raises early":
    raise ValueError("early")
if cfg.how == "two":
    sim.create(net, cfg)
if cfg.how in ("steps", "meddles", "meddles early"):
    sim.initialize(net, cfg)
    sim.net.createPops()
    if cfg.how == "meddles early" and cfg.weight > 0.005:
        sim.net.params.cellParams["A"]["secs"]["soma"]["mechs"]["hh"]["gnabar"] = 0.2
    sim.net.createCells()
    if cfg.how == "meddles":
        for cell in (cell for cell in sim.net.cells if cell.tags.get("cellType") == "A"):
            cell.secs["soma"]["hObj"](0.5).hh.gnabar *= cfg.weight / 0.003
    sim.net.connectCells()
    sim.net.addStims()
    sim.setupRecording()
else:
    sim.create(net, cfg)
cells = [cell for cell in sim.net.cells if cell.tags.get("cellType") == "A"]
# What the script changes after the building must not be there in the next trial.
cells[0].secs["soma"]["hObj"](0.5).hh.gl *= 1 + cfg.weight
cells[0].conns[0]["hObj"].weight[0] += cfg.input
if cfg.how == "plays":
    played, times = sim.h.Vector([0.2, 0]), sim.h.Vector([0, 20])
    clamp = next(stim for stim in cells[0].stims if stim["type"] == "IClamp")["hObj"]
    played.play(clamp._ref_amp, times)
    cells[0].secs["soma"]["geom"].setdefault("played", []).append((played, times))
if cfg.counts == "yes":
    count = cells[0].secs["soma"]["geom"].setdefault("count", [0])
    count[0] += 1
    cells[0].secs["soma"]["hObj"](0.5).hh.gl *= count[0]
if cfg.how == "modifies":
    sim.net.modifyConns({"conds": {"synMech": "fast"}, "weight": 0.001})
# Only NetPyNE's records of the cells keep this from trial to trial.
built_by = cells[0].secs["soma"]["geom"].setdefault("built_by", cfg.simLabel)
sim.simulate()
if cfg.how == "raises late" and comm.rank == sim.nhosts - 1:
    raise ValueError("late")
if cfg.how == "clears":
    spikes = list(sim.allSimData["spkt"])
    sim.clearAll()
    comm.send({"spkt": spikes})
elif comm.is_host():
    first = sim.net.allCells[0]
    conns = sorted((conn["preGid"], conn["weight"]) for conn in first["conns"] if conn["preGid"] != "NetStim")
    data = sim.allSimData
    comm.send({"spkt": data["spkt"], "spkid": data["spkid"], "v": data["v"]["cell_0"], "built_by": built_by,
        "weights": [weight for _, weight in conns], "rates": [stim["rate"] for stim in first["stims"]
        if "rate" in stim], "pop_hz": sim.net.allPops["N"]["tags"]["params"]["rate"]})
"""

CELL = """
begintemplate FromFile
public soma
create soma
proc init() { soma { L = 15 diam = 15 insert hh } }
endtemplate FromFile
"""

PLAIN: list[dict[str, Any]] = [
    {},
    {"weight": 0.006},
    {"weight": 0.0045, "pair": 0.004, "input": 0.02, "unused": 2},
    {"rate": 110, "start": 1, "amp": 0.6, "input_delay": 2.5, "pop_hz": 90},
    {"weight": 0.006, "pair": 0.001, "duration": 30},
    {"delay": 2.5, "weight": 0.004},
    {"cells": 5, "weight": 0.004},
    {"how": "raises early"},
    {"weight": 0.002, "rate": 90},
    {"how": "raises late"},
    {"weight": 0.005, "how": "steps"},
    {"weight": 0.001, "pair": 0.003, "how": "steps"},
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "init.py"
    path.write_text(SCRIPT)
    path.with_name("cell.hoc").write_text(CELL)
    return path


@pytest.mark.neuron
@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 2])
def test_a_kept_network_gives_what_a_new_one_gives(script: Path, run_group: Any, ranks: int) -> None:
    size = max(1, ranks)
    numbers = list(range(len(PLAIN)))
    orders = [numbers, random.Random(3).sample(numbers, len(numbers)), numbers[::-1]][: 2 if ranks else 3]
    built = run_group("netpyne", script, PLAIN, ranks=ranks, group_size=size)
    points = [(100 * order + number, PLAIN[number]) for order, chosen in enumerate(orders) for number in chosen]
    kept = run_group("netpyne", script, points, ranks=ranks, group_size=size, reuse=True)
    taken_over = 0
    for entry in kept:
        expected, number = built[entry["number"] % 100], entry["number"]
        assert entry["errors"] == expected["errors"], PLAIN[number % 100]
        if expected["results"]:
            assert expected["results"].pop("built_by", "") in ("", f"trial_{number % 100}")
            taken_over += entry["results"].pop("built_by") != f"trial_{number}"
        assert entry["results"] == expected["results"], (number, PLAIN[number % 100])
    assert len({str(entry["results"].get("spkt")) for entry in built}) > 8
    assert taken_over >= 2 * len(orders), taken_over


WAYS = [
    *("plain", "plain", "plain", "plain", "steps", "steps", "steps", "meddles", "modifies", "plain", "clears"),
    *("plain", "plain", "two", "plain", "plain", "plays", "plain", "plain", "plain", "plain", "plain"),
]


@pytest.mark.neuron
def test_what_is_built_anew_and_why(tmp_path: Path) -> None:
    columns = {
        "how": WAYS,
        "weight": [0.002 + 0.0005 * index for index in range(len(WAYS))],
        "counts": ["no"] * 19 + ["yes", "yes", "no"],
    }
    found = {}
    for reuse in (False, True):
        folder = tmp_path / str(reuse)
        folder.mkdir()
        spec = write_project(
            folder, model={"netpyne": "init.py", "reuse": reuse}, space={"zip": columns}, search={"algorithm": "grid"}
        )
        (folder / "init.py").write_text(SCRIPT)
        (folder / "cell.hoc").write_text(CELL)
        completed(0, "run", spec)
        found[reuse] = trials(folder / "small.run")
    assert not any(found[True]["error"])
    assert found[True]["attempt"].tolist() == [1] * 7 + [2] + [1] * 14
    for name in ("spkt", "spkid", "v", "weights"):
        for built, kept in zip(found[False][name], found[True][name], strict=True):
            assert built.tobytes() == kept.tobytes(), name
    made = [int(name.removeprefix(b"trial_") or -1) for name in found[True]["built_by"]]
    # In trials 1 and 2, and in 4 and 5, something was new: they were run twice, the second time with a new network.
    assert made == [0, 1, 2, 2, 4, 5, 5, 7, 8, 9, -1, 11, 11, 13, 14, 14, 16, 17, 17, 19, 20, 21]
    log = (tmp_path / "True" / "small.run" / "run.log").read_text().splitlines()
    anew = "model.reuse: the network is built anew: "
    assert [line for line in log if "model.reuse: " in line] == [
        f"[trial 7 rank 0] {anew}the script changes the network between the steps of building it",
        f"[trial 8 rank 0] {anew}the script calls modifyConns",
        f"[trial 10 rank 0] {anew}the script calls clearAll",
        f"[trial 13 rank 0] {anew}the script builds several networks in one trial",
        f"[trial 16 rank 0] {anew}what the script makes stays when it has ended, or it has changed the network's form",
        "[trial 20 rank 0] model.reuse: networks are built anew in all further trials: a kept one ends otherwise than "
        "a new one, with counts: yes",
    ]


@pytest.mark.neuron
def test_a_change_before_there_are_cells_is_seen(script: Path, run_group: Any) -> None:
    weights = [0.003, 0.004, 0.0045, 0.0035, 0.009, 0.009]
    found = run_group("netpyne", script, [{"how": "meddles early", "weight": weight} for weight in weights], reuse=True)
    made = [entry["results"].get("built_by") for entry in found]
    assert made == ["trial_0", "trial_1", "trial_2", "trial_2", None, "trial_5"]
    assert "changes the network between the steps of building it" in found[4]["errors"][0]


def test_differences() -> None:
    old = plain({"a": 1, "b": {"c": [1.0, "x"], "d": None}})
    assert list(changes(old, plain({"a": 1.0, "b": {"c": [1.0, "y"], "d": None}}))) == [("b", "c", "1")]
    assert list(changes(old, plain({"a": True, "b": {"d": None, "c": [1.0, "x"]}}))) == [("a",), ("b",)]
    assert list(changes([float("nan"), 0.0], [float("nan"), -0.0])) == [("1",)]
    with pytest.raises(NotPlain, match=r"^b\.1$"):
        plain({"b": [1, print]})
    assert is_mentioned("w", {"x": ["2*w + 1"]})
    assert not is_mentioned("w", {"w": ["2*w1"]})
