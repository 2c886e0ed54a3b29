"""Runs that go on: with other ranks, from another place, with a changed spec, after a point that kills."""

from __future__ import annotations

import shlex
import shutil
import signal
from pathlib import Path

import pytest

from launch import run_ranks
from project import TIMEOUT_S, completed, contents, mpiens, write_project
from resume.interrupted import interrupted, whole

RANDOM = {"algorithm": "random", "trials": 10, "objectives": {"loss": "minimize"}}
SPACE = {"x": {"low": 0.0, "high": 1.0}, "y": [1, 2]}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project, its killed run, and the whole one."""
    folder = tmp_path_factory.mktemp("project")
    interrupted(folder)
    whole(folder)
    return folder


@pytest.mark.mpi
def test_other_ranks_and_groups_give_the_same_results(killed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    shutil.copytree(killed / "killed", run_dir)
    said = completed(5, "resume", run_dir / "checkpoint.h5", "--set", "groups.size=2", "--progress", "plain")
    assert "2 groups of 2 ranks" in said
    assert "going on after" in said
    assert contents(run_dir) == contents(killed / "whole")


def test_a_project_that_was_moved_goes_on(killed: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(killed, moved)
    with (moved / "model.py").open("a") as model:
        model.write("\nprint('the copy')\n")
    said = completed(0, "resume", moved / "killed", "--progress", "off")
    assert "the model has changed since the run was last started: model.py; trials that are finished keep" in said
    assert contents(moved / "killed") == contents(killed / "whole")
    assert "the copy" in (moved / "killed" / "run.log").read_text(), "the model beside the moved spec is used"


def test_without_its_spec_a_run_says_what_to_do(tmp_path: Path) -> None:
    spec, run_dir = interrupted(tmp_path)
    spec.rename(tmp_path / "other.yaml")
    done = mpiens(0, "resume", run_dir)
    assert done.returncode == 2
    assert str(spec) in done.stderr
    assert f"mpiens run SPEC --resume --output {run_dir}" in done.stderr
    completed(0, "run", tmp_path / "other.yaml", "--resume", "--output", run_dir, "--progress", "off")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("seed=2", ["seed: 1 -> 2"]),
        ("space.x.high=2.0", ["space.x.high: 1.0 -> 2.0"]),
        ("search.batch=0", ["search.batch: 6 -> 0"]),
        ("search.algorithm=random", ["search.algorithm: 'tpe' -> 'random'"]),
        ("model.fixed.z=1", ["model.fixed.z: (absent) -> 1"]),
        ("search.trials=5", ["trials already", "search.trials"]),
        ("search.objectives={x: minimize}", ["search.objectives", "start a new run"]),
    ],
)
def test_a_change_that_decides_about_results_is_refused(change: str, words: list[str], killed: Path) -> None:
    done = mpiens(0, "resume", killed / "killed", "--set", change)
    assert done.returncode == 2, done.stdout
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("change", ["search.trials=5", "seed=2", "space.x.high=2.0"])
def test_a_refused_change_leaves_a_complete_run_as_it_was(change: str, killed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    shutil.copytree(killed / "killed", run_dir)
    completed(0, "resume", run_dir, "--progress", "off")
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert mpiens(0, "resume", run_dir, "--set", change).returncode == 2
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before
    assert "complete already" in completed(0, "resume", run_dir)


def test_without_a_checkpoint_the_command_is_named_that_goes_on(killed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    shutil.copytree(killed / "killed", run_dir)
    completed(0, "resume", run_dir, "--set", "limits.max_attempts=2", "--progress", "off")
    for path in run_dir.glob("checkpoint*"):
        path.unlink()
    done = mpiens(0, "resume", run_dir)
    assert done.returncode == 2
    command = shlex.split(done.stderr.partition("give the spec: mpiens ")[2])
    assert command[:1] + command[-2:] == ["run", "--set", "limits.max_attempts=2"]
    assert "48 complete" in completed(0, *command, "--progress", "off")


def test_what_is_edited_in_the_spec_holds_or_is_refused(killed: Path, tmp_path: Path) -> None:
    moved = tmp_path / "project"
    shutil.copytree(killed, moved)
    spec, run_dir = moved / "spec.yaml", moved / "killed"
    text = spec.read_text()
    spec.write_text(text.replace("high: 1.0", "high: 2.0"))
    done = mpiens(0, "resume", run_dir)
    assert done.returncode == 2, done.stdout
    assert "space.x.high: 1.0 -> 2.0" in done.stderr
    spec.write_text(text.replace("trials: 48", "trials: 54"))
    said = completed(0, "resume", run_dir, "--set", "limits.max_attempts=2", "--progress", "off")
    assert f"{spec} has been edited since" in said
    assert "search.trials: 48 -> 54" in said
    assert "max_attempts" not in said, "that was said on the command line"
    assert "54 complete" in said
    said = completed(0, "resume", run_dir, "--set", "search.trials=60", "--progress", "off")
    assert "has been edited" not in said
    assert "the model has changed" not in said
    assert (
        "settings of earlier commands hold on: checkpoint.every=1h, limits.max_attempts=2; they are in origin.yaml"
        in said
    )
    origin = (run_dir / "origin.yaml").read_text()
    assert "limits.max_attempts=2" in origin, "settings hold for later"
    assert "search.trials=60" in origin


@pytest.mark.parametrize("change", ["space.x.high=0.5", "search.algorithm=random", "space.kind=[[1, 2]]"])
def test_force_goes_on_all_the_same(change: str, killed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    shutil.copytree(killed / "killed", run_dir)
    said = completed(0, "resume", run_dir, "--set", change, "--force", "--progress", "off")
    assert "the spec has changed" in said
    assert "48 complete" in said


def test_a_complete_run_says_so_and_more_trials_go_on(tmp_path: Path) -> None:
    spec = write_project(tmp_path, space=SPACE, search=RANDOM)
    completed(0, "run", spec)
    run_dir = tmp_path / "small.run"
    before = (run_dir / "results.h5").read_bytes()
    said = completed(0, "resume", run_dir)
    assert "complete already, all 10 trials" in said
    assert (run_dir / "results.h5").read_bytes() == before
    said = completed(0, "resume", run_dir, "--set", "groups.size=7")
    assert "nothing to do" in said, "whatever the ranks"
    assert "going on after 10 finished trials" in completed(0, "run", spec, "--resume", "--set", "search.trials=15")
    completed(0, "run", spec, "--set", "search.trials=15", "--output", tmp_path / "at-once")
    assert contents(run_dir) == contents(tmp_path / "at-once")
    assert {path.name for path in run_dir.iterdir()} == {
        *("results.h5", "status.json", "run.log", "checkpoint.h5", "checkpoint.previous.h5", "origin.yaml"),
        "results.h5.sums",
    }


def test_resume_begins_where_there_is_no_run(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    assert "small: complete" in completed(0, "run", spec, "--resume")
    done = mpiens(0, "resume", tmp_path / "none.run")
    assert (done.returncode, "no such run" in done.stderr) == (2, True)


POISON = """
import os, signal

def simulate(trial):
    if trial.number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"loss": trial.params["x"] + trial.params["y"]}
"""


def test_a_point_that_kills_fails_in_the_end_and_the_rest_completes(tmp_path: Path) -> None:
    spec = write_project(tmp_path, POISON, limits={"max_attempts": 2})
    command = ["-m", "mpiens", "run", spec, "--resume", "--progress", "off"]
    # Short trials are queued ahead: the first time the blame may fall on the one before.
    for _life in range(4):
        done = run_ranks(0, command, TIMEOUT_S)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    said = done.stdout
    assert "5 complete, 1 failed" in said
    assert "the run was killed in the midst of it, in every one of 2 attempts" in said


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_a_run_directory_that_vanishes_ends_the_run_with_a_word(ranks: int, tmp_path: Path) -> None:
    model = f"""
    import shutil, time

    def simulate(trial):
        if trial.number == 5:
            shutil.rmtree({str(tmp_path / "gone")!r})
        time.sleep(0.02)
        return {{"loss": trial.params["x"]}}
    """
    search = {**RANDOM, "trials": 400}
    spec = write_project(tmp_path, model, space=SPACE, search=search, checkpoint={"every": "0.1s"})
    done = mpiens(ranks, "run", spec, "--output", tmp_path / "gone", "--progress", "off")
    assert done.returncode == 1, done.stdout + done.stderr
    assert str(tmp_path / "gone") in done.stderr
    assert "moved or deleted" in done.stderr
