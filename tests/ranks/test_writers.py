"""Ranks that write results and die, or whose disk refuses, while `mpiens launch` runs a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launch import is_open_mpi, run_ranks
from mpiens.environment import SUPERVISED
from project import trials, write_project
from supervision import TIMEOUT_S, left_behind

MODEL = f"""
import os, psutil, time

RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")

def kill(rank):
    mine, found = os.environ["{SUPERVISED}"], []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
        except psutil.Error:
            continue
        if variables.get("{SUPERVISED}") == mine and str(rank) in [variables.get(name) for name in RANK]:
            found.append(process)
    ids = [process.pid for process in found]
    # Not the guard that stands beside it.
    (victim,) = [process for process in found if process.ppid() in ids] or found
    victim.kill()

def simulate(trial):
    if trial.number == 12 and not os.path.exists("killed"):
        open("killed", "w").close()
        kill(int(os.environ["VICTIM"]))
    time.sleep(0.01)
    return {{"loss": float(trial.number), "track": [trial.number + 0.5] * 1000}}
"""
SEARCH = {"algorithm": "grid", "objectives": {"loss": "minimize"}}


def launch(folder: Path, victim: int, writers: int) -> tuple[str, dict[str, Any]]:
    """What was said, and the last status, of a run of two groups of which one trial kills a writer."""
    spec = write_project(
        folder,
        MODEL,
        space={"at": list(range(40))},
        search=SEARCH,
        store={"writers": writers},
        checkpoint={"every": "0.2s"},
    )
    argv = ["-m", "mpiens", "launch", "-n", str(3 + writers), spec, "--progress", "off"]
    done = run_ranks(0, argv, TIMEOUT_S, env={"VICTIM": str(victim)}, cwd=folder)
    said = done.stdout + done.stderr
    assert (done.returncode, "Traceback" in said) == (0, False), said
    assert left_behind(folder) == []
    assert (folder / "killed").exists()
    return said, json.loads((folder / "small.run/status.json").read_text())


def check_results(folder: Path) -> dict[str, Any]:
    """Every trial once, with its values."""
    found = trials(folder / "small.run")
    assert found["loss"].tolist() == list(range(40))
    assert found["track"].tolist() == [[number + 0.5] * 1000 for number in range(40)]
    left = {path.name for path in (folder / "small.run").iterdir()}
    assert not left & {"journal", "segments"}
    return found


@pytest.mark.mpi
@pytest.mark.parametrize("victim", [1, 2])
def test_when_a_writer_dies_the_groups_of_the_others_go_on(victim: int, tmp_path: Path) -> None:
    said, last = launch(tmp_path, victim, writers=2)
    found = check_results(tmp_path)
    if is_open_mpi():
        assert "restart" not in said
        assert f"rank {victim}, a writer, is lost, and all groups whose results it wrote" in said
        assert (last["lost_ranks"], last["lost_groups"]) == (1, 1)
        # The writers take the groups in turn.
        assert set(found["group"][20:].tolist()) == {2 - victim}
    else:
        assert said.count("going on with the run, restart") == 1


@pytest.mark.mpi
def test_when_the_only_writer_dies_the_run_is_started_again(tmp_path: Path) -> None:
    said, last = launch(tmp_path, 1, writers=1)
    check_results(tmp_path)
    assert said.count("going on with the run, restart") == 1
    assert (last["lost_ranks"], last["lost_groups"]) == (0, 0)
