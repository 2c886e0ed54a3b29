"""Jobs under a real Slurm. Needs its daemons and root: see CONTRIBUTING."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from daemons import Slurm, running
from jobs import LONG, SLOW, SPACE, script
from project import completed, contents, trials, write_project

pytestmark = pytest.mark.scheduler
DEADLY = """
import os, signal

def simulate(trial):
    if trial.number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return {"loss": trial.params["x"] ** 2}
"""
PROGRAM = """
import os, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
nodes = comm.gather(os.environ["SLURMD_NODENAME"])
if comm.rank == 0:
    print("OUT", comm.size * 10 + len(set(nodes)))
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Two nodes of four cores."""
    with running(Slurm, tmp_path_factory.mktemp("slurm")) as daemons:
        yield daemons


def test_a_run_ends_before_its_job_and_the_next_job_goes_on(slurm: Slurm, tmp_path: Path) -> None:
    write_project(tmp_path, SLOW, space=SPACE, search=LONG, limits={"drain": "5s"})
    run = "{mpiexec} -n 3 {mpiens} run spec.yaml --resume {options}"
    job = slurm.submit(script(run), tmp_path, "--time=1", "-N2", "-n3")
    assert slurm.await_end(job, 90) == "COMPLETED"  # not TIMEOUT: the script went on to its end
    said = (tmp_path / "job.log").read_text()
    assert "exit status 75" in said, said
    assert "walltime" in said
    status = json.loads((tmp_path / "small.run" / "status.json").read_text())
    assert status["state"] == "stopped"
    assert 20 < status["complete"] < 420

    job = slurm.submit(script(run), tmp_path, "--time=5", "-N2", "-n8", "--output=second.log")
    assert slurm.await_end(job, 90) == "COMPLETED"
    assert "exit status 0" in (tmp_path / "second.log").read_text()
    whole = write_project(tmp_path, SLOW.replace("0.25", "0"), space=SPACE, search=LONG)
    completed(0, "run", whole, "--output", tmp_path / "whole.run")
    assert contents(tmp_path / "small.run") == contents(tmp_path / "whole.run")


@pytest.mark.parametrize("launcher", ["{mpiexec} -n 4", "srun --mpi=pmi2 -n 4"])
def test_a_supervised_job_goes_on_after_a_crash(launcher: str, slurm: Slurm, tmp_path: Path) -> None:
    write_project(tmp_path, DEADLY, space={"x": [0, 1, 2, 3, 4, 5, 6, 7]}, limits={"max_attempts": 2})
    run = "{mpiens} supervise -- " + launcher + " {mpiens} run spec.yaml {options}"
    job = slurm.submit(script(run), tmp_path, "--time=5", "-N2", "-n4")
    assert slurm.await_end(job, 120) == "COMPLETED"
    said = (tmp_path / "job.log").read_text()
    assert "exit status 0" in said, said
    assert "killed by SIGSEGV in trial 3" in said
    table = trials(tmp_path / "small.run")
    assert np.flatnonzero(np.isnan(table["loss"])).tolist() == [3]
    assert b"SIGSEGV" in table["error"][3]


def test_a_group_over_two_nodes_lends_both_to_its_program(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    model = {"command": [sys.executable, "program.py"], "result": {"marker": "OUT"}, "ranks": 2}
    write_project(tmp_path, model=model, groups={"size": 2})
    job = slurm.submit(script("{mpiexec} -n 3 {mpiens} run spec.yaml {options}"), tmp_path, "-N2", "-n3")
    assert slurm.await_end(job, 120) == "COMPLETED"
    said = (tmp_path / "job.log").read_text()
    assert "exit status 0" in said, said
    assert trials(tmp_path / "small.run")["loss"].tolist() == [22.0] * 6  # two ranks on two nodes
