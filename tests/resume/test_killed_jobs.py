"""Jobs killed at random moments and resumed until they are complete.

What is killed is the whole job, the driver, a writer, a worker, the launcher, or a rank that writes just before it
changes a file.
MPIENS_KILLS is how many kills there are in all (32), MPIENS_KILL_SEED where the random moments begin. By hand:
``MPIENS_KILLS=200 python -m pytest tests/resume/test_killed_jobs.py --timeout 7200 -s``.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

from launch import environment, mpiexec_argv
from mpiens.checkpoint import read_checkpoint
from mpiens.runtime.recovery import find_checkpoint, replay
from mpiens.store import FileStore
from project import completed, contents, write_project

KILLS = int(os.environ.get("MPIENS_KILLS", "32"))
SEED = int(os.environ.get("MPIENS_KILL_SEED", str(random.SystemRandom().randrange(10**6))))
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 30.0
KINDS = ("job", "driver", "worker", "writer", "launcher", "file")
DIES = Path(__file__).with_name("dies.py")

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
TRIALS = 60
LABELS = ("grid", "random", "tpe", "asynchronous tpe", "two writers: tpe", "two writers: asynchronous tpe")


def kill_once(
    folder: Path, run_dir: Path, chance: random.Random, kind: str, writers: int, arguments: list[str | Path]
) -> bool:
    """Start the job with two groups and kill it, or a part of it; False when it was complete before."""
    log = folder / "job.log"
    dies: list[str | Path] = [DIES, str(chance.randint(0, writers)), str(chance.randrange(400))]
    program = dies if kind == "file" else ["-m", "mpiens"]
    with log.open("w") as out:
        job = subprocess.Popen(
            [*mpiexec_argv(3 + writers), sys.executable, *map(str, program), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment() | {"PYTHONPATH": os.pathsep.join([environment()["PYTHONPATH"], str(DIES.parents[1])])},
            start_new_session=True,
        )
    launcher = psutil.Process(job.pid)
    family = [launcher]
    try:
        # Most kills come while trials run; how long that takes to begin depends on the machine.
        marks = ("3 trials", f"{TRIALS} trials") if kind != "job" or chance.random() < 0.7 else ()
        end_s = time.monotonic() + START_TIMEOUT_S
        while marks and job.poll() is None and not any(mark in log.read_text() for mark in marks):
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.01)
        family += _children(launcher)
        kill_s = time.monotonic() + chance.uniform(0.0, 0.5 if marks else 1.0)
        while job.poll() is None and (kind == "file" or time.monotonic() < kill_s):
            assert time.monotonic() < end_s + END_TIMEOUT_S, log.read_text()
            read_numbers(run_dir)
            time.sleep(0.005)
        if job.poll() is None:
            family += _children(launcher)
            _kill(_victim(kind, family, chance, writers))
            if kind in ("driver", "worker", "writer"):
                # The launcher ends the rest. What it leaves is ended below.
                job.wait(END_TIMEOUT_S)
        elif job.returncode == 0:
            return False
        return True
    finally:
        for process in {*family, *_children(launcher)}:
            _kill(process)
        job.wait(END_TIMEOUT_S)
        psutil.wait_procs(family, END_TIMEOUT_S)
        said = log.read_text()
        assert "Traceback" not in said, said


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def _victim(kind: str, family: list[psutil.Process], chance: random.Random, writers: int) -> psutil.Process:
    """The process to kill; the launcher where there are no ranks yet."""
    ranks: dict[int, psutil.Process] = {}
    for process in family[1:]:
        try:
            variables = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        rank = variables.get("PMI_RANK", variables.get("OMPI_COMM_WORLD_RANK"))
        if rank is not None and "mpiens" in " ".join(process.cmdline()):
            ranks[int(rank)] = process
    parts = {"driver": [0], "writer": list(range(1, writers + 1)), "worker": [writers + 1, writers + 2]}
    wanted = parts.get(kind, [])
    found = [ranks[rank] for rank in wanted if rank in ranks]
    return chance.choice(found) if found else family[0]


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def read_numbers(run_dir: Path) -> set[int]:
    """Trials that anybody sees in results.h5, with plain h5py."""
    path = run_dir / "results.h5"
    try:
        file = h5py.File(path)
    except FileNotFoundError:
        return set()
    with file:
        numbers = file["trials/number"][()].tolist()
        assert len(file["trials/values/loss"][()]) == len(file["trials/params/x"][()]) == len(numbers)
    # A run that ends meanwhile deletes the segments that this file shows.
    found = [number for number in numbers if number >= 0]
    assert len(set(found)) == len(found)
    return set(found)


def check_acknowledged(run_dir: Path, folder: Path) -> None:
    """What the sampler was told is in the store."""
    saved = find_checkpoint(run_dir).saved
    if not run_dir.exists():
        return
    copy = folder / "copy"
    shutil.copytree(run_dir, copy)
    ledger, _kept, _warnings = replay(copy, saved, 1, False)
    store = FileStore(copy, "copy", "", {}, {"loss": "minimize"}, ["x", "n"])
    told = np.flatnonzero(ledger.states)
    assert set(told.tolist()) <= set(store.numbers().tolist())
    assert store.warnings == []
    shutil.rmtree(copy)


@pytest.mark.mpi
@pytest.mark.parametrize("algorithm", LABELS)
def test_a_killed_job_ends_as_one_that_was_left_alone(algorithm: str, tmp_path: Path) -> None:
    print(f"MPIENS_KILL_SEED={SEED}")
    chance = random.Random(f"{SEED} {algorithm}")
    label = algorithm
    is_asynchronous = "asynchronous" in algorithm
    writers = 2 if "writers" in algorithm else 0
    kinds = [kind for kind in KINDS if writers or kind != "writer"]
    algorithm = algorithm.rpartition(" ")[2]
    search = {"algorithm": algorithm, "batch": 0 if is_asynchronous else 12, "objectives": {"loss": "minimize"}}
    spec = write_project(
        tmp_path,
        MODEL,
        space=SPACES[algorithm],
        search=search if algorithm == "grid" else search | {"trials": TRIALS},
        checkpoint={"every": "0.1s"},
        store={"writers": writers},
        # A kill costs whatever trial was at work one of its attempts.
        limits={"max_attempts": 1000},
    )
    completed(3 + writers, "run", spec, "--output", tmp_path / "whole", "--progress", "off")
    whole = contents(tmp_path / "whole")
    run_dir = tmp_path / "killed"

    def check_complete() -> None:
        if not is_asynchronous:
            assert contents(run_dir) == whole
            return
        saved = read_checkpoint(run_dir / "checkpoint.h5")
        assert sorted(saved.order[:, 0].tolist()) == list(range(TRIALS)), "told exactly once"
        found = contents(run_dir)
        for name in ("trials/number", "trials/seed", "trials/state"):
            assert found[name] == whole[name]

    kills: Counter[str] = Counter()
    seen_most = lives = 0
    while kills.total() < -(-KILLS // len(LABELS)):
        resumed: list[str | Path] = (
            ["resume", run_dir]
            if (run_dir / "checkpoint.h5").exists() and chance.random() < 0.5
            else ["run", spec, "--resume", "--output", run_dir]
        )
        kind = kinds[kills.total() % len(kinds)]
        if not kill_once(tmp_path, run_dir, chance, kind, writers, [*resumed, "--progress", "off"]):
            check_complete()
            shutil.rmtree(run_dir)
            seen_most, lives = 0, lives + 1
            continue
        kills[kind] += 1
        check_acknowledged(run_dir, tmp_path)
        seen = len(read_numbers(run_dir))
        assert seen >= seen_most, "results that could be seen have gone"
        seen_most = seen
    ranks, writers = (chance.choice([1, 2, 4]), 0) if not writers or chance.random() < 0.5 else (6, 3)
    again = ("--resume", "--output", run_dir, "--set", f"store.writers={writers}")
    completed(ranks, "run", spec, *again, "--progress", "off")
    check_complete()
    print(f"{label}: {kills.total()} kills in {lives + 1} runs: {dict(kills)}")
