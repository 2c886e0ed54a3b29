"""A real file system that fills up in mid-run. Needs the right to mount one: see CONTRIBUTING."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from launch import run_ranks
from project import TIMEOUT_S, completed, contents, mpiens, write_project

pytestmark = pytest.mark.root
MODEL = """
import time
import numpy as np

def simulate(trial):
    time.sleep(0.005)
    trace = np.random.default_rng(trial.number).random(12_000)
    print("line of the log", trial.number)
    return {"loss": float(trace[0]) + trial.params["x"], "trace": trace}
"""
SEARCH = {"algorithm": "random", "trials": 120, "batch": 10, "objectives": {"loss": "minimize"}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """20 MB; the run needs about 12 for its results and as much again to put them together."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.mpi
@pytest.mark.parametrize(("ranks", "free_mb", "writers"), [(0, 9, 0), (3, 5, 0), (3, 2, 0), (5, 5, 2), (5, 2, 2)])
def test_a_disk_that_fills_up_in_mid_run(
    ranks: int, free_mb: int, writers: int, tmp_path: Path, small_disk: Path
) -> None:
    spec = write_project(
        tmp_path,
        MODEL,
        space={"x": {"low": 0.0, "high": 1.0}},
        search=SEARCH,
        store={"writers": writers},
        checkpoint={"every": "0.2s"},
    )
    run_dir = small_disk / "full.run"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes((20 - free_mb) * 2**20))
    command = ["-m", "mpiens", "run", spec, "--output", run_dir, "--progress", "off"]
    done = run_ranks(ranks, command, TIMEOUT_S)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert "No space left on device" in said
    assert "make space, then resume" in said
    seen = set()
    if (run_dir / "results.h5").exists():
        with h5py.File(run_dir / "results.h5") as file:
            seen = set(file["trials/number"][()].tolist())
    ballast.unlink()
    if free_mb == 9:  # the whole run does not fit: everything is copied to where there is room
        shutil.copytree(run_dir, tmp_path / "full.run")
        run_dir = tmp_path / "full.run"
        spec_arguments = ["run", spec, "--resume", "--output", run_dir]
    else:
        subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
        spec_arguments = ["resume", run_dir]
    said = completed(ranks, *spec_arguments, "--progress", "off")
    assert "damaged" not in said
    assert len(seen) < 120
    completed(0, "run", spec, "--output", tmp_path / "whole.run", "--progress", "off")
    assert contents(run_dir) == contents(tmp_path / "whole.run")


def test_a_run_directory_that_is_read_only(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    run_dir = tmp_path / "small.run"
    completed(0, "run", spec, "--progress", "off")
    whole = contents(run_dir)
    subprocess.run(["mount", "--bind", run_dir, run_dir], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", run_dir], check=True)
        for command in (
            ["run", spec, "--resume", "--set", "search.repeats=2", "--force"],
            ["run", spec, "--overwrite"],
        ):
            done = mpiens(0, *command, "--progress", "off")
            assert done.returncode == 2, done.stdout + done.stderr
            assert f"{run_dir}: cannot be used as the run directory: Read-only file system" in done.stderr
        assert contents(run_dir) == whole
    finally:
        subprocess.run(["umount", run_dir], check=True)
