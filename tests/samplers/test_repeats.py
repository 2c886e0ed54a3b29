"""Samplers whose points are evaluated several times."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from mpiens.samplers import FinishedTrial, Past, PastTrial, Sampler, build_sampler
from mpiens.samplers.repeated import merged
from mpiens.space import parse_space
from mpiens.spec.schema import Spec
from mpiens.trial import TrialState

FOLDER = Path(__file__).parent
SPACE = {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 9}, "kind": ["a", "b"]}
REPEATS = 3


def make(algorithm: str, trials: int = 60, **search: Any) -> Sampler:
    spec = Spec.model_validate(
        {
            "name": "s",
            "seed": 3,
            "model": {"python": "m.py:f"},
            "space": SPACE,
            "search": {
                "algorithm": algorithm,
                "objectives": {"loss": "minimize"},
                "trials": trials,
                "repeats": REPEATS,
                **search,
            },
        }
    )
    return build_sampler(spec, parse_space(SPACE, FOLDER), FOLDER)


def ending(number: int, params: dict[str, Any]) -> FinishedTrial:
    if number % 5 == 3 or 12 <= number < 15:
        return FinishedTrial(number, TrialState.FAIL, ())
    return FinishedTrial(number, TrialState.COMPLETE, ((params["x"] - 0.3) ** 2 + params["n"] + number % 3,))


def play(make_one: Any, batch: int, renew: bool) -> list[dict[str, Any]]:
    """Points of a run whose trials end in random order, restored after every step if wanted."""
    chance, sampler = random.Random(1), make_one()
    points: list[dict[str, Any]] = []
    told: dict[int, FinishedTrial] = {}
    tells: list[tuple[int, int]] = []
    while len(told) < sampler.total:
        points += sampler.ask(batch * REPEATS if batch else 4 - len(points) + len(told))
        running = [number for number in range(len(points)) if number not in told]
        ended = running if batch else [chance.choice(running)]
        told |= {number: ending(number, points[number]) for number in ended}
        tells += [(len(points), number) for number in ended]
        sampler.tell([told[number] for number in ended])
        if renew:
            trials = (PastTrial(params, told.get(n)) for n, params in enumerate(points))
            sampler = make_one()
            sampler.restore(Past(len(points), (), trials if sampler.needs_history else (), tells))
    return points


@pytest.mark.parametrize("batch", [0, 4])
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("random", {}), ("lhs", {}), ("tpe", {"n_startup_trials": 4}), ("cmaes", {"popsize": 4}), ("nsga2", {})],
)
def test_every_point_comes_so_often_also_after_a_restart(algorithm: str, options: dict[str, Any], batch: int) -> None:
    def one() -> Sampler:
        return make(algorithm, options=options, batch=batch)

    points = play(one, batch, renew=False)
    assert len(points) == 60
    assert all(points[number] == points[number - number % REPEATS] for number in range(60))
    assert len({point["x"] for point in points}) == 20
    assert play(one, batch, renew=True) == points


def test_the_sampler_is_told_means_once_the_last_repeat_has_ended() -> None:
    sampler = make("own_sampler.py:Notes", trials=7)
    points = sampler.ask(7)
    notes = sampler._sampler._sampler.told  # type: ignore[attr-defined]
    for number, value in ((2, 1.0), (3, 10.0), (0, 3.0)):
        sampler.tell([FinishedTrial(number, TrialState.COMPLETE, (value,))])
    assert notes == []
    sampler.tell([FinishedTrial(1, TrialState.FAIL, ()), FinishedTrial(4, TrialState.FAIL, ())])
    assert notes == [(0, points[0], (2.0,))], "a failed repeat does not count"
    sampler.tell([FinishedTrial(6, TrialState.COMPLETE, (5.0,))])
    assert notes[1:] == [(2, points[6], (5.0,))], "trials ended before the last point had all its repeats"
    assert sampler.ask(1) == []


def test_constraints_are_means_too_and_a_point_fails_only_with_all_of_its_trials() -> None:
    ends = [FinishedTrial(n, TrialState.COMPLETE, (float(n), -1.0 + n)) for n in (3, 5)]
    failed = [FinishedTrial(n, TrialState.FAIL, ()) for n in (3, 4, 5)]
    assert merged(1, [ends[1], failed[1], ends[0]]) == FinishedTrial(1, TrialState.COMPLETE, (4.0, 3.0))
    assert merged(1, failed) == FinishedTrial(1, TrialState.FAIL, ())
    pruned = FinishedTrial(4, TrialState.PRUNED, (), reports=((1, 9.0),))
    assert merged(1, [ends[0], pruned]) == pruned._replace(number=1)


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_a_lost_trial_takes_the_point_of_its_siblings(algorithm: str) -> None:
    points = make(algorithm).ask(8)
    for lost in ((1,), (0, 1, 2), (6, 7)):
        fresh = make(algorithm)
        trials = [PastTrial(None if n in lost else p, None) for n, p in enumerate(points)]
        assert fresh.restore(Past(8, lost, trials)) == {number: points[number] for number in lost}
        assert fresh.ask(1) == [points[7]]
