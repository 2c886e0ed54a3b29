"""Stopping from outside: signals once and twice, the walltime, `trial.should_stop`; and what resume makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

from launch import environment, is_open_mpi, kill_group, mpiexec_argv, run_ranks
from project import TIMEOUT_S, completed, mpiens, trials, write_project

SPACE = {"x": list(range(12))}
SLOW = """
import time

def simulate(trial):
    time.sleep(trial.params["pause_s"])
    return {"loss": float(trial.number)}
"""


@contextmanager
def running(tmp_path: Path, ranks: int, spec: Path, size: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A job all of whose groups are at work."""
    groups = max(1, (ranks - 1) // size)
    argv = [*(mpiexec_argv(ranks) if ranks else []), sys.executable, "-m", "mpiens", "run", str(spec)]
    with (tmp_path / "said").open("w") as said:
        job = subprocess.Popen(
            [*argv, "--progress", "off"], stdout=said, stderr=said, text=True, env=environment(), start_new_session=True
        )
    try:
        wait_for(tmp_path, job, lambda path: len(list((path / "begun").iterdir())) >= groups)
        yield job
    finally:
        kill_group(job)
        job.wait()


def wait_for(tmp_path: Path, job: subprocess.Popen[str], condition: object) -> None:
    end_s = time.monotonic() + TIMEOUT_S
    while not condition(tmp_path):  # type: ignore[operator]
        assert job.poll() is None, (tmp_path / "said").read_text()
        assert time.monotonic() < end_s, (tmp_path / "said").read_text()
        time.sleep(0.01)


def project(tmp_path: Path, code: str, pause_s: float, ranks: int = 1, **limits: object) -> Path:
    """A project whose trials say that they have begun."""
    (tmp_path / "begun").mkdir()
    begun = f"\n    open({str(tmp_path / 'begun')!r} + f'/{{trial.number}}', 'w').close()"
    marked = code.replace("def simulate(trial):", f"def simulate(trial):{begun}")
    model = {"python": "model.py:simulate", "fixed": {"pause_s": pause_s}}
    return write_project(tmp_path, marked, model=model, space=SPACE, groups={"size": ranks}, limits=limits or None)


def finished(tmp_path: Path) -> int:
    with h5py.File(tmp_path / "small.run" / "results.h5") as file:
        assert file.attrs["state"] == "stopped"
        return len(file["trials/number"])


INTERRUPTED = """
import os, signal, sys
import mpiens.runtime
from mpiens.cli import run_command_line

joined = mpiens.runtime.connect

def connect():
    world = joined()
    if world.rank == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return world

mpiens.runtime.connect = connect
sys.exit(run_command_line(["run", "spec.yaml", "--progress", "off"]))
"""


@pytest.mark.mpi
def test_a_signal_while_ranks_join_ends_the_job(tmp_path: Path) -> None:
    write_project(tmp_path, SLOW, space={"pause_s": [0.01]}, search={"algorithm": "grid"})
    (tmp_path / "start.py").write_text(INTERRUPTED)
    done = run_ranks(3, ["start.py"], TIMEOUT_S, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "rank 0: interrupted before the run had begun" in said
    assert "Traceback" not in said


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_the_first_signal_lets_running_trials_end(ranks: int, tmp_path: Path) -> None:
    spec = project(tmp_path, SLOW, 1.0)
    with running(tmp_path, ranks, spec) as job:
        job.send_signal(signal.SIGUSR1)
        assert job.wait(TIMEOUT_S) == 75
    said = (tmp_path / "said").read_text()
    assert "small: stopped: SIGUSR1" in said
    assert finished(tmp_path) == max(1, ranks - 1)
    # The attempts that ended with the stop are charged to nobody.
    completed(3, "resume", tmp_path / "small.run", "--set", "model.fixed.pause_s=0", "--force", "--progress", "off")
    found = trials(tmp_path / "small.run")
    assert found["attempt"].tolist() == [1] * 12


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_the_second_signal_stops_at_once(ranks: int, tmp_path: Path) -> None:
    spec = project(tmp_path, SLOW, 100.0)
    with running(tmp_path, ranks, spec) as job:
        job.send_signal(signal.SIGUSR1)
        wait_for(tmp_path, job, lambda path: "another signal stops at once" in (path / "said").read_text())
        time.sleep(1.1)
        job.send_signal(signal.SIGUSR1)
        assert job.wait(30) == 75
    assert finished(tmp_path) == 0
    completed(0, "resume", tmp_path / "small.run", "--set", "model.fixed.pause_s=0", "--force", "--progress", "off")
    assert trials(tmp_path / "small.run")["attempt"].tolist() == [1] * 12


@pytest.mark.mpi
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_mpiexec_makes_of_other_signals(number: signal.Signals, tmp_path: Path) -> None:
    spec = project(tmp_path, SLOW, 2.0)
    with running(tmp_path, 3, spec) as job:
        job.send_signal(number)
        status = job.wait(TIMEOUT_S)
    if is_open_mpi():  # kills the ranks after half a second: there is just time to stop at once
        assert status != 0
        reason = json.loads((tmp_path / "small.run" / "status.json").read_text())["reason"]
        assert reason in ("", "SIGTERM from the launcher, which has been stopped or has lost a rank")
    else:
        assert status == 75
        assert finished(tmp_path) == 2
    completed(0, "resume", tmp_path / "small.run", "--set", "model.fixed.pause_s=0", "--force", "--progress", "off")


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_trials_that_outlast_the_drain_are_left(ranks: int, tmp_path: Path) -> None:
    # A model that catches everything is ended all the same.
    stubborn = SLOW.replace(
        "    time.sleep", "    try:\n        time.sleep(100)\n    except BaseException:\n        pass\n    time.sleep"
    )
    spec = project(tmp_path, SLOW if ranks else stubborn, 100.0, drain=0.5)
    with running(tmp_path, ranks, spec) as job:
        job.send_signal(signal.SIGUSR1 if ranks else signal.SIGINT)
        assert job.wait(30) == 75
    assert finished(tmp_path) == 0
    said = (tmp_path / "said").read_text()
    assert said.count("another signal stops at once") == 1
    assert ("SIGUSR1" if ranks else "SIGINT") + ": no new trials; those that are running have" in said


def test_a_lone_rank_leaves_its_trial_at_the_deadline(tmp_path: Path) -> None:
    spec = project(tmp_path, SLOW, 100.0, walltime="4s")
    done = mpiens(0, "run", spec, "--progress", "off")
    assert done.returncode == 75, done.stdout + done.stderr
    assert "small: stopped: walltime" in done.stdout
    assert finished(tmp_path) == 0


SOFT = """
import time

def simulate(trial):
    end_s = time.monotonic() + trial.params["pause_s"]
    asked = 0
    while time.monotonic() < end_s:
        asked += 1
        if trial.should_stop():
            return {"loss": 1.0, "asked": asked}
        time.sleep(0.01)
    return {"loss": 0.0, "asked": asked}
"""


@pytest.mark.mpi
@pytest.mark.parametrize(("ranks", "size"), [(0, 1), (3, 1), (3, 2)])
def test_trials_that_ask_stop_before_their_time_is_up(ranks: int, size: int, tmp_path: Path) -> None:
    spec = project(tmp_path, SOFT, 100.0, size, trial_timeout=1, max_attempts=1)
    completed(ranks, "run", spec, "--set", "space={x: [0, 1]}", "--progress", "off")
    found = trials(tmp_path / "small.run")
    assert found["loss"].tolist() == [1.0, 1.0]
    assert (found["asked"] > 10).all()


@pytest.mark.mpi
def test_trials_that_ask_stop_towards_the_end_of_the_drain(tmp_path: Path) -> None:
    spec = project(tmp_path, SOFT, 100.0, 2, drain=3)
    with running(tmp_path, 5, spec, 2) as job:
        job.send_signal(signal.SIGUSR1)
        assert job.wait(30) == 75
    assert finished(tmp_path) == 2


def test_a_lone_rank_that_asks_stops_at_the_second_signal(tmp_path: Path) -> None:
    spec = project(tmp_path, SOFT, 100.0)
    with running(tmp_path, 0, spec) as job:
        job.send_signal(signal.SIGUSR1)
        wait_for(tmp_path, job, lambda path: "another signal stops at once" in (path / "said").read_text())
        job.send_signal(signal.SIGTERM)
        assert job.wait(30) == 75
    assert finished(tmp_path) == 0


ALONE = """
def simulate(trial):
    how, rank = trial.params["how"], trial.comm.rank
    if (how == "root" and rank == 0) or (how == "member" and rank == 1) or how == "both":
        trial.should_stop()
    if how == "root waits" and rank == 0:
        trial.should_stop()
        trial.comm.barrier()
    if how == "root waits" and rank == 1:
        trial.comm.barrier()
        trial.should_stop()
    return {"loss": 0.0}
"""


@pytest.mark.mpi
def test_one_rank_that_asks_alone_fails_the_trial_and_hangs_nobody(tmp_path: Path) -> None:
    spec = write_project(
        tmp_path,
        ALONE,
        space={"how": ["both", "root", "both", "member", "both"]},
        groups={"size": 2},
        limits={"max_attempts": 1, "group_timeout": 20},
    )
    said = completed(3, "run", spec, "--progress", "off")
    found = trials(tmp_path / "small.run")
    assert found["state"].tolist() == [1, 3, 1, 3, 1]
    assert "member 1 of the group has ended its part of the trial without trial.should_stop()" in said
    assert "the group's root has ended its part of the trial without trial.should_stop()" in said


@pytest.mark.mpi
def test_the_walltime_ends_the_job_in_time_and_resume_completes_the_run(tmp_path: Path) -> None:
    spec = project(tmp_path, SLOW, 1.0, walltime="8s")
    began_s = time.monotonic()
    done = mpiens(3, "run", spec, "--progress", "off")
    assert done.returncode == 75, done.stdout + done.stderr
    assert time.monotonic() - began_s < 8 + 4
    assert "small: stopped: walltime" in done.stdout
    assert 0 < finished(tmp_path) < 12
    completed(3, "resume", tmp_path / "small.run", "--set", "limits.walltime=auto", "--progress", "off")
    assert trials(tmp_path / "small.run")["attempt"].tolist() == [1] * 12


@pytest.mark.mpi
def test_a_job_stops_before_the_deadline_that_slurm_names(tmp_path: Path) -> None:
    spec = project(tmp_path, SLOW, 0.5, drain="4s")
    now_s = int(time.time())
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_START_TIME": str(now_s - 3600), "SLURM_JOB_END_TIME": str(now_s + 8)}
    done = mpiens(0, "run", spec, "--progress", "off", env=slurm)
    assert done.returncode == 75, done.stdout + done.stderr
    assert time.time() < now_s + 9
    assert 0 < finished(tmp_path) < 12


def test_a_scheduler_that_does_not_answer_costs_a_warning(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'Invalid job id specified' >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    said = completed(0, "run", spec, "--progress", "off", env={"SLURM_JOB_ID": "7", "PATH": path})
    assert "limits.walltime: auto: `scontrol show job --oneliner 7` failed (status 1): Invalid job id" in said
