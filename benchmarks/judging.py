"""How long the driver takes to say whether a trial is to be given up (CPU time): beside plain Optuna, by history.

    python benchmarks/judging.py [--finished 100 1000 10000 100000] [--pruners median hyperband] [--repetitions 5]

Both sides have the same finished trials with ten reports each. Then a trial reports and asks ten times; the two take
turns. Plain Optuna is one study in memory. A repetition's time is the mean over its questions; the table has the median
and the range over repetitions, and ratios repetition by repetition.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
import optuna

from mpiens.samplers import FinishedTrial
from mpiens.samplers.optuna.pruners import OptunaPruner
from mpiens.trial import TrialState

STEPS = 10
OPTIONS: dict[str, dict[str, int]] = {"hyperband": {"max_resource": STEPS}}
KINDS = {
    "median": optuna.pruners.MedianPruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
}


def curves(finished: int) -> np.ndarray:
    """Reports of all trials, ``[finished, STEPS]``."""
    return np.random.default_rng(1).uniform(1.0, 2.0, (finished, STEPS))


def make_ours(name: str, finished: int) -> OptunaPruner:
    pruner = OptunaPruner({"name": name, **OPTIONS.get(name, {})}, ("minimize",), 0)
    for number, values in enumerate(curves(finished).tolist()):
        reports = tuple(enumerate(values, 1))
        pruner.learn([FinishedTrial(number, TrialState.COMPLETE, (values[-1],), reports=reports)])
    return pruner


def make_plain(name: str, finished: int) -> optuna.Study:
    study = optuna.create_study(study_name="mpiens", pruner=KINDS[name](**OPTIONS.get(name, {})))
    trials = []
    for values in curves(finished).tolist():
        reports = dict(enumerate(values, 1))
        trials.append(optuna.trial.create_trial(value=values[-1], intermediate_values=reports))
    study.add_trials(trials)
    return study


def asked_ours(pruner: OptunaPruner, number: int) -> float:
    taken_s = []
    for step in range(1, STEPS + 1):
        start_s = time.process_time()
        pruner.judge(number, 1, [(step, 0.5 / step)])
        taken_s.append(time.process_time() - start_s)
    pruner.learn([FinishedTrial(number, TrialState.FAIL, ())])
    return statistics.mean(taken_s)


def asked_plain(study: optuna.Study) -> float:
    trial, taken_s = study.ask(), []
    for step in range(1, STEPS + 1):
        start_s = time.process_time()
        trial.report(0.5 / step, step)
        trial.should_prune()
        taken_s.append(time.process_time() - start_s)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return statistics.mean(taken_s)


def shown(values: list[float], scale: float = 1.0) -> str:
    numbers = sorted(value * scale for value in values)
    return f"{statistics.median(numbers):8.3f} ({numbers[0]:.3f} .. {numbers[-1]:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--pruners", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--repetitions", type=int, default=5)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{'pruner':18} {'finished':>8}  {'mpiens, ms':>28}  {'Optuna, ms':>32}  {'ratio':>30}")
    for name in chosen.pruners:
        for finished in chosen.finished:
            pruner, study = make_ours(name, finished), make_plain(name, finished)
            ours, plain = [], []
            for repetition in range(chosen.repetitions):
                ours.append(asked_ours(pruner, finished + repetition))
                plain.append(asked_plain(study))
            ratio = shown([b / a for a, b in zip(ours, plain, strict=True)])
            print(f"{name:18} {finished:8d}  {shown(ours, 1e3):>28}  {shown(plain, 1e3):>32}  {ratio:>30}", flush=True)


if __name__ == "__main__":
    main()
