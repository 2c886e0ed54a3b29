"""Ranks that die while `mpiens launch` runs a search: Open MPI's job survives them, MPICH's is started again.

The results are the same; what is lost on the way is said.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest

from launch import environment, is_open_mpi, kill_group, mpiexec_argv, run_ranks
from project import trials, write_project
from supervision import TIMEOUT_S, left_behind

MODEL = """
import ctypes, os, signal, time

def hang():
    mutex = ctypes.create_string_buffer(64)
    for _ in "ab":  # a sleep would end with the first signal
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def simulate(trial):
    how, comm = trial.params["how"], trial.comm
    rank, is_last = comm.rank, comm.rank == comm.size - 1
    if trial.attempt == 1 or how == "always":
        if how in ("member", "always"):
            if is_last:
                die()
            comm.barrier()
        if how == "root":
            if rank == 0:
                die()
            comm.recv(source=0)
        if how == "chain":  # rank 2 waits for rank 0, which waits for the dead
            if rank == 1:
                die()
            comm.recv(source=1 if rank == 0 else 0)
        if how == "deaf":  # the survivor does not hear of it
            if rank == 0:
                hang()
            die()
        if how == "in C" and is_last:
            hang()
        if how == "in MPI" and is_last:
            comm.recv(source=0)
    if how == "long":
        open(f"long-{comm.rank}", "w").close()
        time.sleep(1000)
    return {"loss": comm.allreduce(1.0)}
"""


def launch(ranks: int, folder: Path, how: list[str], size: int, **limits: Any) -> tuple[int, str, dict[str, Any]]:
    """Exit status, what was said, and the last status of a run of these points, each once."""
    search = {"algorithm": "grid", "objectives": {"loss": "minimize"}}
    spec = write_project(
        folder, MODEL, space={"how": how}, groups={"size": size}, search=search, limits={"max_attempts": 2, **limits}
    )
    argv = ["-m", "mpiens", "launch", "-n", str(ranks), spec, "--progress", "off"]
    done = run_ranks(0, argv, TIMEOUT_S)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert left_behind(folder) == []
    return done.returncode, said, json.loads((folder / "small.run/status.json").read_text())


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("how", "size", "limits", "lost_ranks"),
    [
        ("member", 2, {}, 1),
        ("root", 2, {}, 1),
        ("chain", 3, {}, 1),
        ("deaf", 2, {}, 1),
        ("in C", 2, {"trial_timeout": 1.0}, 2),
        ("in MPI", 2, {"trial_timeout": 1.0}, 2),
    ],
)
def test_a_group_that_loses_a_rank_is_given_up(
    how: str, size: int, limits: dict[str, Any], lost_ranks: int, tmp_path: Path
) -> None:
    status, said, last = launch(1 + 2 * size, tmp_path, ["fine", how, "fine too", "fine as well"], size, **limits)
    assert status == 0, said
    found = trials(tmp_path / "small.run")
    assert found["state"].tolist() == [1] * 4
    assert found["loss"].tolist() == [size] * 4
    # Only the trial that lost its group has cost an attempt.
    assert found["attempt"].tolist() == [1, 2, 1, 1], said
    with h5py.File(tmp_path / "small.run/results.h5") as file:
        (failed,) = [json.loads(line) for line in file["trials/history"][1].decode().splitlines()]
    assert failed["attempt"] == 1
    assert ("timed out after 1 s and did not react" if limits else "killed") in failed["error"]
    if is_open_mpi():
        assert "restart" not in said
        assert (last["lost_ranks"], last["lost_groups"]) == (lost_ranks, 1)
        plural = "ranks" if lost_ranks > 1 else "rank"
        assert f"warning   {lost_ranks} {plural} and 1 of 2 groups were lost" in said
        assert ("do not leave and are killed" in said) == (how == "deaf")
    else:
        assert said.count("going on with the run, restart") == 1
        assert (last["lost_ranks"], last["lost_groups"]) == (0, 0)


@pytest.mark.mpi
def test_when_no_group_is_left_the_run_is_started_again(tmp_path: Path) -> None:
    status, said, _ = launch(2, tmp_path, ["fine", "always", "fine too"], 1)
    assert status == 0, said
    found = trials(tmp_path / "small.run")
    assert found["state"].tolist() == [1, 3, 1]
    assert found["attempt"].tolist() == [1, 2, 1]
    assert b"killed" in found["error"][1]
    assert said.count("going on with the run, restart") == 2, said


@pytest.mark.mpi
@pytest.mark.parametrize("victim", ["driver", "launcher"])
def test_without_its_driver_or_launcher_nothing_goes_on(victim: str, tmp_path: Path) -> None:
    spec = write_project(tmp_path, MODEL, space={"how": ["long", "long", "long"]})
    flags = ["--with-ft", "ulfm"] if is_open_mpi() else []
    log = tmp_path / "log"
    with log.open("w") as out:
        job = subprocess.Popen(
            [*mpiexec_argv(3, *flags), sys.executable, "-m", "mpiens", "run", str(spec)],
            cwd=tmp_path,
            env=environment(),
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        family = psutil.Process(job.pid)
        end_s = time.monotonic() + 60
        while not (tmp_path / "long-0").exists() or not (tmp_path / "small.run/status.json").exists():
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.05)
        ranks = family.children(recursive=True)
        driver = json.loads((tmp_path / "small.run/status.json").read_text())["pid"]
        psutil.Process(driver if victim == "driver" else job.pid).kill()
        _, alive = psutil.wait_procs(ranks, timeout=30)
        assert alive == [], log.read_text()
        assert job.wait(30) != 0
    finally:
        kill_group(job)
        job.wait()
