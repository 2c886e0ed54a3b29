"""limits.trial_timeout, from outside: models that hang in Python, asleep, in C with the lock held, and inside MPI."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from launch import run_ranks
from mpiens.messages import Assignment
from mpiens.watchdog import Watchdog, grace_s, killed, note_path, read_kills
from project import TIMEOUT_S, completed, trials, write_project

MODEL = """
import ctypes, time

def simulate(trial):
    how, rank = trial.params["how"], trial.comm.rank
    if how == "spins":
        while True:
            pass
    if how == "sleeps":
        time.sleep(1000)
    if how == "catches":
        while True:
            try:
                time.sleep(1000)
            except Exception:
                pass
    if how == "in C" and trial.attempt == 1:
        mutex = ctypes.create_string_buffer(64); [ctypes.PyDLL(None).pthread_mutex_lock(mutex) for _ in "ab"]
    if how == "in MPI" and trial.attempt == 1 and rank == 1:
        trial.comm.recv(source=0)
    return {"loss": 0.0}
"""

TIMED_OUT = "timed out after 0.5 s (limits.trial_timeout)"
KILLED = "timed out after 0.5 s and did not react, so that its rank was killed (limits.trial_timeout)"


def project(tmp_path: Path, *how: str, size: int = 1, max_attempts: int = 1) -> Path:
    return write_project(
        tmp_path,
        MODEL,
        space={"how": list(how)},
        groups={"size": size},
        limits={"trial_timeout": 0.5, "max_attempts": max_attempts, "group_timeout": 20},
    )


def test_a_rank_that_python_can_interrupt_lives_on(tmp_path: Path) -> None:
    spec = project(tmp_path, "ends", "spins", "sleeps", "catches", "ends")
    said = completed(0, "run", spec, "--progress", "off")
    assert f"3 x {TIMED_OUT}" in said
    found = trials(tmp_path / "small.run")
    assert found["state"].tolist() == [1, 3, 3, 3, 1]
    assert "line 10, in simulate" in (tmp_path / "small.run" / "run.log").read_text()


@pytest.mark.mpi
def test_the_members_of_a_group_time_out_alike(tmp_path: Path) -> None:
    spec = project(tmp_path, "ends", "spins", "ends", "sleeps", size=2)
    said = completed(3, "run", spec, "--progress", "off")
    assert "2 complete, 2 failed" in said
    assert f"2 x {TIMED_OUT}" in said
    assert not (tmp_path / "small.run" / "journal").exists()


@pytest.mark.mpi
@pytest.mark.parametrize(("how", "size"), [("in C", 1), ("in MPI", 2)])
def test_a_rank_that_does_not_react_is_killed_and_the_cause_is_kept(how: str, size: int, tmp_path: Path) -> None:
    spec = project(tmp_path, "ends", how, "ends", size=size)
    done = run_ranks(3, ["-m", "mpiens", "run", spec, "--progress", "off"], TIMEOUT_S)
    assert done.returncode != 0
    run_dir = tmp_path / "small.run"
    assert read_kills(run_dir) == {(1, 1): KILLED}
    log = (run_dir / "run.log").read_text()
    assert "Timeout (0:00:01" in log, log
    assert ("line 18 in simulate" if size == 1 else "line 20 in simulate") in log, log
    said = completed(3, "resume", run_dir, "--progress", "off")
    assert "2 complete, 1 failed" in said
    assert f"1 x {KILLED}" in said


PSOLVE = """
from neuron import h

def simulate(trial):
    cell = h.Section(name="cell")
    pc = h.ParallelContext()
    pc.set_maxstep(10)
    h.finitialize(-65)
    pc.psolve(1e9 if trial.params["how"] == "hangs" else 1)
    return {"loss": 0.0}
"""


@pytest.mark.mpi
@pytest.mark.neuron
def test_a_simulation_inside_neuron_is_killed_though_neuron_stops_the_timer_of_the_process(tmp_path: Path) -> None:
    limits = {"trial_timeout": 1, "max_attempts": 1}
    spec = write_project(tmp_path, PSOLVE, space={"how": ["ends", "hangs"]}, limits=limits)
    assert run_ranks(2, ["-m", "mpiens", "run", spec, "--progress", "off"], TIMEOUT_S).returncode != 0
    said = completed(2, "resume", tmp_path / "small.run", "--progress", "off")
    assert f"1 x {KILLED.replace('0.5 s', '1 s')}" in said


def test_the_time_between_exception_and_kill() -> None:
    assert [grace_s(limit_s) for limit_s in (0.5, 10.0, 30.0, 3600.0)] == [1.0, 1.0, 3.0, 5.0]


def test_damaged_notes_say_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    for rank, content in enumerate(
        [
            b"",
            b"\xff" * 300,
            b"{}".ljust(400),
            b'{"trial": "x"}'.ljust(400),
            b"[1]".ljust(200),
            b'{"trial": 1e999, "attempt": 1, "limit_s": 1.0}'.ljust(400),
        ]
    ):
        (folder / f"rank-{rank}.note").write_bytes(content)
    assert read_kills(tmp_path) == {}


def test_the_last_word_of_a_trial_that_lived_on_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    watchdog = Watchdog(60.0, note_path(tmp_path, 0))
    try:
        with watchdog.limited(Assignment(1, 1, {})):
            os.kill(os.getpid(), signal.SIGRTMAX)  # as the timer does just before the kill
            assert read_kills(tmp_path) == {(1, 1): killed(60.0)}
        with watchdog.limited(Assignment(2, 1, {})):
            assert read_kills(tmp_path) == {}
            os.kill(os.getpid(), signal.SIGRTMAX)
            assert read_kills(tmp_path) == {(2, 1): killed(60.0)}
    finally:
        watchdog.close()
