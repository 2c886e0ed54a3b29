"""What is handed in to schedulers."""

from __future__ import annotations

import sys

from mpiens.launcher import find_mpiexec

SPACE = {"x": {"low": 0.0, "high": 1.0}}
SLOW = """
import time

def simulate(trial):
    time.sleep(0.25)
    return {"loss": trial.params["x"] ** 2}
"""
LONG = {"algorithm": "random", "trials": 420, "batch": 20, "objectives": {"loss": "minimize"}}
"""With trials of `SLOW` 53 s on two groups."""


def script(*commands: str) -> str:
    """A job script that runs mpiens, {mpiexec} and {mpiens} in its commands, and tells their exit statuses."""
    words = {"mpiexec": find_mpiexec(), "mpiens": f"{sys.executable} -m mpiens", "options": "--progress off"}
    lines = [f"{command.format(**words)}; echo exit status $?" for command in commands]
    return "\n".join(["#!/bin/bash", *lines, ""])
