"""Optuna's pruners: their own answers, whatever the order of a generation, and after a restart."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest

from mpiens.errors import MpiensError, SpecError
from mpiens.reports import Report
from mpiens.samplers import FinishedTrial
from mpiens.samplers.optuna import pruners
from mpiens.samplers.optuna.pruners import OptunaPruner
from mpiens.trial import TrialState

STEPS = 12
KINDS: dict[str, dict[str, Any]] = {
    "median": {"n_warmup_steps": 2},
    "percentile": {"percentile": 40.0, "n_startup_trials": 3, "interval_steps": 2},
    "successive_halving": {"reduction_factor": 2},
    "hyperband": {"min_resource": 1, "max_resource": STEPS, "reduction_factor": 2},
    "threshold": {"lower": -2.2, "upper": 2.2},
    "nop": {},
}
LIBRARY = {
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "threshold": optuna.pruners.ThresholdPruner,
    "nop": optuna.pruners.NopPruner,
}


def curve(number: int, sign: float = 1.0) -> list[Report]:
    """What a trial reports: it falls, with noise, to a level of its own."""
    chance = random.Random(number)
    level = chance.random()
    return [(step, sign * (level + 1.5 / step + 0.2 * chance.random())) for step in range(1, STEPS + 1)]


def ended(number: int, seen: int, is_pruned: bool, sign: float = 1.0) -> FinishedTrial:
    reports = tuple(curve(number, sign)[:seen])
    state = TrialState.PRUNED if is_pruned else TrialState.COMPLETE
    return FinishedTrial(number, state, () if is_pruned else (reports[-1][1],), reports=reports)


def run_alone(pruner: OptunaPruner, number: int, sign: float) -> FinishedTrial:
    for seen, report in enumerate(curve(number, sign), 1):
        if pruner.judge(number, 1, [report]):
            return ended(number, seen, True, sign)
    return ended(number, STEPS, False, sign)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("patience", [None, 1])
def test_one_trial_after_the_other_has_optunas_own_answers(name: str, direction: str, patience: int | None) -> None:
    own = LIBRARY[name](**KINDS[name])
    asked: dict[str, Any] = {"name": name, **KINDS[name]}
    if patience is not None:
        own = optuna.pruners.PatientPruner(own, patience)
        asked = {"name": "patient", "wrapped_pruner": asked, "patience": patience}
    study = optuna.create_study(study_name="mpiens", direction=direction, pruner=own)
    pruner = OptunaPruner(asked, (direction,), 0)
    pruned, sign = [], 1.0 if direction == "minimize" else -1.0
    for number in range(40):
        here = run_alone(pruner, number, sign)
        pruner.learn([here])
        trial = study.ask()
        for step, value in curve(number, sign):
            trial.report(value, step)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, value)
        there = study.trials[number]
        assert (here.state.name, len(here.reports)) == (there.state.name, len(there.intermediate_values)), number
        pruned.append(here.state is TrialState.PRUNED)
    if patience is None and name != "nop":
        assert 0 < sum(pruned) < 40


def run_generations(asked: dict[str, Any], seed: int, restarts: bool) -> list[FinishedTrial]:
    """Eight generations of five trials each that report and ask in turns drawn by lot."""
    chance = random.Random(seed)
    pruner, done = OptunaPruner(asked, ("minimize",), 5), []
    for first in range(0, 40, 5):
        if restarts:
            pruner = OptunaPruner(asked, ("minimize",), 5)
            for start in range(0, first, 5):
                pruner.learn(done[start : start + 5])
        seen = dict.fromkeys(range(first, first + 5), 0)
        generation = {}
        while seen:
            number = chance.choice(list(seen))
            many = chance.randint(1, 3)  # several reports may come with one question, and an attempt may be lost
            attempt = 1 if seed % 2 else 1 + seen[number] // STEPS
            is_pruned = pruner.judge(number, attempt, curve(number)[seen[number] : seen[number] + many])
            seen[number] = min(seen[number] + many, STEPS)
            if is_pruned or seen[number] == STEPS:
                generation[number] = ended(number, seen.pop(number), is_pruned)
        done += [generation[number] for number in sorted(generation)]
        pruner.learn(done[first:])
    return done


@pytest.mark.parametrize("name", [*KINDS, "patient"])
def test_generations_depend_on_no_order_and_no_restart(name: str) -> None:
    options = {"wrapped_pruner": "successive_halving", "patience": 1} if name == "patient" else KINDS[name]
    if name == "hyperband":
        options = {"reduction_factor": 2}  # so that it finds out by itself how many steps there are
    asked = {"name": name, **options}

    def states(seed: int, restarts: bool) -> list[tuple[int, str]]:
        return [(trial.number, trial.state.name) for trial in run_generations(asked, seed, restarts)]

    expected = states(1, restarts=False)
    assert [states(seed, restarts=False) for seed in (3, 5)] == [expected] * 2
    assert states(7, restarts=True) == expected
    if name != "nop":
        assert {state for _, state in expected} == {"COMPLETE", "PRUNED"}


def test_what_a_pruner_sees_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruners, "MOST_SHOWN", 40)
    pruner = OptunaPruner({"name": "hyperband", "max_resource": STEPS}, ("minimize",), 0)
    for number in range(90):
        pruner.learn([ended(number, 3 if number % 2 else STEPS, bool(number % 2))])
    assert len(pruner._storage.trials) == 40
    assert not pruner._running


def test_a_new_attempt_begins_anew_and_one_that_ended_otherwise_is_forgotten() -> None:
    pruner = OptunaPruner({"name": "threshold", "upper": 1.0}, (), 0)
    assert pruner.judge(0, 1, [(1, 5.0)])
    assert pruner.judge(0, 1, [(2, 0.0)]), "it stays so"
    assert not pruner.judge(0, 2, [(1, 0.5)])
    assert pruner.judge(0, 2, [(3, float("nan"))]), "NaN is above any threshold"
    pruner.learn([FinishedTrial(0, TrialState.FAIL, ())])
    assert not pruner._storage.trials


@pytest.mark.parametrize(
    ("asked", "key", "words"),
    [
        ({"name": "percentile"}, "search.pruner", "needs the option 'percentile'"),
        ({"name": "median", "n_startup": 3}, "search.pruner.n_startup", "did you mean 'n_startup_trials'"),
        ({"name": "median", "n_startup_trials": -3}, "search.pruner.n_startup_trials", "from 0 on, found -3"),
        ({"name": "hyperband", "reduction_factor": "3"}, "search.pruner.reduction_factor", "found '3'"),
        ({"name": "patient", "patience": 2, "wrapped_pruner": 3}, "search.pruner.wrapped_pruner", "found 3"),
        (
            {"name": "patient", "patience": 2, "wrapped_pruner": {"name": "medium"}},
            "search.pruner.wrapped_pruner.name",
            "did you mean 'median'",
        ),
        (
            {"name": "patient", "patience": 2, "wrapped_pruner": {"name": "median", "min": 3}},
            "search.pruner.wrapped_pruner.min",
            "no such option",
        ),
    ],
)
def test_options_that_it_does_not_take(asked: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        OptunaPruner(asked, ("minimize",), 0)
    assert caught.value.key == key
    assert words in str(caught.value)


def test_a_pruner_that_fails_is_named() -> None:
    pruner = OptunaPruner({"name": "median"}, ("minimize",), 0)
    pruner._pruner = None  # type: ignore[assignment]
    with pytest.raises(MpiensError, match="the pruner failed while judging trial 7: AttributeError"):
        pruner.judge(7, 1, [(0, 1.0)])
