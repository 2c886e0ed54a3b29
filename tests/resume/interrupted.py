"""A run that was killed in the midst of its trials, for tests that damage what it has left."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from launch import run_ranks
from project import TIMEOUT_S, completed, write_project

MODEL = """
import os, pathlib, signal, time

def simulate(trial):
    x = trial.params["x"]
    time.sleep(0.02)
    if str(trial.number) == os.environ.get("KILL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"loss": (x - 0.3) ** 2, "track": [x] * (1 + trial.number % 3)}
"""
SEARCH = {"algorithm": "tpe", "trials": 48, "batch": 6, "objectives": {"loss": "minimize"}}


def interrupted(folder: Path, **changes: object) -> tuple[Path, Path]:
    """The spec and the run directory of a run that was killed, with two checkpoints, segments and journals."""
    search = {**SEARCH, **changes}
    space = {"x": {"low": 0.0, "high": 1.0}, "kind": [[1, 2], [3]]}
    spec = write_project(folder, MODEL, space=space, search=search, checkpoint={"every": "0.2s"})
    run_dir = folder / "killed"
    # A checkpoint leaves the journal of results empty; so none comes before the second kill.
    for kill_at, settings in (("38", []), ("41", ["--resume", "--set", "checkpoint.every=1h"])):
        command = ["-m", "mpiens", "run", spec, "--output", run_dir, "--progress", "off", *settings]
        done = run_ranks(0, command, TIMEOUT_S, env={"KILL_AT": kill_at})
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert max((run_dir / "journal").glob("0-*.bin")).stat().st_size > 16
    names = {path.name for path in run_dir.rglob("*")}
    assert {"checkpoint.h5", "checkpoint.previous.h5", "0-000000.h5", "results.h5"} <= names, (names, sys.version)
    return spec, run_dir


def whole(folder: Path) -> Path:
    """The same run, left alone."""
    completed(0, "run", folder / "spec.yaml", "--output", folder / "whole", "--progress", "off")
    return folder / "whole"
