"""A trial in a rank must not depend on trials before it, however those have ended and whatever they have left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from project import completed, trials, write_project

pytestmark = [pytest.mark.neuron, pytest.mark.mpi]

RUN = "small.run"

SCRIPT = """
import os
import numpy as np
from neuron import h
from netpyne import specs, sim
from netpyne.batchtools import comm
from helper import notes

cfg = specs.SimConfig()
cfg.how, cfg.weight = "plain", 0.01
cfg.duration, cfg.verbose, cfg.recordTraces = 60, False, {"v": {"sec": "soma", "loc": 0.5, "var": "v"}}
cfg.hParams, cfg.recordCells, cfg.recordStep = {"v_init": -65}, [0], 0.1
cfg.update()

# What the surroundings look like before the network is built. Each must be as in a process of its own.
seen = {"celsius": h.celsius, "table": h.usetable_hh, "nai": h.nai0_na_ion, "atol": h.CVode().atol(), "dt": h.dt,
    "cvode": float(h.CVode().active()), "threads": float(h.ParallelContext().nthread()), "notes": len(notes),
    "fast": float(h.CVode().use_fast_imem()), "sections": len(list(h.allsec())), "nets": h.List("NetCon").count(),
    "environ": "LEFT" in os.environ, "under": np.geterr()["under"], "leak": hasattr(sim, "left"),
    "draw": np.random.random() < 0 or cfg.weight, "index": h.Random().Random123_globalindex()}
notes.append(1)

net = specs.NetParams()
net.popParams["A"] = {"cellType": "A", "numCells": 4}
net.cellParams["A"] = {"conds": {"cellType": "A"}, "secs": {"soma": {"geom": {"diam": 18, "L": 18},
    "mechs": {"hh": {}}}}}
net.synMechParams["e"] = {"mod": "ExpSyn", "tau": 2, "e": 0}
net.stimSourceParams["s"] = {"type": "NetStim", "rate": 80, "noise": 0.5}
net.stimTargetParams["t"] = {"source": "s", "conds": {"pop": "A"}, "weight": cfg.weight, "delay": 1, "synMech": "e"}
net.connParams["A->A"] = {"preConds": {"pop": "A"}, "postConds": {"pop": "A"}, "weight": 0.002, "synMech": "e",
    "delay": "1 + uniform(0, 3)"}

if cfg.how == "raises early":
    raise ValueError("early")
sim.create(net, cfg)
if cfg.how == "raises late":
    raise ValueError("late")
if cfg.how == "messy":
    h.celsius, h.usetable_hh, h.nai0_na_ion, h.dt = 30, 0, 20, 0.1
    h.CVode().atol(1e-2)
    h.CVode().active(True)
    h.CVode().use_fast_imem(True)
    h.Random().Random123_globalindex(7)
    os.environ["LEFT"] = "1"
    np.seterr(under="raise")
    sim.left = h.Section(name="left")
    notes.left = [h.Section(name="kept"), h.NetStim(), h.FInitializeHandler("celsius = 11")]
    h("left_variable = 3")
if cfg.how == "hangs":
    h.CVode().active(True)
    h.celsius = 22
    sim.setupRecording()
    handler = h.FInitializeHandler("celsius = 12")
    while True:
        pass
sim.simulate()
if comm.is_host():
    comm.send(seen | {"loss": 0.0, "spkt": sim.allSimData["spkt"], "v": sim.allSimData["v"]["cell_0"]})
"""

HELPER = """
class Notes(list):
    pass

notes = Notes()
"""

POINTS = [
    ("plain", 0.01), ("raises early", 0.02), ("plain", 0.02), ("raises late", 0.02), ("plain", 0.03), ("messy", 0.02),
    ("plain", 0.04), ("hangs", 0.02), ("plain", 0.05), ("messy", 0.03), ("messy", 0.05),
]  # fmt: skip

LIMIT_S = 4

FAILURES = {
    "raises early": "init.py:34: ValueError: early",
    "raises late": "init.py:37: ValueError: late",
    "hangs": f"timed out after {LIMIT_S} s (limits.trial_timeout)",
}


def run(
    folder: Path, points: list[tuple[str, float]], ranks: int = 0, **model: Any
) -> dict[tuple[str, float], dict[str, bytes]]:
    """What each point gave; with `ranks`, on groups of two."""
    folder.mkdir()
    columns = {"how": [how for how, _ in points], "weight": [weight for _, weight in points]}
    spec = write_project(
        folder,
        model={"netpyne": "init.py", **model},
        space={"zip": columns},
        limits={"max_attempts": 1, "trial_timeout": LIMIT_S},
        groups={"size": 2 if ranks else 1},
    )
    (folder / "init.py").write_text(SCRIPT)
    (folder / "helper.py").write_text(HELPER)
    completed(ranks, "run", spec)
    found = trials(folder / RUN)
    results = {name: column for name, column in found.items() if name in RESULTS}
    assert results.keys() == set(RESULTS)
    return {
        point: {name: exact(column[number]) for name, column in results.items()} | {"error": found["error"][number]}
        for number, point in enumerate(points)
    }


def exact(value: Any) -> bytes:
    """All of a result's bits; whole numbers as numbers, which they become in a column where some trials have failed."""
    array = np.asarray(value)
    return (array.astype(float) if array.dtype.kind in "biu" else array).tobytes()


RESULTS = (
    *("spkt", "v", "celsius", "table", "nai", "atol", "dt", "cvode", "threads", "notes", "fast", "sections", "nets"),
    *("environ", "under", "leak", "index"),
)


@pytest.mark.parametrize("ranks", [0, 3])
def test_netpyne_trials_in_any_order_after_failures_and_time_outs(tmp_path: Path, ranks: int) -> None:
    if not ranks:
        alone = run(
            tmp_path / "alone", [point for point in POINTS if point[0] in ("plain", "messy")], isolation="process"
        )
        assert {found["error"] for found in alone.values()} == {b""}
        assert len({found["spkt"] for (how, _), found in alone.items() if how == "plain"}) == 5
    for name, points in (("forward", POINTS), ("backward", POINTS[::-1])):
        together = run(tmp_path / name, points, ranks)
        errors = {how: found["error"].decode() for (how, _), found in together.items() if found["error"]}
        assert errors == FAILURES
        if ranks and name == "forward":
            # A group of two has no process for each trial to compare with. In the other order the last ones come first.
            alone = together
        for point, found in alone.items():
            assert together[point] == found, f"{name}: {point}"
        log = (tmp_path / name / RUN / "run.log").read_text()
        assert log.count("this trial has made variables in hoc, which last: left_variable; ") == max(1, ranks - 1)


LEAVING = """
from neuron import h

kept = []

def simulate(trial):
    kept.append(h.Section(name=f"s{trial.number}"))
    if trial.params["x"] == 1:
        h.celsius = 30
    return {"loss": 0.0}
"""


def test_python_models_are_told_what_they_leave_in_neuron(tmp_path: Path) -> None:
    completed(0, "run", write_project(tmp_path, LEAVING, space={"x": [0, 1, 2, 3]}))
    log = (tmp_path / RUN / "run.log").read_text().splitlines()
    assert log == [
        "[trial 1 rank 0] this trial has left 2 sections in NEURON, 1 more than the one before; a model must let go of "
        "what it has built",
        "[trial 1 rank 0] this trial has left other values in NEURON than the one before: celsius; a trial that does "
        "not set them depends on those before it",
    ]
