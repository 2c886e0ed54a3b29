"""Python models, and NEURON on sub-communicators."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RING = f"{EXAMPLES / 'ring' / 'model.py'}:simulate"
RING_TRIALS = [(number, {"weight": 0.003 * (number + 1), "delay": 0.7 + 0.4 * number}) for number in range(4)]


@pytest.mark.mpi
@pytest.mark.neuron
def test_spikes_do_not_depend_on_ranks_or_order(run_group):
    serial = {entry["number"]: entry["results"] for entry in run_group("python", RING, RING_TRIALS)}
    assert all(len(results["spikes_t"]) > 10 for results in serial.values())
    for ranks, group_size in ((3, 1), (5, 2), (4, 4)):
        entries = run_group("python", RING, RING_TRIALS[::-1], ranks=ranks, group_size=group_size)
        assert {entry["number"]: entry["results"] for entry in entries} == serial
        assert all(left == [0, 0] for entry in entries for left in entry["left"])


@pytest.mark.mpi
@pytest.mark.neuron
def test_an_environment_that_makes_neuron_take_the_world_is_withstood(run_group, monkeypatch):
    # With -mpi the import of NEURON would wait for the driver, which never imports it.
    monkeypatch.setenv("NEURON_MODULE_OPTIONS", "-mpi -nogui")
    (alone,) = run_group("python", RING, RING_TRIALS[:1])
    (grouped,) = run_group("python", RING, RING_TRIALS[:1], ranks=3, group_size=2)
    assert grouped["results"] == alone["results"]


@pytest.mark.neuron
def test_memory_stays_flat(run_group):
    entries = run_group("python", RING, [{"weight": 0.02, "delay": 1.0}] * 200, keep_results=False)
    assert entries[-1]["resident_kb"] - entries[9]["resident_kb"] < 5000


@pytest.mark.mpi
def test_model_without_neuron_never_imports_it(run_group):
    target = f"{EXAMPLES / 'rosenbrock' / 'model.py'}:rosenbrock"
    entries = run_group("python", target, [{"x": 1.0, "y": 1.0}], ranks=3, group_size=2)
    assert entries[0]["results"] == {"loss": (0.0).hex()}
    assert entries[0]["neuron"] is False


FAILING = """
import random
import numpy as np

ready = []

def setup(context):
    ready.append(context.comm.Get_rank())

def simulate(trial):
    from neuron import h
    pc = h.ParallelContext()
    h.nrnmpi_init()
    mode, last = trial.params["mode"], trial.comm.Get_size() - 1
    if mode == "stale" and trial.comm.rank == last:
        raise ValueError("this rank only")
    if mode == "stale":
        # The root's part of a broadcast ends whether or not the others take theirs.
        trial.comm.bcast("stale", root=0)
        pc.py_broadcast("stale", 0)
        return {}
    if mode == "hoc" and trial.comm.rank == last:
        h.execerror("wrong", "in hoc")
    if mode == "hoc":
        return {}
    if mode == "quit":
        h.quit()
    word = trial.comm.bcast("fresh" if trial.comm.rank == 0 else None, root=0)
    other = pc.py_broadcast("fresh" if trial.comm.rank == 0 else None, 0)
    words = trial.comm.gather(word + other, root=0)
    return {"words": words, "ready": ready, "draw": [random.random(), np.random.random()]}
"""


@pytest.mark.mpi
@pytest.mark.neuron
def test_failure_on_one_rank_leaves_nothing_for_the_next_trial(tmp_path, run_group):
    model = tmp_path / "model.py"
    model.write_text(FAILING)
    modes = ["stale", "ok", "hoc", "ok", "quit", "ok"]
    trials = [{"mode": mode} for mode in modes]
    entries = run_group("python", f"{model}:simulate", trials, ranks=3, group_size=2, setup=f"{model}:setup")
    for entry, mode in zip(entries, modes, strict=True):
        if mode == "ok":
            assert entry["errors"] == ["", ""]
            assert entry["results"]["words"] == ["freshfresh", "freshfresh"]
            assert entry["results"]["ready"] == [0]
    assert entries[0]["errors"] == ["", "model.py:16: ValueError: this rank only"]
    assert entries[2]["errors"][1] == "model.py:23: RuntimeError: wrong in hoc"
    assert entries[4]["errors"] == ["model.py:27: SystemExit: 0"] * 2


def test_global_random_states_follow_the_trial_alone(tmp_path, run_group):
    model = tmp_path / "model.py"
    model.write_text(FAILING)
    trials = [(number, {"mode": "ok"}) for number in (0, 1, 2)]
    forward = run_group("python", f"{model}:simulate", trials)
    backward = run_group("python", f"{model}:simulate", trials[::-1])
    draws = [entry["results"]["draw"] for entry in forward]
    assert draws == [entry["results"]["draw"] for entry in backward[::-1]]
    assert len({tuple(draw) for draw in draws}) == 3


@pytest.mark.mpi
@pytest.mark.neuron
def test_many_one_rank_failures_do_not_exhaust_communicators(tmp_path, run_group):
    model = tmp_path / "model.py"
    model.write_text(FAILING)
    trials = [{"mode": "hoc"}] * 400 + [{"mode": "ok"}]
    entries = run_group("python", f"{model}:simulate", trials, ranks=3, group_size=2)
    assert entries[-1]["results"]["words"] == ["freshfresh", "freshfresh"]


def test_wrong_return_type_is_named(tmp_path, run_group):
    model = tmp_path / "model.py"
    model.write_text("def simulate(trial):\n    return 3\n")
    (error,) = run_group("python", f"{model}:simulate", [{}])[0]["errors"]
    assert error == "simulate returned int, expected a dict of results by name"
