"""The lock on a run directory, asked for by others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from launch import environment
from mpiens.runtime.lock import is_held

HOLDS = """
import pathlib, sys
from mpiens.runtime.lock import RunLock

RunLock().hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_others_see_that_a_run_directory_is_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        assert is_held(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    assert (tmp_path / "run.lock").exists()
    assert not is_held(tmp_path)
