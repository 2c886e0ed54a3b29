"""Simulators that report at intervals of simulated time."""

from __future__ import annotations

from pathlib import Path

import pytest

import mpiens
from project import completed, contents, write_project

RING = Path(__file__).resolve().parents[2] / "examples" / "ring" / "model.py"
MODEL = f"""
import importlib.util
from neuron import h
from mpiens import TrialPruned
from mpiens.neuron import psolve

spec = importlib.util.spec_from_file_location("ring", {str(RING)!r})
ring = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ring)

class Pieces:
    '''A ParallelContext that runs in pieces.'''

    def __init__(self, trial):
        self.pc, self.trial, self.end = h.ParallelContext(), trial, 0.0

    def __getattr__(self, name):
        return getattr(self.pc, name)

    def spike_record(self, gid, times, gids):
        self.times = times
        self.pc.spike_record(gid, times, gids)

    def set_maxstep(self, most):
        h.CVode().active(self.trial.params["is_variable"])
        self.pc.set_maxstep(most)

    def psolve(self, tstop):
        every = self.trial.params["every"]
        if every:
            psolve(self.trial, tstop, every, lambda t: self.trial.comm.allreduce(len(self.times)) / t)
        else:
            self.pc.psolve(tstop)
        self.end = h.t

def simulate(trial):
    pc, trial.seed = Pieces(trial), 1
    try:
        results = ring.run_ring(pc, trial)
    except TrialPruned:
        raise TrialPruned(dict(end=h.t)) from None
    finally:
        pc.gid_clear()
    return None if results is None else results | {{"end": pc.end}}
"""


POINTS = [
    # interval in ms, weight, variable time step
    (0.0, 0.01, False),
    (25.0, 0.01, False),
    (3.333, 0.01, False),
    (400.0, 0.01, False),
    (25.0, 0.5, False),
    (25.0, 0.01, False),
    (0.0, 0.01, True),
    (25.0, 0.01, True),
]


@pytest.mark.mpi
@pytest.mark.neuron
@pytest.mark.parametrize(("ranks", "size"), [(0, 1), (3, 2)])
def test_neuron_spikes_are_those_of_one_piece_and_a_pruned_trial_stops_early(
    ranks: int, size: int, tmp_path: Path
) -> None:
    every, weight, is_variable = (list(column) for column in zip(*POINTS, strict=True))
    spec = write_project(
        tmp_path,
        MODEL,
        space={"zip": {"every": every, "weight": weight, "delay": 1.5, "is_variable": is_variable}},
        search={"algorithm": "grid", "objectives": {"loss": "minimize"}, "pruner": {"name": "threshold", "upper": 1.0}},
        groups={"size": size},
    )
    completed(ranks, "run", spec)
    r = mpiens.open(tmp_path / "small.run")
    pruned = 4
    assert r.trials["state"].tolist() == ["PRUNED" if n == pruned else "COMPLETE" for n in range(len(POINTS))]
    assert r["end"].round(6).tolist() == [25 * len(r.reports(n)) if n == pruned else 250 for n in range(len(POINTS))]
    assert 0 < r["end"][pruned] < 200
    spikes = [(t.tobytes(), gid.tobytes()) for t, gid in zip(r["spikes_t"], r["spikes_gid"], strict=True)]
    assert len(r["spikes_t"][0]) > 100
    assert spikes[1] == spikes[2] == spikes[3] == spikes[5] == spikes[0]
    assert spikes[7] == spikes[6] != spikes[0]
    assert r.reports(5)["step"].tolist() == list(range(1, 11))
    assert r.reports(3)["value"].tolist() == pytest.approx([len(r["spikes_t"][0]) / 250])


@pytest.mark.mpi
@pytest.mark.neuron
def test_a_measure_without_a_value_fails_the_trial(tmp_path: Path) -> None:
    model = """
from mpiens.neuron import psolve

def simulate(trial):
    from neuron import h
    h.ParallelContext().set_maxstep(1)
    h.finitialize(-65)
    psolve(trial, 2.0, 1.0, lambda t: None)
    return {"loss": 1.0}
"""
    search = {"algorithm": "grid", "objectives": {"loss": "minimize"}, "pruner": "median"}
    spec = write_project(tmp_path, model, space={"x": [1, 2]}, search=search, groups={"size": 2})
    completed(3, "run", spec)
    errors = mpiens.open(tmp_path / "small.run").trials["error"]
    assert all("measure returned None on the group's root" in error for error in errors), errors.tolist()
    assert "complete already, all 2 trials (2 of them failed, " in completed(0, "resume", tmp_path / "small.run")


SCRIPT = """
import numpy
from mpiens import TrialPruned
from mpiens.netpyne import comm, sim, specs

cfg = specs.SimConfig({"duration": 100, "dt": 0.025, "verbose": False, "amp": 0.1, "recordStim": False})
cfg.update()
net = specs.NetParams()
net.cellParams["c"] = {"secs": {"soma": {"geom": {"diam": 18.8, "L": 18.8}, "mechs": {"hh": {}}}}}
net.popParams["p"] = {"cellType": "c", "numCells": 4}
net.stimSourceParams["i"] = {"type": "IClamp", "delay": 1, "dur": 1e9, "amp": cfg.amp}
net.stimTargetParams["t"] = {"source": "i", "conds": {"pop": "p"}, "sec": "soma", "loc": 0.5}
sim.create(net, cfg)
seen = []

def look(t):
    seen.append(t)
    spikes = sim.pc.allreduce(len(sim.simData["spkt"]), 1)
    comm.report(spikes, len(seen))
    if comm.should_prune():
        comm.send({"seen": len(seen)})
        raise TrialPruned({"spikes": spikes})

sim.runSimWithIntervalFunc(20, look)
comm.send({"loss": 1.0, "seen": len(seen)})
"""


@pytest.mark.neuron
def test_a_netpyne_script_reports_at_intervals(tmp_path: Path) -> None:
    (tmp_path / "init.py").write_text(SCRIPT)
    spec = write_project(
        tmp_path,
        space={"amp": [0.0, 0.3, 0.0]},
        model={"netpyne": "init.py"},
        search={"algorithm": "grid", "objectives": {"loss": "minimize"}, "pruner": {"name": "threshold", "upper": 5.0}},
    )
    completed(0, "run", spec)
    r = mpiens.open(tmp_path / "small.run")
    assert not r.trials["error"].any(), r.trials["error"].tolist()
    assert r.trials["state"].tolist() == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert r["seen"][0] == r["seen"][2] == 5 > r["seen"][1] > 0
    assert r["spikes"][1] == r.reports(1)["value"].iloc[-1] > 5
    completed(0, "run", spec, "--set", "model.isolation=process", "--output", tmp_path / "apart")
    assert contents(tmp_path / "apart") == contents(tmp_path / "small.run")
