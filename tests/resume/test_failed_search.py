"""A sampler or a pruner of the user's own that fails: no trial pays for it, and the run goes on once it is mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mpiens
from launch import run_ranks
from project import TIMEOUT_S, completed, trials, write_project
from project import mpiens as command

MODEL = """
import time

def simulate(trial):
    for step in range(3):
        trial.report(trial.params["x"], step)
        try:
            trial.should_prune()
        except Exception as error:
            raise RuntimeError("the model sees an error that is not its own") from error
        time.sleep(0.01)
    return {"loss": trial.params["x"]}
"""
OWN = """
import sys

FAILS = True

class Pruner:
    def __init__(self, direction):
        pass

    def should_prune(self, reports, others):
        if FAILS and len(others) >= 4:
            sys.exit(7)
        return False

class Sampler:
    def __init__(self, space, seed):
        self.told = 0

    def ask(self, n):
        return [{"x": 0.5}] * n

    def tell(self, trials):
        self.told += len(trials)
        if FAILS and self.told >= 4:
            sys.exit(7)
"""
CASES = {"pruner": {"algorithm": "random", "pruner": "own.py:Pruner"}, "sampler": {"algorithm": "own.py:Sampler"}}


@pytest.mark.mpi
@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize(("ranks", "writers"), [(0, 0), (3, 0), (4, 1)])
def test_a_search_that_fails_costs_no_trial_an_attempt(case: str, ranks: int, writers: int, tmp_path: Path) -> None:
    search = {**CASES[case], "trials": 16, "objectives": {"loss": "minimize"}}
    spec = write_project(
        tmp_path,
        MODEL,
        space={"x": {"low": 0.0, "high": 1.0}},
        search=search,
        store={"writers": writers},
        limits={"max_attempts": 1},
    )
    (tmp_path / "own.py").write_text(OWN)
    done = command(ranks, "run", spec, "--progress", "off")
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert f"own.py:{case.title()}: " in said
    assert "SystemExit: 7" in said
    run_dir = tmp_path / "small.run"
    kept = mpiens.open(run_dir)
    status = json.loads((run_dir / "status.json").read_text())
    assert (kept.state, status["state"], status["failed"]) == ("stopped", "failed", 0)
    assert len(kept.numbers) == status["complete"] >= 4
    (tmp_path / "own.py").write_text(OWN.replace("FAILS = True", "FAILS = False"))
    completed(ranks, "resume", run_dir, "--progress", "off")
    found = trials(run_dir)
    assert found["state"].tolist() == [1] * 16
    assert set(found["attempt"].tolist()) == {1}


@pytest.mark.mpi
def test_it_is_not_started_again(tmp_path: Path) -> None:
    search = {**CASES["pruner"], "trials": 16, "objectives": {"loss": "minimize"}}
    spec = write_project(tmp_path, MODEL, space={"x": {"low": 0.0, "high": 1.0}}, search=search)
    (tmp_path / "own.py").write_text(OWN)
    done = run_ranks(0, ["-m", "mpiens", "launch", "-n", "3", spec, "--progress", "off"], TIMEOUT_S)
    said = done.stdout + done.stderr
    assert (done.returncode, "restart" in said) == (1, False), said
