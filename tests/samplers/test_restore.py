"""A sampler that was restored goes on as one that never stopped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mpiens.samplers import FinishedTrial, Past, PastTrial, Sampler, build_sampler
from mpiens.space import parse_space
from mpiens.spec.schema import Spec
from mpiens.trial import TrialState

SPACE = {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 9}, "kind": ["a", "b"], "shape": [[1, 2], [3, 4]]}
GRID = {"x": [0.5, 1.5, 2.5], "n": [1, 2]}


def make(algorithm: str, tmp_path: Any, **search: Any) -> Sampler:
    space = GRID if algorithm == "grid" else SPACE
    counted = {} if algorithm == "grid" else {"trials": 60}
    spec = Spec.model_validate(
        {
            "name": "s",
            "seed": 3,
            "model": {"python": "m.py:f"},
            "space": space,
            "search": {"algorithm": algorithm, "objectives": {"loss": "minimize"}, **counted, **search},
        }
    )
    return build_sampler(spec, parse_space(space, tmp_path))


def ending(number: int, params: dict[str, Any]) -> FinishedTrial:
    if number % 7 == 3:
        return FinishedTrial(number, TrialState.FAIL, ())
    return FinishedTrial(number, TrialState.COMPLETE, ((params["x"] - 0.3) ** 2 + params["n"],))


def play(sampler: Sampler, steps: random.Random, restore: Callable[[Past], Sampler] | None) -> list[dict[str, Any]]:
    """Points of an asynchronous run with three in flight, restored after every step if wanted."""
    points: list[dict[str, Any]] = []
    told: dict[int, FinishedTrial] = {}
    tells: list[tuple[int, int]] = []
    while len(told) < sampler.total:
        new = sampler.ask(min(3 - len(points) + len(told), sampler.total - len(points)))
        points += new
        number = steps.choice([n for n in range(len(points)) if n not in told])
        told[number] = ending(number, points[number])
        sampler.tell([told[number]])
        tells.append((len(points), number))
        # Samplers whose course is gone through again take longer to restore.
        if restore is not None and (len(told) % 9 == 5 or not getattr(sampler, "replays", False)):
            trials = (PastTrial(params, told.get(n)) for n, params in enumerate(points))
            sampler = restore(Past(len(points), (), trials, tells))
    return points


@pytest.mark.parametrize("algorithm", ["grid", "random", "tpe", "cmaes", "nsga2", "nsga3"])
def test_restored_at_any_moment_the_points_are_the_same(algorithm: str, tmp_path: Any) -> None:
    def restore(past: Past) -> Sampler:
        fresh = make(algorithm, tmp_path)
        assert fresh.restore(past) == {}
        return fresh

    undisturbed = play(make(algorithm, tmp_path), random.Random(1), None)
    assert play(make(algorithm, tmp_path), random.Random(1), restore) == undisturbed
    assert len(undisturbed) == make(algorithm, tmp_path).total


def test_a_grid_is_restored_within_its_repeats(tmp_path: Any) -> None:
    whole = make("grid", tmp_path, repeats=3)
    points = whole.ask(100)
    assert len(points) == whole.total == 18
    for asked in range(19):
        sampler = make("grid", tmp_path, repeats=3)
        sampler.restore(Past(asked))
        assert sampler.ask(100) == points[asked:]


@pytest.mark.parametrize("algorithm", ["grid", "random"])
def test_points_that_were_lost_are_found_again_by_their_number(algorithm: str, tmp_path: Any) -> None:
    points = make(algorithm, tmp_path).ask(6)
    found = make(algorithm, tmp_path).restore(Past(6, (0, 4, 5)))
    assert found == {0: points[0], 4: points[4], 5: points[5]}


def test_a_lost_point_of_tpe_is_chosen_anew_in_its_place(tmp_path: Any) -> None:
    points = make("tpe", tmp_path).ask(4)

    def trials() -> Iterator[PastTrial]:
        yield PastTrial(points[0], None)
        yield PastTrial(None, None)
        yield PastTrial(points[2], None)

    sampler = make("tpe", tmp_path)
    assert sampler.restore(Past(3, (1,), trials())) == {1: points[1]}
    assert sampler.ask(1) == [points[3]]
    sampler.tell([ending(1, points[1])])


def test_the_points_of_random_search_depend_on_their_numbers_alone(tmp_path: Any) -> None:
    one_by_one = make("random", tmp_path)
    assert [one_by_one.ask(1)[0] for _ in range(20)] == make("random", tmp_path).ask(20)
