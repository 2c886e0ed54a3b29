"""Several objectives, none, and constraints, from the spec to the results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mpiens as package
from project import completed, mpiens, trials, write_project

MODEL = """
def simulate(trial):
    x, y = trial.params["x"], trial.params["y"]
    return {"near": x * x + y * y, "far": -(x - 1) ** 2 - (y - 1) ** 2, "above": 0.25 - x, "kept": x + y}
"""
SPACE = {"x": {"low": -1.0, "high": 2.0}, "y": {"low": -1.0, "high": 2.0}}
BOTH = {"near": "minimize", "far": "maximize"}


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


@pytest.mark.mpi
@pytest.mark.parametrize("algorithm", ["nsga2", "tpe"])
def test_the_front_of_two_objectives_under_a_constraint(algorithm: str, tmp_path: Path) -> None:
    search = {"algorithm": algorithm, "trials": 60, "batch": 6, "objectives": BOTH, "constraints": ["above"]}
    if algorithm == "nsga2":
        search["options"] = {"population_size": 6}
    spec = write_project(tmp_path, MODEL, space=SPACE, search=search)
    said = completed(4, "run", spec)
    table = trials(tmp_path / "small.run")
    losses = list(zip(table["near"], -table["far"], strict=True))
    feasible = [n for n in range(60) if table["x"][n] >= 0.25]
    expected = {n for n in feasible if not any(dominates(losses[m], losses[n]) for m in feasible)}
    with package.open(tmp_path / "small.run") as results:
        front = results.pareto()
        assert set(front["number"]) == expected
        assert results.constraints == ("above",)
        assert list(results.directions) == ["near", "far"]
        with pytest.raises(package.errors.StoreError, match="use `pareto"):
            _ = results.best
        assert results["above"].shape == (60,)
    assert f"front     {len(expected)} trial" in said
    status = json.loads((tmp_path / "small.run" / "status.json").read_text())
    assert {row["number"] for row in status["front"]} == expected
    assert status["best"] is None
    assert f"front     {len(expected)} trial" in completed(0, "status", tmp_path / "small.run")
    # What was learned must show: the second half has more feasible points than chance would give.
    assert sum(table["x"][30:] >= 0.25) > 18


@pytest.mark.mpi
def test_repeats_that_are_alike_are_on_the_front_once(tmp_path: Path) -> None:
    space = {"x": [0.0, 0.5, 1.0, 3.0], "y": [0.0]}
    search = {"algorithm": "grid", "repeats": 3, "objectives": BOTH}
    spec = write_project(tmp_path, MODEL, space=space, search=search)
    said = completed(3, "run", spec)
    with package.open(tmp_path / "small.run") as results:
        front = results.pareto()["number"].tolist()
        assert results.pareto()["params_x"].tolist() == [0.0, 0.5, 1.0]
    assert "front     3 trials" in said
    status = json.loads((tmp_path / "small.run" / "status.json").read_text())
    assert sorted(row["number"] for row in status["front"]) == front
    # What a run that goes on finds in its results is no other.
    completed(0, "run", spec, "--resume", "--set", "space.x=[0.0, 0.5, 1.0, 3.0, 4.0]")
    assert package.open(tmp_path / "small.run").pareto()["number"].tolist() == front


def test_the_best_trial_is_the_best_feasible_one(tmp_path: Path) -> None:
    search = {"algorithm": "random", "trials": 30, "objectives": {"near": "minimize"}, "constraints": ["above"]}
    said = completed(0, "run", write_project(tmp_path, MODEL, space=SPACE, search=search))
    table = trials(tmp_path / "small.run")
    feasible = [n for n in range(30) if table["above"][n] <= 0]
    best = min(feasible, key=lambda n: table["near"][n])
    assert best != table["near"].argmin()
    assert f"best      trial {best}: near=" in said
    found = package.open(tmp_path / "small.run").best
    assert found is not None
    assert found["number"] == best


def test_without_objectives_results_are_recorded(tmp_path: Path) -> None:
    search = {"algorithm": "qmc", "trials": 8}
    said = completed(0, "run", write_project(tmp_path, MODEL, space=SPACE, search=search))
    assert "best" not in said
    with package.open(tmp_path / "small.run") as results:
        assert sorted(results.names) == ["above", "far", "kept", "near"]
        with pytest.raises(package.errors.StoreError, match="has none"):
            results.pareto()
        with pytest.raises(package.errors.StoreError, match="has none; use `trials`"):
            results.best  # noqa: B018 - the access is what raises


@pytest.mark.parametrize(
    ("search", "words"),
    [
        (
            {"algorithm": "cmaes", "objectives": BOTH},
            ["search.objectives", "cmaes takes one objective, found 2", "nsga2"],
        ),
        ({"algorithm": "bayesopt", "objectives": BOTH}, ["search.objectives", "takes one objective, found 2"]),
        (
            {"algorithm": "cmaes", "objectives": {"near": "minimize"}, "constraints": ["above"]},
            ["search.constraints", "cmaes does not take constraints; tpe, nsga2, nsga3, gp, nevergrad, pymoo do"],
        ),
        ({"algorithm": "hyperopt", "objectives": {"near": "minimize"}, "constraints": ["a"]}, ["search.constraints"]),
        (
            {"algorithm": "tpe", "objectives": BOTH, "constraints": ["far"]},
            ["search.constraints.0", "an objective too"],
        ),
        ({"algorithm": "random", "constraints": ["far"]}, ["search.constraints", "need an objective"]),
        (
            {"algorithm": "tpe", "objectives": {"near": "minimise"}},
            ["search.objectives.near", "did you mean 'minimize'"],
        ),
        ({"algorithm": "tpe"}, ["search.objectives", "tpe needs an objective"]),
        (
            {"algorithm": "tpe", "objectives": BOTH, "start": [{"x": 5.0, "y": 0.0}]},
            ["search.start.0.x", "5.0 is not in the space: expected a number from "],
        ),
        ({"algorithm": "tpe", "objectives": BOTH, "start": [{"x": 0.5}]}, ["search.start.0", "'y' is missing"]),
        (
            {"algorithm": "tpe", "objectives": BOTH, "start": [{"x": 0.5, "yy": 1}]},
            ["search.start.0.yy", "no parameter"],
        ),
    ],
)
def test_what_does_not_go_together(search: dict[str, object], words: list[str], tmp_path: Path) -> None:
    done = mpiens(0, "run", write_project(tmp_path, MODEL, space=SPACE, search={"trials": 5, **search}))
    assert done.returncode == 2
    assert all(word in done.stderr for word in ["spec.yaml:", *words]), done.stderr


def test_a_constraint_that_the_model_does_not_return_fails_the_trial(tmp_path: Path) -> None:
    search = {"algorithm": "tpe", "trials": 3, "objectives": {"near": "minimize"}, "constraints": ["rate_max"]}
    done = mpiens(0, "run", write_project(tmp_path, MODEL, space=SPACE, search=search))
    assert done.returncode == 0
    assert "3 x objective 'rate_max' is missing; the model returned 'above', 'far', 'kept', 'near'" in done.stdout
