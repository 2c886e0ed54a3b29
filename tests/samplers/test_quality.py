"""Samplers that learn find better points than random search with as many trials."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from mpiens.samplers import FinishedTrial, build_sampler
from mpiens.space import parse_space
from mpiens.spec.schema import Spec
from mpiens.trial import TrialState

SPACE = {name: {"low": -2.0, "high": 2.0} for name in "abcd"}
SEEDS = 20
TRIALS = 80


def search(
    algorithm: str, seed: int, losses: Any, objectives: Sequence[str], trials: int = TRIALS, **settings: Any
) -> list[tuple[float, ...]]:
    spec = Spec.model_validate(
        {
            "name": "s",
            "seed": seed,
            "model": {"python": "m.py:f"},
            "space": SPACE,
            "search": {
                "algorithm": algorithm,
                "trials": trials,
                "batch": 8,
                "objectives": dict.fromkeys(objectives, "minimize"),
                **settings,
            },
        }
    )
    sampler = build_sampler(spec, parse_space(SPACE, Path()))
    values: list[tuple[float, ...]] = []
    while points := sampler.ask(8):
        found = [losses(*point.values()) for point in points]
        sampler.tell([FinishedTrial(len(values) + i, TrialState.COMPLETE, value) for i, value in enumerate(found)])
        values += found
    return values


def rosenbrock(*x: float) -> tuple[float]:
    return (sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x)),)


def best(algorithm: str, **settings: Any) -> list[float]:
    return [min(search(algorithm, seed, rosenbrock, ["loss"], **settings))[0] for seed in range(SEEDS)]


@pytest.fixture(scope="module")
def by_chance() -> list[float]:
    return best("random")


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("tpe", {}),
        ("cmaes", {"popsize": 8}),
        ("nsga2", {"population_size": 16}),
        ("nsga3", {"population_size": 16}),
        ("nevergrad", {"optimizer": "CMA"}),
        ("hyperopt", {}),
        ("pymoo", {}),
    ],
)
def test_the_final_loss_is_better_than_that_of_random_search(
    algorithm: str, options: dict[str, Any], by_chance: list[float]
) -> None:
    found = best(algorithm, options=options)
    assert median(found) < median(by_chance)
    assert sum(a < b for a in found for b in by_chance) > 0.6 * SEEDS**2


def two(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    return (a * a + (b - 1) ** 2 + c * c + d * d, (a - 1) ** 2 + b * b + c * c + d * d)


def hypervolume(points: Sequence[tuple[float, ...]], worst: tuple[float, float] = (4.0, 4.0)) -> float:
    """Area that the front of these points dominates, up to `worst`; by sweeping the first objective."""
    area, height = 0.0, worst[1]
    for first, second in sorted(points):
        if first < worst[0] and second < height:
            area += (worst[0] - first) * (height - second)
            height = second
    return area


def test_a_model_of_the_loss_finds_better_points_in_fewer_trials() -> None:
    found = best("bayesopt", trials=24, options={"init_points": 8})
    chance = best("random", trials=24)
    assert median(found) < median(chance)
    assert sum(a < b for a in found for b in chance) > 0.6 * SEEDS**2


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("nsga2", {"population_size": 16}), ("nsga3", {"population_size": 16}), ("tpe", {}), ("pymoo", {})],
)
def test_the_front_of_two_objectives_is_better_than_that_of_random_search(
    algorithm: str, options: dict[str, Any]
) -> None:
    seeds = range(6 if algorithm == "tpe" else SEEDS)
    found = [hypervolume(search(algorithm, seed, two, ["a", "b"], options=options)) for seed in seeds]
    chance = [hypervolume(search("random", seed, two, ["a", "b"])) for seed in seeds]
    assert median(found) > median(chance)
