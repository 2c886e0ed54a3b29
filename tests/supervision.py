"""Starts supervised runs, and looks for what they leave behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from launch import mpiexec_argv, run_ranks

TIMEOUT_S = 200.0


def supervise(
    ranks: int, *run: str | Path, options: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """``mpiens supervise -- mpiexec -n RANKS python -m mpiens RUN...``; 0 ranks: without mpiexec."""
    command = [*(mpiexec_argv(ranks) if ranks else []), sys.executable, "-m", "mpiens", *map(str, run)]
    argv = ["-m", "mpiens", "supervise", *options, "--", *command, "--progress", "off"]
    done = run_ranks(0, argv, TIMEOUT_S, env=env)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def left_behind(folder: Path) -> list[str]:
    """Command lines of processes that have to do with this folder and have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            found.append(" ".join(words))
    return found
