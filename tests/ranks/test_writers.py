"""Ranks that write results and die, or whose disk refuses, while `mpiens launch` runs a search."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from launch import is_open_mpi, run_ranks
from mpiens.environment import SUPERVISED
from mpiens.runtime.serve import LEAVE_TIMEOUT_S
from project import completed, mpiens, trials, write_project
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


@pytest.mark.mpi
def test_a_complete_run_goes_on_with_its_writers(tmp_path: Path) -> None:
    """And with other ones: nothing is taken for replaced by what an earlier start has written."""
    code = "import time\ndef simulate(trial):\n    time.sleep(0.01)\n    return {'loss': float(trial.number)}\n"
    search = {"algorithm": "random", "trials": 40, "objectives": {"loss": "minimize"}}
    space = {"x": {"low": 0.0, "high": 1.0}}
    spec = write_project(tmp_path, code, space=space, search=search, store={"writers": 2}, checkpoint={"every": "0.1s"})
    for total, writers in ((40, 2), (160, 2), (240, 0), (360, 3)):
        settings = ("--set", f"search.trials={total}", "--set", f"store.writers={writers}")
        completed(3 + writers, "run", spec, "--resume", *settings, "--progress", "off")
        assert trials(tmp_path / "small.run")["loss"].tolist() == list(range(total))


@pytest.mark.mpi
def test_the_files_of_several_writers_stay_few(tmp_path: Path) -> None:
    code = """
    import pathlib, time

    def simulate(trial):
        time.sleep(0.01)
        here = pathlib.Path(__file__).parent / "small.run"
        counts = [len([path for path in (here / name).glob("[0-9]*")]) for name in ("segments", "journal")]
        return {"loss": float(trial.number), "segments": counts[0], "journals": counts[1]}
    """
    search = {"algorithm": "random", "trials": 1200, "objectives": {"loss": "minimize"}}
    space = {"x": {"low": 0.0, "high": 1.0}}
    spec = write_project(tmp_path, code, space=space, search=search, store={"writers": 5}, checkpoint={"every": "0.1s"})
    completed(8, "run", spec, "--progress", "off")
    found = trials(tmp_path / "small.run")
    assert found["segments"].max() > 16, "there was nothing to merge"
    assert found["segments"].max() < 64
    assert found["journals"].max() < 40


@pytest.mark.mpi
def test_a_run_that_cannot_be_written_ends_soon(tmp_path: Path) -> None:
    """Ranks that write leave last: what groups still send must find somebody who takes it."""
    code = """
    import pathlib, shutil, time
    import numpy as np

    def simulate(trial):
        time.sleep(0.3)
        if trial.number == 4:
            shutil.rmtree(pathlib.Path(__file__).parent / "small.run")
        return {"loss": 1.0, "track": np.zeros(200_000)}
    """
    search = {"algorithm": "random", "trials": 40, "objectives": {"loss": "minimize"}}
    space = {"x": {"low": 0.0, "high": 1.0}}
    spec = write_project(tmp_path, code, space=space, search=search, store={"writers": 2}, checkpoint={"every": "0.5s"})
    start_s = time.monotonic()
    done = mpiens(6, "run", spec, "--progress", "off")
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "cannot go on" not in said
    assert "gave up after" not in said
    assert time.monotonic() - start_s < LEAVE_TIMEOUT_S, said
