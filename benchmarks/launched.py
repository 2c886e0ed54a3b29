"""What benchmarks of whole runs share: how one is launched, what its results say of its rate, how figures are shown."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py

from mpiens.launcher import launch_environment, mpiexec_argv

TIMEOUT_S = 600


def launch(folder: Path, ranks: int, *command: str) -> str:
    """Run a command of Python's on all ranks; what it prints. Ends the program when it fails."""
    done = subprocess.run(
        [*mpiexec_argv(ranks), sys.executable, *command],
        cwd=folder,
        env=launch_environment(os.environ),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def trial_rate(run_dir: Path, trials: int) -> float:
    """Trials a second, from the first one's start to the last one's end. Ends the program when one is missing."""
    with h5py.File(run_dir / "results.h5") as results:
        started_s, elapsed_s = results["trials/started_s"][:], results["trials/elapsed_s"][:]
        if len(started_s) != trials or not (results["trials/state"][:] == 1).all():
            sys.exit("mpiens did not complete all trials")
    return float(trials / ((started_s + elapsed_s).max() - started_s.min()))


def spread(values: Sequence[float], form: str) -> str:
    """Median and range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
