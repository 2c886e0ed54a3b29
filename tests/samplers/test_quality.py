"""Samplers that learn find better points than random search with as many trials."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest
from scipy.stats import mannwhitneyu

from doc_pages import blocks_of
from mpiens.samplers import FinishedTrial, build_pruner, build_sampler
from mpiens.space import parse_space
from mpiens.spec.schema import Spec
from mpiens.trial import TrialState

FOUR = {name: {"low": -2.0, "high": 2.0} for name in "abcd"}
TWO = {"x": {"low": -2.0, "high": 2.0}, "y": {"low": -1.0, "high": 3.0}}
SEEDS = 20
GROUPS = 3
STEPS = 9


def rosenbrock(*x: float) -> tuple[float]:
    return (sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x)),)


def spec_of(seed: int, space: dict[str, Any], objectives: Sequence[str], **settings: Any) -> Spec:
    search = {"objectives": dict.fromkeys(objectives, "minimize"), **settings}
    model = {"python": "m.py:f"}
    return Spec.model_validate({"name": "s", "seed": seed, "model": model, "space": space, "search": search})


def search(
    losses: Callable[..., tuple[float, ...]], spec: Spec, space: dict[str, Any], folder: Path = Path()
) -> list[tuple[float, ...]]:
    """What all points have come to; without generations `GROUPS` at a time are tried, and end in random order."""
    sampler = build_sampler(spec, parse_space(space, folder), folder)
    batch, order = spec.search.batch, random.Random(spec.seed)
    flying: list[tuple[int, dict[str, Any]]] = []
    values: list[tuple[float, ...]] = []
    count = 0
    while True:
        new = sampler.ask(batch or GROUPS - len(flying))
        flying += enumerate(new, count)
        count += len(new)
        if not flying:
            return values
        ended = [flying.pop(0 if batch else order.randrange(len(flying))) for _ in range(batch or 1) if flying]
        found = [losses(*point.values()) for _, point in ended]
        told = [FinishedTrial(n, TrialState.COMPLETE, value) for (n, _), value in zip(ended, found, strict=True)]
        sampler.tell(told)
        values += found


def best(
    algorithm: str, trials: int, space: dict[str, Any] = FOUR, batch: int = 8, folder: Path = Path(), **settings: Any
) -> list[float]:
    """The final loss of a search of Rosenbrock's valley, for each seed."""
    found = []
    for seed in range(SEEDS):
        spec = spec_of(seed, space, ["loss"], algorithm=algorithm, trials=trials, batch=batch, **settings)
        found.append(min(search(rosenbrock, spec, space, folder))[0])
    return found


@cache
def by_chance(trials: int, dimensions: int = 4) -> list[float]:
    return best("random", trials, FOUR if dimensions == 4 else TWO)


def assert_lower(found: Sequence[float], chance: Sequence[float]) -> None:
    """Two samples, by a rank-sum test: seeds are no pairs, for what they lead to has nothing in common."""
    assert len(found) == len(chance) == SEEDS
    assert median(found) < median(chance)
    assert mannwhitneyu(found, chance, alternative="less").pvalue < 0.01


@pytest.mark.parametrize(
    ("algorithm", "trials", "options"),
    [
        ("tpe", 80, {}),
        ("cmaes", 80, {}),
        ("nsga2", 160, {"population_size": 16}),
        ("nsga3", 160, {"population_size": 16}),
        ("nevergrad", 80, {}),
        ("hyperopt", 120, {}),
        ("pymoo", 160, {}),
        pytest.param("bayesopt", 28, {"init_points": 8}, marks=pytest.mark.timeout(900)),
    ],
)
def test_the_final_loss_is_better_than_that_of_random_search(
    algorithm: str, trials: int, options: dict[str, Any]
) -> None:
    assert_lower(best(algorithm, trials, options=options), by_chance(trials))


@pytest.mark.torch
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("algorithm", ["gp", "ax"])
def test_a_model_of_the_loss_finds_better_points_in_few_trials(algorithm: str) -> None:
    """Asynchronously, as three groups would ask."""
    assert_lower(best(algorithm, 30, TWO, batch=0), by_chance(30, 2))


@pytest.mark.parametrize("batch", [0, 8])
def test_the_documented_sampler_of_ones_own_is_better_than_random_search(batch: int, tmp_path: Path) -> None:
    (block,) = [block for block in blocks_of("docs/howto/search.md") if block.detail == "walk.py"]
    (tmp_path / "walk.py").write_text(block.text)
    assert_lower(best("walk.py:Walk", 80, batch=batch, folder=tmp_path), by_chance(80))


# --- with a pruner ----------------------------------------------------------------------------------------------------


class Course(NamedTuple):
    """How a search went whose trials report.

    Attributes:
        loss: The best one of a trial that was complete.
        trials: How many trials there were.
        steps: How many reports they have made.
    """

    loss: float
    trials: int
    steps: int


def on_the_way(point: dict[str, float], step: int) -> float:
    """The loss sinks to its final value, of some points more slowly than of others."""
    return rosenbrock(*point.values())[0] + 200 * (1 + abs(point["a"])) * (1 / step - 1 / STEPS)


def search_with_reports(algorithm: str, seed: int, trials: int, most_steps: float) -> Course:
    """A trial in which `most_steps` is reached does not count."""
    spec = spec_of(seed, FOUR, ["loss"], algorithm=algorithm, trials=trials, batch=8)
    sampler, pruner = build_sampler(spec, parse_space(FOUR, Path())), build_pruner(spec)
    loss, number, steps = math.inf, 0, 0
    while points := sampler.ask(8):
        told = []
        for point in points:
            state, reports = TrialState.COMPLETE, []
            for step in range(1, STEPS + 1):
                if steps == most_steps:
                    return Course(loss, number, steps)
                steps += 1
                reports.append((step, on_the_way(point, step)))
                if pruner is not None and pruner.judge(number, 1, reports[-1:]):
                    state = TrialState.PRUNED
                    break
            values = (reports[-1][1],) if state is TrialState.COMPLETE else ()
            loss = min(loss, *values, math.inf)
            told.append(FinishedTrial(number, state, values, (), tuple(reports)))
            number += 1
        if pruner is not None:
            pruner.learn(told)
        sampler.tell(told)
    return Course(loss, number, steps)


def test_bohb_is_better_than_random_search_with_as_many_trials_and_with_as_many_steps() -> None:
    chance = [search_with_reports("random", seed, 80, math.inf) for seed in range(SEEDS)]
    assert {course[1:] for course in chance} == {(80, 80 * STEPS)}
    same_trials = [search_with_reports("bohb", seed, 80, math.inf) for seed in range(SEEDS)]
    assert_lower([course.loss for course in same_trials], [course.loss for course in chance])
    assert all(course.trials == 80 and course.steps < 0.95 * 80 * STEPS for course in same_trials)
    same_steps = [search_with_reports("bohb", seed, 1000, 80 * STEPS) for seed in range(SEEDS)]
    assert_lower([course.loss for course in same_steps], [course.loss for course in chance])
    assert all(course.steps == 80 * STEPS and course.trials > 80 for course in same_steps)


# --- several objectives -----------------------------------------------------------------------------------------------


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


def hypervolumes(algorithm: str, trials: int, **settings: Any) -> list[float]:
    specs = [
        spec_of(seed, FOUR, ["a", "b"], algorithm=algorithm, trials=trials, batch=8, **settings)
        for seed in range(SEEDS)
    ]
    return [hypervolume(search(two, spec, FOUR)) for spec in specs]


@pytest.mark.parametrize(
    ("algorithm", "trials", "options"),
    [
        ("nsga2", 160, {"population_size": 16}),
        ("nsga3", 160, {"population_size": 16}),
        ("tpe", 80, {}),
        ("nevergrad", 80, {}),
        ("pymoo", 160, {"algorithm": "NSGA2"}),
    ],
)
def test_the_front_of_two_objectives_is_better_than_that_of_random_search(
    algorithm: str, trials: int, options: dict[str, Any]
) -> None:
    found, chance = hypervolumes(algorithm, trials, options=options), hypervolumes("random", trials)
    assert_lower([-volume for volume in found], [-volume for volume in chance])
