"""Whole jobs killed at random moments, launcher and ranks, and resumed until they are complete.

MPIENS_KILLS is how many kills there are in all (12), MPIENS_KILL_SEED where the random moments begin. By hand:
``MPIENS_KILLS=300 python -m pytest tests/resume/test_killed_jobs.py --timeout 7200 -s``.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import pytest

from launch import environment, kill_group, mpiexec_argv
from project import completed, contents, write_project

KILLS = int(os.environ.get("MPIENS_KILLS", "12"))
SEED = int(os.environ.get("MPIENS_KILL_SEED", str(random.SystemRandom().randrange(10**6))))
START_TIMEOUT_S = 60.0

MODEL = """
import time

def simulate(trial):
    x, n = trial.params["x"], trial.params["n"]
    time.sleep(0.004 * (1 + trial.number % 3))
    if trial.number % 11 == 5:
        return {"track": [x]}  # without its objective: it fails
    return {"loss": (x - 0.3) ** 2 + n, "seed_seen": trial.seed, "track": [x] * (1 + trial.number % 4)}
"""
SPACES: dict[str, dict[str, Any]] = {
    "grid": {"x": [i / 10 for i in range(15)], "n": [1, 2, 3, 4]},
    "random": {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 9}},
    "tpe": {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 9}},
}


def kill_once(folder: Path, chance: random.Random, arguments: list[str | Path]) -> bool:
    """Start the job and kill it; False when it was complete before."""
    log = folder / "job.log"
    with log.open("w") as out:
        job = subprocess.Popen(
            [*mpiexec_argv(3), sys.executable, "-m", "mpiens", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
        try:
            # Most kills come while trials run; how long that takes to begin depends on the machine.
            marks = ("3 trials", "60 trials") if chance.random() < 0.85 else ()
            end_s = time.monotonic() + START_TIMEOUT_S
            while marks and job.poll() is None and not any(mark in log.read_text() for mark in marks):
                assert time.monotonic() < end_s, log.read_text()
                time.sleep(0.01)
            try:
                job.wait(chance.uniform(0.0, 0.5 if marks else 1.0))
            except subprocess.TimeoutExpired:
                return True
            assert job.returncode == 0, log.read_text()
            return False
        finally:
            kill_group(job)
            job.wait()
            assert "Traceback" not in log.read_text()


def read_numbers(run_dir: Path) -> set[int]:
    """Trials that anybody sees in results.h5, with plain h5py."""
    path = run_dir / "results.h5"
    if not path.exists():
        return set()
    with h5py.File(path) as file:
        numbers = file["trials/number"][()].tolist()
        assert len(file["trials/values/loss"][()]) == len(file["trials/params/x"][()]) == len(numbers)
    assert len(numbers) == len(set(numbers))
    return set(numbers)


@pytest.mark.mpi
@pytest.mark.parametrize("algorithm", ["grid", "random", "tpe"])
def test_a_killed_job_ends_as_one_that_was_left_alone(algorithm: str, tmp_path: Path) -> None:
    print(f"MPIENS_KILL_SEED={SEED}")
    chance = random.Random(f"{SEED} {algorithm}")
    search = {"algorithm": algorithm, "batch": 12, "objectives": {"loss": "minimize"}}
    spec = write_project(
        tmp_path,
        MODEL,
        space=SPACES[algorithm],
        search=search if algorithm == "grid" else search | {"trials": 60},
        checkpoint={"every": "0.1s"},
        # A kill costs whatever trial was at work one of its attempts.
        limits={"max_attempts": 1000},
    )
    completed(3, "run", spec, "--output", tmp_path / "whole", "--progress", "off")
    whole = contents(tmp_path / "whole")
    run_dir = tmp_path / "killed"
    kills = seen_most = 0
    while kills < -(-KILLS // 3):
        resumed: list[str | Path] = (
            ["resume", run_dir]
            if (run_dir / "checkpoint.h5").exists() and chance.random() < 0.5
            else ["run", spec, "--resume", "--output", run_dir]
        )
        if not kill_once(tmp_path, chance, [*resumed, "--progress", "off"]):
            assert contents(run_dir) == whole
            shutil.rmtree(run_dir)
            seen_most = 0
            continue
        kills += 1
        seen = len(read_numbers(run_dir))
        assert seen >= seen_most, "results that could be seen have gone"
        seen_most = seen
    completed(chance.choice([1, 2, 4]), "run", spec, "--resume", "--output", run_dir, "--progress", "off")
    assert contents(run_dir) == whole
