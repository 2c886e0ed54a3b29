"""Runs with a damaged file, gone on with by the real command: they end as one without, or say what is damaged.

``MPIENS_MUTATED_RUNS`` is how many for each file (2).
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

import mpiens
from launch import run_ranks
from mpiens.environment import SUPERVISED
from mpiens.runtime.charges import KILLED
from mpiens.runtime.logbook import driver_journals
from mpiens.watchdog import killed
from project import TIMEOUT_S, completed, contents, write_project
from resume.forks import Forks
from resume.mutated import mutations

COUNT = int(os.environ.get("MPIENS_MUTATED_RUNS", "2"))
LIMIT_S = 0.5

MODEL = """
import ctypes, os, time

def simulate(trial):
    x = trial.params["x"]
    if os.environ.get("HANGS_AT_41"):
        time.sleep(0.02)
        if trial.number == 41:
            mutex = ctypes.create_string_buffer(64)
            [ctypes.PyDLL(None).pthread_mutex_lock(mutex) for _ in "ab"]  # which hold the interpreter's lock
    return {"loss": (x - 0.3) ** 2, "track": [x] * (1 + trial.number % 3)}
"""
SPACES = {"grid": {"x": {"linspace": [0, 1, 24]}, "kind": [1, 2]}, "tpe": {"x": {"low": 0.0, "high": 1.0}}}
FILES = {
    "grid": (
        *("checkpoint.h5", "checkpoint.previous.h5", "journal/driver", "journal/0", "journal/death-0.json"),
        *("journal/rank-0.note", "segments/0-000000.h5", "results.h5", "space.json", "status.json", "origin.yaml"),
    ),
    "tpe": ("checkpoint.h5", "journal/driver", "earlier.bin"),
}


@pytest.fixture(scope="module", params=FILES)
def hung(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Algorithm, and a folder with a project, its killed run, and the whole one."""
    folder = tmp_path_factory.mktemp(request.param)
    search = {"algorithm": request.param, "batch": 6, "objectives": {"loss": "minimize"}}
    if request.param == "tpe":
        search |= {"trials": 48, "from": "before"}
        before = write_project(folder, MODEL, space=SPACES["tpe"], search={"algorithm": "random", "trials": 12})
        completed(0, "run", before, "--output", folder / "before", "--progress", "off", "--set", OBJECTIVE)
    limits = {"trial_timeout": LIMIT_S, "max_attempts": 3}
    spec = write_project(
        folder, MODEL, space=SPACES[request.param], search=search, limits=limits, checkpoint={"every": "0.2s"}
    )
    settings = ("--set", "limits.max_attempts=5", "--progress", "off")
    command = ["-m", "mpiens", "run", spec, "--output", folder / "hung", *settings]
    done = run_ranks(0, command, TIMEOUT_S, env={"HANGS_AT_41": "1", SUPERVISED: "1"})
    assert done.returncode == -signal.SIGALRM, done.stdout + done.stderr
    completed(0, "run", spec, "--output", folder / "whole", *settings)
    return request.param, folder


REFUSED = ("checkpoint.previous.h5", "origin.yaml", "earlier.bin")
"""Files without which a person must say what runs; the checkpoint before is tried without the newest."""
OBJECTIVE = "search.objectives.loss=minimize"


def place_in(run_dir: Path, name: str) -> Path:
    if name == "journal/driver":
        return driver_journals(run_dir)[-1][1]
    return max((run_dir / "journal").glob("0-*.bin")) if name == "journal/0" else run_dir / name


@pytest.mark.timeout(600)
def test_a_run_with_a_damaged_file(hung: tuple[str, Path], tmp_path: Path) -> None:
    algorithm, folder = hung
    whole, copy = contents(folder / "whole"), tmp_path / "copy"
    with Forks(tmp_path / "said") as forks:
        for name in FILES[algorithm]:
            path = place_in(folder / "hung", name)
            for how in mutations(path, COUNT):
                shutil.copytree(folder / "hung", copy)
                if name == "checkpoint.previous.h5":
                    (copy / "checkpoint.h5").unlink()
                status, said = forks.run("resume", copy, "--progress", "off")
                if status in (1, 2) and name in REFUSED:
                    assert name in said, (name, how, said)
                    if name == "earlier.bin":
                        (copy / name).unlink()
                    resume = ("run", folder / "spec.yaml", "--resume", "--output", copy, "--progress", "off")
                    status, said = forks.run(*resume)
                elif name == "origin.yaml":
                    assert "origin.yaml is not as the run has written it" in said, (how, said)
                assert status == 0, (name, how, said)
                assert "Traceback" not in said, (name, how, said)
                assert contents(copy) == whole, (name, how, said)
                check_history(copy, f"{name}: {how}: {said}")
                shutil.rmtree(copy)


def check_history(run_dir: Path, how: str) -> None:
    """What is said of attempts that have failed is true, as far as it goes."""
    found = {(row.number, row.attempt, row.error) for row in mpiens.open(run_dir).attempts.itertuples()}
    death = "rank 0 was killed by SIGALRM"
    assert found <= {(41, 1, killed(LIMIT_S)), (41, 1, KILLED), (41, 1, death)}, (found, how)
