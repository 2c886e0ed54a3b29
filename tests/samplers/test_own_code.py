"""Classes of the user's own that end the interpreter, or try to: a plain error, and a run that can go on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mpiens.errors import MpiensError
from mpiens.samplers import Plan
from mpiens.samplers.custom import CustomSampler
from mpiens.samplers.custom_pruner import CustomPruner
from mpiens.space import parse_space
from project import mpiens, trials, write_project

MODEL = """
def simulate(trial):
    trial.report(trial.params["x"], 1)
    trial.should_prune()
    return {"loss": trial.params["x"]}
"""
OWN = """
import os
import random
import sys


class Mine(BaseException):
    pass


def fail(here, where, how):
    if here == where and not os.path.exists("mended"):
        if how == "exit":
            sys.exit()
        raise {"interrupt": KeyboardInterrupt, "mine": Mine}[how]("enough")


class Own:
    def __init__(self, space, seed, where="", how="exit"):
        self.random, self.where, self.how = random.Random(seed), where, how
        self.asked = self.told = 0
        fail("init", where, how)

    def ask(self, n):
        self.asked += 1
        if self.asked > 4:
            fail("ask", self.where, self.how)
        return self.points(n)

    def points(self, n):
        for _ in range(n):
            if self.asked > 4:
                fail("points", self.where, self.how)
            yield {"x": self.random.random()}

    def tell(self, trials):
        self.told += 1
        if self.told > 2:
            fail("tell", self.where, self.how)


class Pruner:
    def __init__(self, direction, where="", how="exit"):
        self.where, self.how = where, how
        fail("init", where, how)

    def should_prune(self, reports, others):
        if others:
            fail("judge", self.where, self.how)
        return False
"""


def _project(folder: Path, **search: object) -> Path:
    (folder / "own.py").write_text(OWN)
    search = {"algorithm": "random", "trials": 8, "objectives": {"loss": "minimize"}, **search}
    return write_project(folder, MODEL, space={"x": {"low": 0.0, "high": 1.0}}, search=search)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("ranks", "where", "how", "words"),
    [
        (0, "ask", "exit", ": ask(1) failed: own.py:14: SystemExit"),
        (3, "ask", "interrupt", ": ask(1) failed: own.py:15: KeyboardInterrupt: enough"),
        (3, "points", "mine", ": ask(1) failed: own.py:15: Mine: enough"),
        (0, "tell", "mine", ": tell(trials 2) failed: own.py:15: Mine: enough"),
        (3, "tell", "exit", "failed: own.py:14: SystemExit"),
    ],
)
def test_a_sampler_that_ends_the_run(ranks: int, where: str, how: str, words: str, tmp_path: Path) -> None:
    spec = _project(tmp_path, algorithm="own.py:Own", options={"where": where, "how": how})
    done = mpiens(ranks, "run", spec, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mpiens: own.py:Own: " in done.stderr
    assert words in done.stderr
    assert "Abort" not in done.stderr
    (tmp_path / "mended").touch()
    done = mpiens(ranks, "run", spec, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(trials(tmp_path / "small.run")["number"]) == 8


@pytest.mark.mpi
@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_a_pruner_that_ends_the_run(how: str, tmp_path: Path) -> None:
    spec = _project(tmp_path, pruner={"name": "own.py:Pruner", "where": "judge", "how": how})
    done = mpiens(3, "run", spec, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mpiens: own.py:Pruner: should_prune(reports of trial " in done.stderr
    assert "failed: own.py:1" in done.stderr
    (tmp_path / "mended").touch()
    assert mpiens(3, "run", spec, "--resume", cwd=tmp_path).returncode == 0
    assert len(trials(tmp_path / "small.run")["number"]) == 8


@pytest.mark.parametrize("how", ["exit", "interrupt", "mine"])
@pytest.mark.parametrize("kind", ["Own", "Pruner"])
def test_a_class_that_ends_the_interpreter_when_it_is_made(kind: str, how: str, tmp_path: Path) -> None:
    options = {"where": "init", "how": how}
    changes = {"algorithm": "own.py:Own", "options": options}
    spec = _project(tmp_path, **(changes if kind == "Own" else {"pruner": {"name": "own.py:Pruner", **options}}))
    done = mpiens(0, "validate", spec, cwd=tmp_path)
    assert done.returncode == 2
    assert f"own.py:{kind}(" in done.stderr
    assert ", **options) failed: own.py:1" in done.stderr
    assert done.stderr.startswith(f"mpiens: {spec}:")


@pytest.mark.parametrize("target", ["own.py:Own", "own:Own"])
def test_a_file_that_ends_the_interpreter_when_it_is_imported(target: str, tmp_path: Path) -> None:
    spec = _project(tmp_path, algorithm=target)
    (tmp_path / "own.py").write_text("raise SystemExit(4)\n")
    done = mpiens(0, "validate", spec)
    assert done.returncode == 2
    assert "search.algorithm: own" in done.stderr
    assert "cannot be imported: own.py:1: SystemExit: 4" in done.stderr


ANSWERS = """
class Sampler:
    def __init__(self, space, seed, answer=None):
        self.answer = answer

    def ask(self, n):
        return self.answer

    def tell(self, trials):
        pass


class Pruner:
    def __init__(self, direction, answer=None):
        self.answer = answer

    def should_prune(self, reports, others):
        return self.answer
"""
LISTS = "; expected a list of so many mappings of parameters to values, or fewer when there are no more"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "returned nothing" + LISTS),
        ({"x": 0.5}, "returned {'x': 0.5} (dict)" + LISTS),
        (0.5, "returned 0.5 (float)" + LISTS),
        ([0.5], "returned a list with 0.5 (float) in it" + LISTS),
        ([{"x": 0.5}] * 2, "returned 2 points" + LISTS),
        ([{}], "returned {}: the parameter 'x' is missing"),
        ([{"x": 0.5, "xx": 1}], "returned {'x': 0.5, 'xx': 1}: xx: no parameter of the space; did you mean 'x'?"),
        ([{"x": 1.5}], "returned {'x': 1.5}: x: 1.5 is not in the space: expected a number from 0.0 to 1.0"),
        ([{"x": "a"}], "returned {'x': 'a'}: x: 'a' is not in the space: expected a number from 0.0 to 1.0"),
    ],
)
def test_what_a_sampler_must_not_return(answer: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(ANSWERS)
    space = parse_space({"x": {"low": 0.0, "high": 1.0}, "y": 3}, tmp_path)
    plan = Plan("own.py:Sampler", 4, 1, ("minimize",), options={"answer": answer})
    sampler = CustomSampler(plan, plan.algorithm, {}, space, tmp_path)
    with pytest.raises(MpiensError) as caught:
        sampler.ask(1)
    assert str(caught.value) == f"own.py:Sampler: ask(1) {words}"


def test_a_whole_number_of_a_sampler_has_64_bits(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(ANSWERS)
    plan = Plan("own.py:Sampler", 4, 1, options={"answer": [{"x": 2**63}]})
    space = parse_space({"zip": {"x": [1, 2]}}, tmp_path)
    with pytest.raises(MpiensError, match="'x' a value that is no plain data: 9223372036854775808"):
        CustomSampler(plan, plan.algorithm, {}, space, tmp_path).ask(1)


def test_a_sampler_may_leave_out_what_has_one_value(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(ANSWERS)
    plan = Plan("own.py:Sampler", 4, 1, ("minimize",), options={"answer": [{"x": 1.0}]})
    space = parse_space({"x": {"low": 0.0, "high": 1.0}, "y": 3}, tmp_path)
    assert CustomSampler(plan, plan.algorithm, {}, space, tmp_path).ask(1) == [{"x": 1.0, "y": 3}]


@pytest.mark.parametrize(("answer", "words"), [("no", "'no' (str)"), (None, "nothing"), (0, "0 (int)")])
def test_what_a_pruner_must_not_return(answer: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(ANSWERS)
    pruner = CustomPruner({"name": "own.py:Pruner", "answer": answer}, "minimize", tmp_path)
    with pytest.raises(MpiensError) as caught:
        pruner.judge(2, 1, [(1, 0.5)])
    assert str(caught.value) == (
        f"own.py:Pruner: should_prune(reports of trial 2, others) returned {words}; expected True or False"
    )
    for verdict in (True, np.False_):
        pruner = CustomPruner({"name": "own.py:Pruner", "answer": verdict}, "minimize", tmp_path)
        assert pruner.judge(2, 1, [(1, 0.5)]) is bool(verdict)


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_an_answer_of_the_wrong_kind_ends_the_run(ranks: int, tmp_path: Path) -> None:
    spec = _project(tmp_path, pruner={"name": "own.py:Pruner", "answer": "no"})
    (tmp_path / "own.py").write_text(ANSWERS)
    done = mpiens(ranks, "run", spec)
    assert done.returncode == 1
    said = r"should_prune\(reports of trial \d, others\) returned 'no' \(str\); expected True or False$"
    assert re.search(r"^mpiens: own.py:Pruner: " + said, done.stderr, re.MULTILINE), done.stderr
