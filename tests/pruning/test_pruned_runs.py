"""Runs whose trials report and are pruned, as users start them."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpiens
from launch import run_ranks
from mpiens.errors import SpecError
from mpiens.runtime.order import Order
from mpiens.runtime.prepare import make_pruner, read_spec
from project import TIMEOUT_S, completed, contents, trials, write_project

CURVES = """
import os, pathlib, signal
import mpiens

def simulate(trial):
    x = trial.params["x"]
    for step in range(1, 13):
        loss = (x - 0.3) ** 2 + 1.0 / step
        trial.report(loss, step)
        if trial.number == 33 and step == 1 and os.environ.get("KILL_AT_33"):
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.should_prune():
            raise mpiens.TrialPruned({"steps": step, "loss": loss})
    return {"loss": loss, "steps": step}
"""
SPACE = {"x": {"low": 0.0, "high": 1.0}}
SEARCH = {"algorithm": "random", "trials": 48, "batch": 8, "objectives": {"loss": "minimize"}}
HYPERBAND = {"algorithm": "bohb"}
MEDIAN = {"pruner": "median"}


def spec_of(folder: Path, **search: Any) -> Path:
    return write_project(folder, CURVES, space=SPACE, search={**SEARCH, **search}, checkpoint={"every": "0.3s"})


def refusal(spec: Path, *overrides: str) -> str:
    """What is said of this spec before anything runs."""
    with pytest.raises(SpecError) as caught:
        make_pruner(read_spec(Order(spec, overrides=overrides)))
    return str(caught.value)


@pytest.mark.mpi
@pytest.mark.parametrize("search", [MEDIAN, HYPERBAND], ids=["median", "bohb"])
def test_a_killed_run_goes_on_bit_for_bit_on_other_ranks_and_saves_steps(
    search: dict[str, Any], tmp_path: Path
) -> None:
    spec = spec_of(tmp_path, **search)
    completed(4, "run", spec, "--output", tmp_path / "whole", "--progress", "off")
    argv = ["-m", "mpiens", "run", spec, "--output", tmp_path / "killed", "--progress", "off"]
    done = run_ranks(0, argv, TIMEOUT_S, env={"KILL_AT_33": "1"})
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    completed(5, "resume", tmp_path / "killed", "--set", "groups.size=2", "--progress", "off")
    expected = contents(tmp_path / "whole")
    assert contents(tmp_path / "killed") == expected
    assert {"trials/reports/values", "trials/reports/offsets"} <= expected.keys()
    table = trials(tmp_path / "whole")
    assert 0 < np.count_nonzero(table["state"] == 2) < 48
    assert table["steps"].sum() < 0.75 * 48 * 12
    # What all of these points would have come to, had none been pruned.
    assert np.nanmin(table["loss"]) == ((table["x"] - 0.3) ** 2 + 1 / 12).min()


def test_a_run_that_goes_on_knows_what_was_reported_before(tmp_path: Path) -> None:
    search = {"algorithm": "grid", "objectives": {"loss": "minimize"}, "pruner": "median"}
    good = [0.3, 0.31, 0.32, 0.33, 0.34, 0.35]
    spec = write_project(tmp_path, CURVES, space={"x": good}, search=search)
    completed(0, "run", spec)
    completed(0, "run", spec, "--resume", "--set", f"space.x={[*good, 0.9, 0.29]}")
    r = mpiens.open(tmp_path / "small.run")
    assert r.trials["state"].tolist()[6:] == ["PRUNED", "COMPLETE"], "alone they would have too few to compare with"
    assert r.reports(6)["step"].tolist() == [1]


OWN = """
class Behind:
    def __init__(self, direction, by=1.0):
        self.by = by
        assert direction == "minimize"

    def should_prune(self, reports, others):
        step, value = reports[-1]
        known = [dict(other.reports)[step] for other in others if step in dict(other.reports)]
        return bool(known) and value > min(known) + self.by

class Other:
    pass
"""


def test_a_pruner_of_ones_own_is_shown_what_others_reported(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, pruner={"name": "own.py:Behind", "by": 0.1})
    (tmp_path / "own.py").write_text(OWN)
    completed(0, "run", spec)
    table = trials(tmp_path / "small.run")
    distance = (table["x"] - 0.3) ** 2
    for first in range(0, 48, 8):
        # A generation is compared with those before it, and with nothing of its own.
        limit = distance[:first].min() + 0.1 if first else np.inf
        assert (table["state"][first : first + 8] == np.where(distance[first : first + 8] > limit, 2, 1)).all()
    for change, words in (
        ("{name: own.py:Behind, bye: 1}", "search.pruner.bye: own.py:Behind has no such option; did you mean 'by'?"),
        ("own.py:Behnd", "search.pruner: own.py has no 'Behnd'; did you mean 'Behind'?"),
        ("own.py:Other", "search.pruner: own.py:Other has no method 'should_prune'"),
        ("{name: patient, patience: 1, wrapped_pruner: own.py:Behind}", "search.pruner.wrapped_pruner: unknown"),
    ):
        assert words in refusal(spec, f"search.pruner={change}")


NOTES = """
import json, os

class Notes:
    def __init__(self, space, seed):
        self.points = [{"x": x} for x in (0.3, 0.31, 0.32, 0.33, 0.34, 0.35, 0.9, 0.36)]

    def ask(self, n):
        given, self.points = self.points[:n], self.points[n:]
        return given

    def tell(self, trials):
        with open(os.environ["NOTES"], "a") as file:
            for trial in trials:
                print(json.dumps([trial.number, trial.state, trial.values, len(trial.reports)]), file=file)
"""


def test_a_point_of_which_one_repeat_is_pruned_is_told_as_pruned(tmp_path: Path) -> None:
    code = """
    import mpiens
    def simulate(trial):
        loss = trial.params["x"] + (trial.params["x"] > 0.8 and trial.number % 2)
        trial.report(loss, 1)
        if trial.should_prune():
            raise mpiens.TrialPruned
        return {"loss": loss}
    """
    search = {"algorithm": "notes.py:Notes", "trials": 16, "repeats": 2, "objectives": {"loss": "minimize"}}
    pruner = {"name": "threshold", "upper": 1.5}
    spec = write_project(tmp_path, code, space=SPACE, search=search | {"pruner": pruner})
    (tmp_path / "notes.py").write_text(NOTES)
    completed(0, "run", spec, env={"NOTES": str(tmp_path / "notes")})
    assert mpiens.open(tmp_path / "small.run").trials["state"].tolist()[12:14] == ["COMPLETE", "PRUNED"]
    told = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert told[6] == [6, "PRUNED", [], 1], "not 0.9, the mean of the repeat that was not pruned"
    assert told[7] == [7, "COMPLETE", [0.36], 0]


GROUPS = """
import mpiens

def simulate(trial):
    mode, rank = trial.params["mode"], trial.comm.rank
    for step in range(4):
        trial.report((50.0 if mode == "good" else 200.0 + step) if rank == 0 else -1.0, step)
        if mode == "left out" and rank == 1:
            return None
        answer = trial.should_prune()
        answers = trial.comm.allgather(answer)
        assert len(set(answers)) == 1, answers
        if answer and mode == "pruned":
            raise mpiens.TrialPruned({"rate": 7.5, "loss": 3.0})
    return {"loss": 1.0, "rate": float(step), "answers": answers}
"""


@pytest.mark.mpi
def test_all_ranks_of_a_group_get_the_same_answer_and_go_on_with_the_next_trial(tmp_path: Path) -> None:
    modes = ["good", "pruned", "stubborn", "left out", "pruned", "good"]
    spec = write_project(
        tmp_path,
        GROUPS,
        space={"mode": modes},
        search={
            "algorithm": "grid",
            "objectives": {"loss": "minimize"},
            "pruner": {"name": "threshold", "upper": 100.0, "n_warmup_steps": 1},
        },
        groups={"size": 3},
        limits={"group_timeout": "20s", "max_attempts": 1},
    )
    said = completed(4, "run", spec)
    assert "3 complete, 1 failed, 2 pruned" in said
    r = mpiens.open(tmp_path / "small.run")
    assert r.trials["state"].tolist() == ["COMPLETE", "PRUNED", "COMPLETE", "FAIL", "PRUNED", "COMPLETE"]
    assert np.isnan(r.trials["values_loss"].to_numpy(dtype=float)).tolist() == [False, True, False, True, True, False]
    assert "member 1 of the group has ended its part of the trial without trial.should_prune()" in r.trials["error"][3]
    assert r.names == ("rate", "answers"), "what a pruned trial has of an objective is not its value"
    assert r["rate"][[0, 1, 2]].tolist() == [3.0, 7.5, 3.0]
    assert r["answers"][[0, 2, 5]].tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert r.reports(1).to_numpy().tolist() == [[1, 0, 200.0], [1, 1, 201.0]]
    assert r.reports(2)["step"].tolist() == [0, 1, 2, 3], "what the root reports counts"
    assert r.reports(3).to_numpy().tolist() == [[3, 0, 200.0]], "of one that fails too"
    assert set(r.reports()["number"]) == set(range(6))
    assert re.search(r"\b2 pruned", completed(0, "status", tmp_path / "small.run"))
    completed(0, "export", tmp_path / "small.run", "--to", "optuna", tmp_path / "study.db")
    import optuna

    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert study.trials[1].state.name == "PRUNED"
    assert study.trials[1].intermediate_values == {0: 200.0, 1: 201.0}


def test_without_a_pruner_reports_are_kept_and_nothing_is_pruned(tmp_path: Path) -> None:
    spec = write_project(tmp_path, CURVES, space={"x": [0.1, 0.9]})
    completed(0, "run", spec)
    completed(0, "run", spec, "--set", "model.isolation=process", "--output", tmp_path / "apart")
    assert contents(tmp_path / "small.run") == contents(tmp_path / "apart")
    r = mpiens.open(tmp_path / "apart")
    assert len(r.reports()) == 24
    assert r.reports(1)["value"].iloc[-1] == r["loss"][1]
    said = completed(0, "test", spec, "--set", "search.pruner=median")
    assert "COMPLETE" in said


def test_a_trial_in_a_process_of_its_own_may_give_itself_up(tmp_path: Path) -> None:
    code = """
    import mpiens
    def simulate(trial):
        trial.report(2.0, 5)
        raise mpiens.TrialPruned({"rate": trial.params["x"]})
    """
    spec = write_project(
        tmp_path, code, space={"x": [0.5]}, model={"python": "model.py:simulate", "isolation": "process"}
    )
    assert "0 complete, 0 failed, 1 pruned" in completed(0, "run", spec)
    r = mpiens.open(tmp_path / "small.run")
    assert r["rate"].tolist() == [0.5]
    assert r.reports().to_numpy().tolist() == [[0, 5, 2.0]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search.pruner": "medan"}, "search.pruner: unknown pruner 'medan'; did you mean 'median'?"),
        ({"search.pruner": "{name: median, warmup: 3}"}, "search.pruner.warmup: median has no such option"),
        ({"search.pruner": "{n_startup_trials: 3}"}, "search.pruner: name is missing: one of median, percentile"),
        ({"search.pruner": "median", "search.objectives": "{a: minimize, b: minimize}"}, "one objective, found 2"),
    ],
)
def test_what_cannot_be_pruned_is_refused(changes: dict[str, str], words: str, tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    assert words in refusal(spec, *(f"{key}={value}" for key, value in changes.items()))


def test_the_summary_says_when_no_trial_has_completed(tmp_path: Path) -> None:
    search = {"algorithm": "grid", "objectives": {"loss": "minimize"}, "pruner": {"name": "threshold", "upper": -1}}
    said = completed(0, "run", write_project(tmp_path, CURVES, space={"x": [0.3, 0.4]}, search=search))
    assert "  warning   no trial has completed: all 2 that have ended were pruned\n" in said
