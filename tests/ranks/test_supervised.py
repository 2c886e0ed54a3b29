"""Supervised runs of which ranks, the driver or the launcher are killed. Without fault tolerance of MPI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import environment, kill_group, launcher, run_ranks
from project import completed, mpiens, trials, write_project
from supervision import left_behind, supervise

KILLER = """
import ctypes, json, os, pathlib, signal, time
import psutil

HERE = pathlib.Path(__file__).parent

def once(name):
    try:
        (HERE / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def simulate(trial):
    x, who = trial.params["x"], trial.params["who"]
    time.sleep(0.01)
    if x == 2 and who == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if x == 2 and who == "segfault":
        ctypes.string_at(0)
    if x == 3 and who == "driver" and once("driver"):
        os.kill(json.loads((HERE / "small.run/status.json").read_text())["pid"], signal.SIGKILL)
        time.sleep(1000)
    if x == 3 and who == "launcher" and once("launcher"):
        above = psutil.Process().parents()
        next(p for p in above if p.name() in ("mpiexec", "prterun")).kill()
        time.sleep(1000)
    return {"loss": float(x)}
"""
SPACE = {"x": {"range": [0, 8, 1]}, "who": "nobody"}


def project(folder: Path, who: object, **changes: object) -> Path:
    return write_project(folder, KILLER, space={**SPACE, "who": who}, limits={"max_attempts": 2}, **changes)


@pytest.mark.mpi
def test_a_point_that_kills_fails_and_all_others_complete(tmp_path: Path) -> None:
    spec = project(tmp_path, ["sigkill", "segfault"])
    done = supervise(4, "run", spec)
    assert done.returncode == 0, done.stdout + done.stderr
    found = trials(tmp_path / "small.run")
    failed = found["state"] == 3
    assert [(x, who.decode()) for x, who in zip(found["x"][failed], found["who"][failed], strict=True)] == [
        (2, "sigkill"),
        (2, "segfault"),
    ]
    assert found["state"][~failed].tolist() == [1] * 14
    # Those that ran beside it do not pay for it.
    assert found["attempt"].tolist() == [2 if bad else 1 for bad in failed]
    causes = [text.decode() for text in found["error"][failed]]
    assert "in every one of 2 attempts; at last rank" in causes[0]
    assert "SIGKILL" in causes[0]
    assert "SIGSEGV" in causes[1]
    assert "was killed by SIGKILL in trial 4" in done.stderr
    assert 2 <= done.stderr.count("going on with the run, restart") <= 4  # both may kill at once
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "small.run/journal").exists()


@pytest.mark.mpi
@pytest.mark.parametrize("who", ["driver", "launcher"])
def test_the_run_goes_on_when_its_driver_or_launcher_is_killed(who: str, tmp_path: Path) -> None:
    spec = project(tmp_path, who)
    done = supervise(3, "run", spec)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / who).exists()
    assert done.stderr.count("going on with the run, restart 1 of at most 100") == 1, done.stderr
    assert trials(tmp_path / "small.run")["state"].tolist() == [1] * 8
    assert left_behind(tmp_path) == []


def test_the_one_rank_without_a_launcher(tmp_path: Path) -> None:
    spec = project(tmp_path, "segfault")
    done = supervise(0, "run", spec)
    assert done.returncode == 0, done.stdout + done.stderr
    found = trials(tmp_path / "small.run")
    assert found["state"].tolist() == [1, 1, 3, 1, 1, 1, 1, 1]
    assert b"SIGSEGV" in found["error"][2]


def test_without_progress_it_is_given_up(tmp_path: Path) -> None:
    spec = write_project(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    done = supervise(0, "run", spec)
    assert done.returncode == 1
    assert "3 starts in a row have achieved nothing" in done.stderr
    assert done.stderr.count("\n") == 3


DRIVER_KILLER = """
import json, os, pathlib, signal, time

HERE = pathlib.Path(__file__).parent

def simulate(trial):
    time.sleep(0.1)
    if trial.number % 2 == 1 and not (HERE / str(trial.number)).exists():
        (HERE / str(trial.number)).touch()
        os.kill(json.loads((HERE / "small.run/status.json").read_text())["pid"], signal.SIGKILL)
        time.sleep(1000)
    return {"loss": 0.0}
"""


@pytest.mark.mpi
def test_results_within_a_generation_are_progress(tmp_path: Path) -> None:
    search = {"algorithm": "random", "trials": 8, "batch": 8, "objectives": {"loss": "minimize"}}
    spec = write_project(tmp_path, DRIVER_KILLER, space={"x": {"low": 0.0, "high": 1.0}}, search=search)
    done = supervise(2, "run", spec)
    assert done.returncode == 0, done.stderr
    assert "restart 4 of at most 100" in done.stderr
    found = trials(tmp_path / "small.run")
    assert (found["state"].tolist(), found["attempt"].tolist()) == ([1] * 8, [1] * 8)


def test_at_most_so_many_restarts(tmp_path: Path) -> None:
    spec = project(tmp_path, ["sigkill", "segfault"])
    done = supervise(0, "run", spec, options=("--max-restarts", "1"))
    assert done.returncode == 1
    assert "restart 1 of at most 1, so it is given up" in done.stderr
    # What is there is kept.
    assert supervise(0, "resume", tmp_path / "small.run").returncode == 0
    assert trials(tmp_path / "small.run")["state"].tolist().count(1) == 14


@pytest.mark.mpi
def test_what_cannot_start_is_not_started_again(tmp_path: Path) -> None:
    spec = project(tmp_path, "nobody", groups={"size": 4})
    done = supervise(3, "run", spec)
    assert done.returncode == 2
    assert "groups.size: 4 needs at least 5 ranks" in done.stderr
    assert "restart" not in done.stderr
    for words, text in (
        (("run", tmp_path / "no.yaml"), "no such file"),
        (("run", spec, "--progrss"), "--progress"),
        (("status", spec), "expected a command with `mpiens run`"),
        (("resume", tmp_path / "no.run"), "no such run"),
    ):
        refused = supervise(0, *words)
        assert refused.returncode == 2
        assert text in refused.stderr


def test_a_complete_run_is_left_alone(tmp_path: Path) -> None:
    spec = project(tmp_path, "nobody")
    assert supervise(0, "run", spec).returncode == 0
    done = supervise(0, "run", spec, "--resume")
    assert done.returncode == 0
    assert "complete already" in done.stdout
    assert supervise(0, "run", spec).returncode == 2
    assert supervise(0, "run", spec, "--overwrite").returncode == 0


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [1, 3])
def test_launch(ranks: int, tmp_path: Path) -> None:
    spec = project(tmp_path, "nobody")
    words = ["launch", "-n", str(ranks), spec, "--set", "search.repeats=2", "--progress", "off"]
    shown = completed(0, *words, "--print").split()
    assert shown[0] == str(launcher.find_mpiexec())
    assert ("ulfm" in shown) == launcher.is_open_mpi(Path(shown[0]))
    assert shown[-5:] == [str(spec), "--set", "search.repeats=2", "--progress", "off"]
    assert "small: complete" in completed(0, *words)
    assert trials(tmp_path / "small.run")["state"].tolist() == [1] * 16


def test_launch_takes_what_run_takes() -> None:
    said = completed(0, "launch", "--help")
    for option in ("--overwrite", "--resume", "--force", "--set", "--progress", "--output", "--max-restarts"):
        assert option in said


WAITING = """
import pathlib, time

def simulate(trial):
    while not (pathlib.Path(__file__).parent / "go").exists():
        time.sleep(0.01)
    return {"loss": 0.0}
"""


def test_one_run_per_directory(tmp_path: Path) -> None:
    spec = write_project(tmp_path, WAITING)
    run_dir = tmp_path / "small.run"
    first = subprocess.Popen(
        [sys.executable, "-m", "mpiens", "run", str(spec), "--progress", "off"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        end_s = time.monotonic() + 60
        while not (run_dir / "status.json").exists():
            assert time.monotonic() < end_s
            time.sleep(0.05)
        pid = json.loads((run_dir / "status.json").read_text())["pid"]
        assert pid == first.pid
        for flag in ("--resume", "--overwrite"):
            (run_dir / "status.json").unlink(missing_ok=True)  # what is left is the lock
            done = mpiens(0, "run", spec, flag, "--progress", "off")
            assert done.returncode == 2
            assert f"a run is going on there (process {pid} on" in done.stderr
        os.kill(first.pid, signal.SIGKILL)
        first.wait(30)
        (tmp_path / "go").touch()
        assert "complete" in completed(0, "resume", run_dir, "--progress", "off")
    finally:
        kill_group(first)
    assert not (run_dir / "run.lock").exists()


@pytest.mark.mpi
def test_supervise_stands_around_mpiexec(tmp_path: Path) -> None:
    spec = project(tmp_path, "nobody")
    argv = ["-m", "mpiens", "supervise", "--", sys.executable, "-m", "mpiens", "run", spec]
    done = run_ranks(2, argv, 60.0)
    assert done.returncode == 2
    assert "stands around mpiexec" in done.stderr


def test_a_command_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    done = mpiens(0, "supervise", "--", "nosuchcmd", "mpiens", "run", project(tmp_path, "nobody"))
    assert done.returncode == 2
    assert "nosuchcmd: cannot be started: No such file" in done.stderr


@pytest.mark.mpi
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_a_supervised_run_in_order(name: str, tmp_path: Path) -> None:
    spec = write_project(tmp_path, WAITING)
    run_dir = tmp_path / "small.run"
    log = tmp_path / "log"
    with log.open("w") as out:
        job = subprocess.Popen(
            [sys.executable, "-m", "mpiens", "launch", "-n", "2", str(spec), "--progress", "off"],
            env=environment(),
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        end_s = time.monotonic() + 60
        while (
            not (run_dir / "status.json").exists() or not json.loads((run_dir / "status.json").read_text())["running"]
        ):
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.05)
        job.send_signal(signal.Signals[name])
        time.sleep(0.5)  # the running trial is waited for
        assert job.poll() is None
        (tmp_path / "go").touch()
        assert job.wait(60) == 75, log.read_text()
    finally:
        kill_group(job)
        job.wait()
    said = log.read_text()
    assert "Traceback" not in said
    told = {"SIGTERM": "SIGTERM", "SIGINT": "Ctrl-C"}[name]
    assert f"{told}: no new trials" in said
    assert f"small: stopped: {told}" in said
    assert "restart" not in said
    assert left_behind(tmp_path) == []
    assert "small: complete" in completed(0, "resume", run_dir, "--progress", "off")
