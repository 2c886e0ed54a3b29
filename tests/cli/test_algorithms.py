"""Every algorithm searches Rosenbrock's valley through the command line, on four ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from project import completed, mpiens, trials, write_project

MODEL = """
def simulate(trial):
    x, y = trial.params["x"], trial.params["y"]
    return {"loss": 100 * (y - x * x) ** 2 + (1 - x) ** 2}
"""
SPACE = {"x": {"low": -2.0, "high": 2.0}, "y": {"low": -1.0, "high": 3.0}}
STEPS = {"x": {"low": -2.0, "high": 2.0, "step": 1.0}, "y": [0, 1, 2, 3]}
OWN = """
import random

class Walk:
    def __init__(self, space, seed, width=1.0):
        self.space, self.random, self.width = space, random.Random(seed), width
        self.best = None

    def ask(self, n):
        if self.best is None:
            return [{k: self.random.uniform(d["low"], d["high"]) for k, d in self.space.items()} for _ in range(n)]
        return [{k: self.near(v, self.space[k]) for k, v in self.best.params.items()} for _ in range(n)]

    def near(self, value, domain):
        return min(max(self.random.gauss(value, self.width), domain["low"]), domain["high"])

    def tell(self, trials):
        for trial in trials:
            if trial.state == "COMPLETE" and (self.best is None or trial.values < self.best.values):
                self.best = trial
"""


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("algorithm", "search", "count"),
    [
        ("variant_generator", {"space": STEPS}, 20),
        ("brute_force", {"space": STEPS, "trials": 15}, 15),
        ("random", {}, 24),
        ("qmc", {}, 24),
        ("halton", {"options": {"scramble": False}}, 24),
        ("lhs", {}, 24),
        ("tpe", {}, 24),
        ("cmaes", {}, 24),
        ("nsga2", {"options": {"population_size": 6}}, 24),
        ("nsga3", {"options": {"population_size": 6}}, 24),
        ("nevergrad", {}, 24),
        ("bayesopt", {"options": {"init_points": 5}}, 8),
        ("hyperopt", {}, 24),
        ("pymoo", {"batch": 8}, 24),
        ("bohb", {}, 24),
        pytest.param("gp", {"options": {"n_startup_trials": 6}}, 12, marks=pytest.mark.torch),
        pytest.param("axe", {"options": {"init_points": 6}}, 12, marks=pytest.mark.torch),
        ("own.py:Walk", {"options": {"width": 0.5}}, 24),
    ],
)
def test_a_search_runs_on_four_ranks(algorithm: str, search: dict[str, Any], count: int, tmp_path: Path) -> None:
    settings = {"algorithm": algorithm, "objectives": {"loss": "minimize"}, "trials": count, **search}
    space = settings.pop("space", SPACE)
    if algorithm == "variant_generator":
        del settings["trials"]
    spec = write_project(tmp_path, MODEL, space=space, search=settings)
    (tmp_path / "own.py").write_text(OWN)
    said = completed(4, "run", spec)
    table = trials(tmp_path / "small.run")
    assert len(table["number"]) == count
    assert np.allclose(table["loss"], 100 * (table["y"] - table["x"] ** 2) ** 2 + (1 - table["x"]) ** 2)
    assert f"best      trial {table['loss'].argmin()}" in said
    if algorithm == "halton":  # base 2 halves, base 3 thirds
        low, high = SPACE["x"]["low"], SPACE["x"]["high"]
        assert np.allclose(table["x"][:4], low + (high - low) * np.array([0, 1 / 2, 1 / 4, 3 / 4]))
    if algorithm == "brute_force":
        assert len(set(zip(table["x"], table["y"], strict=True))) == count


BAD = {
    "sigopt": ["search.algorithm", "SigOpt has been closed", "gp"],
    "hebo": ["search.algorithm", "NumPy before 1.25", "the nearest are ax"],
    "zoopt": ["search.algorithm", "not kept up", "nevergrad"],
    "hyperot": ["search.algorithm", "did you mean 'hyperopt'?"],
    "own.py:Wolk": ["search.algorithm", "has no 'Wolk'", "did you mean 'Walk'?"],
    "owm.py:Walk": ["search.algorithm", "no such file"],
}


@pytest.mark.parametrize("algorithm", BAD)
def test_names_that_cannot_be_used_are_explained(algorithm: str, tmp_path: Path) -> None:
    settings = {"algorithm": algorithm, "objectives": {"loss": "minimize"}, "trials": 4}
    spec = write_project(tmp_path, MODEL, space=SPACE, search=settings)
    (tmp_path / "own.py").write_text(OWN)
    done = mpiens(0, "run", spec)
    assert done.returncode == 2
    assert all(part in done.stderr for part in ["spec.yaml:", *BAD[algorithm]]), done.stderr
    assert not (tmp_path / "small.run").exists()
