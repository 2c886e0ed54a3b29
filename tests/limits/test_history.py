"""Every attempt that has failed is kept with its trial, shown, and survives restarts."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import h5py
import pytest

import mpiens
from launch import run_ranks
from project import TIMEOUT_S, completed, trials, write_project

MODEL = """
import os, signal, sys, time

def simulate(trial):
    time.sleep(0.06)  # longer than trials that are queued ahead, so that it is known which one ends the process
    how, attempt = trial.params["how"], trial.attempt
    if how == "raises" and attempt == 1:
        raise ValueError("dt too large")
    if how == "exits":
        sys.exit("no licence")
    if how == "nan":
        return {"loss": float("nan")}
    if how == "nothing":
        return {"other": 1.0}
    if how == "killed" and attempt < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"loss": 0.0}
"""


def project(tmp_path: Path, *how: str) -> Path:
    return write_project(tmp_path, MODEL, space={"how": list(how)}, limits={"max_attempts": 3})


def test_each_failed_attempt_is_kept_with_its_cause(tmp_path: Path) -> None:
    spec = project(tmp_path, "ends", "raises", "exits", "nan", "nothing")
    said = completed(0, "run", spec, "--progress", "off")
    run_dir = tmp_path / "small.run"
    assert trials(run_dir)["state"].tolist() == [1, 1, 3, 3, 3]
    assert "2 complete, 3 failed, 3 retries" in said
    assert "  failures  1 x model.py:10: SystemExit: no licence" in said
    assert "  repeated  2 x model.py:10: SystemExit: no licence\n            1 x model.py:8: ValueError: dt" in said
    with h5py.File(run_dir / "results.h5") as file:
        histories = file["trials/history"].asstr()[()].tolist()
    assert [len(history.splitlines()) for history in histories] == [0, 1, 3, 1, 1]
    first = json.loads(histories[1])
    assert (first["attempt"], first["group"], first["error"]) == (1, 0, "model.py:8: ValueError: dt too large")
    assert first["started_s"] > 1e9
    assert 0 <= first["elapsed_s"] < 60
    with mpiens.open(run_dir) as results:
        attempts = results.attempts
        assert "history" not in results.trials
    assert attempts["number"].tolist() == [1, 2, 2, 2, 3, 4]
    assert attempts["attempt"].tolist() == [1, 1, 2, 3, 1, 1]
    assert "objective 'loss' is not finite: nan" in attempts["error"].tolist()


def test_attempts_that_ended_with_their_process_are_kept_too(tmp_path: Path) -> None:
    spec = project(tmp_path, "ends", "raises", "killed", "ends")
    lives = [run_ranks(0, ["-m", "mpiens", "run", spec, "--resume", "--progress", "off"], TIMEOUT_S) for _ in range(3)]
    assert [life.returncode for life in lives] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    killed = "the run was killed in the midst of it"
    assert f"2 x {killed}" in lives[-1].stdout
    with mpiens.open(tmp_path / "small.run") as results:
        attempts = results.attempts
    assert attempts["number"].tolist() == [1, 2, 2]
    assert attempts["error"].tolist() == ["model.py:8: ValueError: dt too large", killed, killed]
    assert attempts["elapsed_s"].isna().tolist() == [False, True, True]


MEMBERS = """
import sys
from mpiens.errors import TrialError

def simulate(trial):
    how, rank = trial.params["how"], trial.comm.rank
    if rank == 1:
        if how == "exits":
            sys.exit(3)
        if how == "for good":
            raise TrialError("these parameters give no network")
    return {"loss": 0.0}
"""


@pytest.mark.mpi
def test_a_member_that_exits_fails_the_trial_and_what_cannot_pass_is_not_repeated(tmp_path: Path) -> None:
    spec = write_project(
        tmp_path,
        MEMBERS,
        space={"how": ["ends", "exits", "for good"]},
        groups={"size": 2},
        limits={"max_attempts": 2, "group_timeout": 20},
    )
    said = completed(3, "run", spec, "--progress", "off")
    assert "rank 2: these parameters give no network" in said
    found = trials(tmp_path / "small.run")
    assert found["attempt"].tolist() == [1, 2, 1]
    assert b"model.py:9: SystemExit: 3" in found["error"][1]


NEURON = """
from neuron import h

def simulate(trial):
    how, rank = trial.params["how"], trial.comm.rank
    if how == "hoc error" and rank == 1:
        h("no_such_function(1)") or h.no_such_function(1)
    if how == "quits":
        h.quit()
    return {"loss": 0.0}
"""


@pytest.mark.mpi
@pytest.mark.neuron
def test_a_hoc_error_or_quit_ends_neither_rank_nor_job(tmp_path: Path) -> None:
    spec = write_project(
        tmp_path,
        NEURON,
        space={"how": ["ends", "hoc error", "quits", "ends"]},
        groups={"size": 2},
        limits={"max_attempts": 1, "group_timeout": 20},
    )
    said = completed(3, "run", spec, "--progress", "off")
    assert "2 complete, 2 failed" in said
    assert trials(tmp_path / "small.run")["state"].tolist() == [1, 3, 3, 1]
