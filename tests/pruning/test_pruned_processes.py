"""Trials in processes of their own, and programs: they report, are judged, and are given up as trials in a rank are."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mpiens
from mpiens.errors import MpiensError, TrialError, TrialPruned, WaitTimeout
from mpiens.keeper.line import Line, ask
from mpiens.models.base import GroupContext, Trial
from mpiens.models.isolated import _judge
from mpiens.models.program_reports import ProgramReports
from mpiens.reports import Reports
from mpiens.runtime.fork_server import Judged
from project import completed, contents, trials, write_project

CURVES = """
import os, time
import mpiens

def simulate(trial):
    x = trial.params["x"]
    for step in range(1, 13):
        loss = (x - 0.3) ** 2 + 1.0 / step
        trial.report(loss, step)
        if trial.should_prune():
            raise mpiens.TrialPruned({"steps": step, "loss": loss})
    return {"loss": loss, "steps": step}
"""
SPACE = {"x": {"low": 0.0, "high": 1.0}}
SEARCH = {"algorithm": "random", "trials": 40, "batch": 8, "objectives": {"loss": "minimize"}, "pruner": "median"}
PROGRAM = """
import os, sys, time

x = float(sys.argv[1])
with open(os.environ["MPIENS_REPORTS"], "a") as reports:
    for step in range(1, 5):
        loss = (x - 0.3) ** 2 + 1.0 / step
        print(step, repr(loss), file=reports, flush=True)
    if x > 0.9:
        time.sleep(600)  # only the pruner can end it
print(loss)
"""


@pytest.mark.mpi
def test_in_processes_of_their_own_the_same_trials_are_pruned_at_the_same_steps(tmp_path: Path) -> None:
    spec = write_project(tmp_path, CURVES, space=SPACE, search=SEARCH)
    completed(0, "run", spec, "--output", tmp_path / "none")
    expected = contents(tmp_path / "none")
    assert "trials/reports/values" in expected
    for ranks in (0, 3):
        run_dir = tmp_path / f"process{ranks}"
        completed(ranks, "run", spec, "--set", "model.isolation=process", "--output", run_dir)
        assert contents(run_dir) == expected
    assert 5 < np.count_nonzero(trials(tmp_path / "none")["state"] == 2) < 40


@pytest.mark.mpi
def test_a_process_that_ends_or_hangs_while_it_is_judged_costs_its_own_trial(tmp_path: Path) -> None:
    code = """
    import os, signal, threading, time

    def simulate(trial):
        x = trial.params["x"]
        trial.report(x, 1)
        if x == 1:
            threading.Timer(0.05, os._exit, [7]).start()
            while True:
                trial.report(x, 1 + len(trial.reports))
                trial.should_prune()
        if x == 2:
            trial.should_prune()
            time.sleep(600)
        if x == 3:
            os.kill(os.getppid(), signal.SIGKILL)  # its keeper; mpiens notices before it answers, or after
            trial.should_prune()
            time.sleep(600)
        trial.should_prune()
        return {"loss": x}
    """
    spec = write_project(
        tmp_path,
        code,
        model={"python": "model.py:simulate", "isolation": "process"},
        space={"x": [0, 1, 2, 3, 4, 5]},
        search={"algorithm": "grid", "objectives": {"loss": "minimize"}, "pruner": {"name": "threshold", "upper": 10}},
        limits={"trial_timeout": 4, "max_attempts": 1},
    )
    completed(2, "run", spec)
    r = mpiens.open(tmp_path / "small.run")
    assert r.trials["state"].tolist() == ["COMPLETE", "FAIL", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    errors = r.trials["error"].tolist()
    assert errors[1] == "the trial's process: exit status 7"
    assert errors[2] == "timed out after 4 s (limits.trial_timeout)"
    assert errors[3].startswith("the process that looks after this rank's programs has ended")
    assert r.reports(2)[["step", "value"]].to_numpy().tolist() == [[1, 2.0]]


def test_a_failed_trial_keeps_what_it_has_reported(tmp_path: Path) -> None:
    code = """
    def simulate(trial):
        for step in range(1, 4):
            trial.report(trial.params["x"] / step, step)
        if trial.params["x"] == 2:
            raise ValueError("too large")
        return {"loss": float("nan") if trial.params["x"] == 3 else 1.0}
    """
    spec = write_project(tmp_path, code, space={"x": [1, 2, 3]}, limits={"max_attempts": 2})
    completed(0, "run", spec)
    completed(0, "run", spec, "--set", "model.isolation=process", "--output", tmp_path / "apart")
    assert contents(tmp_path / "small.run") == contents(tmp_path / "apart")
    r = mpiens.open(tmp_path / "small.run")
    assert r.trials["state"].tolist() == ["COMPLETE", "FAIL", "FAIL"]
    assert r.reports()["number"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert r.reports(1)["value"].tolist() == [2.0, 1.0, 2 / 3]
    # Also when the run goes on.
    completed(0, "run", spec, "--resume", "--set", "space.x=[1, 2, 3, 4]")
    assert len(mpiens.open(tmp_path / "small.run").reports()) == 12


@pytest.mark.mpi
def test_a_program_is_ended_when_its_reports_are_given_up(tmp_path: Path) -> None:
    spec = write_project(
        tmp_path,
        model={"command": ["python", "solver.py", "{x}"]},
        space={"x": [0.3, 0.31, 0.32, 0.33, 0.34, 0.35, 0.95, 0.29]},
        search={"algorithm": "grid", "objectives": {"loss": "minimize"}, "batch": 6, "pruner": "median"},
    )
    (tmp_path / "solver.py").write_text(PROGRAM)
    for ranks, size in ((0, 1), (5, 2)):
        completed(ranks, "run", spec, "--set", f"groups.size={size}", "--output", tmp_path / f"on{ranks}")
    assert contents(tmp_path / "on0") == contents(tmp_path / "on5")
    r = mpiens.open(tmp_path / "on0")
    assert r.trials["state"].tolist()[:6] == ["COMPLETE"] * 6
    assert r.trials["state"].tolist()[6:] == ["PRUNED", "COMPLETE"]
    assert r.reports(0)["value"].tolist() == [1.0, 0.5, 1 / 3, 0.25]
    assert r.reports(6)["step"].tolist() == [1], "what comes after the one that was given up is dropped"


def test_lines_that_are_no_reports_fail_the_trial(tmp_path: Path) -> None:
    code = "import os\nopen(os.environ['MPIENS_REPORTS'], 'w').write('1 0.5\\n\\n2 low\\n')\nprint(1.0)\n"
    spec = write_project(tmp_path, model={"command": ["python", "solver.py"]}, limits={"max_attempts": 1})
    (tmp_path / "solver.py").write_text(code)
    completed(0, "run", spec, "--set", "space={x: [1]}")
    r = mpiens.open(tmp_path / "small.run")
    assert r.trials["error"].tolist() == ["mpiens-reports:3: expected a step and a value, found '2 low'"]
    assert r.reports()["value"].tolist() == [0.5]


def _trial(folder: Path, ask_prune: Any = None) -> Trial:
    context = GroupContext(SimpleNamespace(), 0, 0, folder)  # type: ignore[arg-type]
    return Trial(context, 0, 1, 1, {}, ask_prune=ask_prune)


def test_lines_are_judged_one_by_one_as_they_are_completed(tmp_path: Path) -> None:
    trial = _trial(tmp_path, lambda: trial.reports[-1][1] > 2)
    reports = ProgramReports(trial)
    assert not reports.look(), "there is no file yet"
    reports.path.write_text("1 1.0\n2 2")
    assert not reports.look()
    assert trial.reports == ((1, 1.0),)
    reports.path.write_text("1 1.0\n2 2.0\n3 3.0\n4 1.0\nnonsense\n")
    assert reports.look()
    assert trial.reports == ((1, 1.0), (2, 2.0), (3, 3.0))
    with pytest.raises(TrialPruned):
        reports.finish()
    again = ProgramReports(_trial(tmp_path))
    assert not again.look(), "what an earlier attempt has reported is gone"
    again.path.write_text("5 1.5")
    again.finish()
    for text, words in (("x 1\n", "found 'x 1'"), ("2 1\n1 1\n", "steps must grow")):
        wrong = ProgramReports(_trial(tmp_path))
        wrong.path.write_text(text)
        with pytest.raises(TrialError, match=words):
            wrong.finish()


def test_a_rank_that_cannot_answer_fails_the_trial_in_its_process(tmp_path: Path) -> None:
    def silent() -> bool:
        raise WaitTimeout(3, "waiting for the driver", 600.0)

    line = Line()
    reports = Reports()
    judged = Judged(reports, line.child_fd)
    assert not judged.ask(), "nothing was reported"
    reports.add(1.0, 1)
    trial = _trial(tmp_path, silent)

    def rank() -> None:
        while not (asked := line.asked()):
            line.pump()
        line.say(_judge(trial, asked[0]))

    thread = threading.Thread(target=rank)
    thread.start()
    with pytest.raises(MpiensError, match="rank 3: gave up after 600 s while waiting for the driver"):
        judged.ask()
    thread.join()
    assert trial.reports == ((1, 1.0),)
    with pytest.raises(TimeoutError):
        ask(line.child_fd, 1, timeout_s=0.01)
    line.close()
    reports.add(1.0, 2)
    with pytest.raises(MpiensError, match=r"trial.should_prune\(\): the rank does not answer"):
        judged.ask()
    os.close(line.child_fd)
