"""How long the driver waits for a point (CPU time): mpiens' samplers beside plain Optuna, as the history grows.

    python benchmarks/asking.py [--finished 100 1000 10000 100000] [--algorithms tpe cmaes ...] [--repetitions 3]

Both sides have the same finished trials of five parameters (random points of Rosenbrock's function; samplers that keep
a state of their own have asked for them) and 8 running ones. Then each asks and tells a few times; the two take turns.
A rate is the median over the asks of a repetition, the table has the median and the range over repetitions, and ratios
are taken repetition by repetition. Plain Optuna is one study in memory with one sampler, as its users have it; where it
would take longer than --patience to fill the study it is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution

from mpiens.samplers import FinishedTrial, Past, PastTrial, Plan
from mpiens.samplers.optuna import IndependentSampler, OptunaSampler
from mpiens.samplers.optuna.kinds import KINDS
from mpiens.space import Range
from mpiens.trial import TrialState

DIMENSIONS = 5
RUNNING = 8
ASKS = 12
NAMES = [f"x{i}" for i in range(DIMENSIONS)]
OPTUNA_SPACE: Any = {name: FloatDistribution(-2.0, 2.0) for name in NAMES}
OURS = {name: Range(-2.0, 2.0) for name in NAMES}
PLAIN: dict[str, Any] = {name: kind.sampler for name, kind in KINDS.items()} | {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
}


def loss(params: dict[str, float], several: bool) -> tuple[float, ...]:
    x = np.array([params[name] for name in NAMES])
    rosenbrock = float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))
    return (rosenbrock, float(np.sum((x + 1) ** 2))) if several else (rosenbrock,)


def points(count: int) -> list[dict[str, float]]:
    rows = np.random.default_rng(1).uniform(-2, 2, (count, DIMENSIONS))
    return [dict(zip(NAMES, row, strict=True)) for row in rows.tolist()]


class Ours:
    """A sampler of mpiens."""

    def __init__(self, algorithm: str, directions: tuple[str, ...], finished: int, total: int) -> None:
        plan = Plan(algorithm, total, seed=-2, directions=directions)
        self.several = len(directions) > 1
        kind = IndependentSampler if algorithm == "random" else OptunaSampler
        self.sampler = kind(plan, OURS)
        self.number = finished + RUNNING
        if algorithm in KINDS and KINDS[algorithm].replays:
            for number in range(finished):
                self.tell(number, self.sampler.ask(1)[0])
            self.sampler.ask(RUNNING)
            return
        past = []
        for number, params in enumerate(points(finished + RUNNING)):
            ending = FinishedTrial(number, TrialState.COMPLETE, loss(params, self.several))
            past.append(PastTrial(params, ending if number < finished else None))
        self.sampler.restore(Past(len(past), (), past))

    def ask(self) -> None:
        self.point = self.sampler.ask(1)[0]

    def finish(self) -> None:
        self.tell(self.number, self.point)
        self.number += 1

    def tell(self, number: int, params: dict[str, Any]) -> None:
        self.sampler.tell([FinishedTrial(number, TrialState.COMPLETE, loss(params, self.several))])


class Plain:
    """A study of Optuna."""

    def __init__(self, algorithm: str, directions: tuple[str, ...], finished: int) -> None:
        self.several = len(directions) > 1
        kind = PLAIN[algorithm]
        self.study = optuna.create_study(directions=list(directions), sampler=kind(seed=1))
        if algorithm in KINDS and KINDS[algorithm].replays:
            for _ in range(finished):
                self.ask()
                self.finish()
        else:
            self.study.add_trials(
                [
                    optuna.trial.create_trial(
                        params=params, distributions=OPTUNA_SPACE, values=list(loss(params, self.several))
                    )
                    for params in points(finished)
                ]
            )
        for _ in range(RUNNING):
            self.study.ask(OPTUNA_SPACE)

    def ask(self) -> None:
        self.trial = self.study.ask(OPTUNA_SPACE)

    def finish(self) -> None:
        self.study.tell(self.trial, list(loss(self.trial.params, self.several)))


def timed(side: Ours | Plain) -> float:
    start_s = time.process_time()
    side.ask()
    taken_s = time.process_time() - start_s
    side.finish()
    return taken_s


def shown(values: list[float], scale: float = 1.0) -> str:
    numbers = sorted(value * scale for value in values)
    return f"{statistics.median(numbers):8.2f} ({numbers[0]:.2f} .. {numbers[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--algorithms", nargs="+", default=["random", "tpe", "cmaes", "nsga2", "nsga3"])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--patience", type=int, default=20_000, help="most trials that plain Optuna runs to get a state"
    )
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{'algorithm':10} {'finished':>8}  {'mpiens, ms an ask':>28}  {'Optuna, ms an ask':>30}  {'ratio':>24}")
    for algorithm in chosen.algorithms:
        several = algorithm.startswith("nsga")
        directions = ("minimize", "minimize") if several else ("minimize",)
        for finished in chosen.finished:
            asks = ASKS if finished < 100_000 else ASKS // 2
            is_long = algorithm in KINDS and KINDS[algorithm].replays and finished > chosen.patience
            ours, plain = [], []
            mine = Ours(algorithm, directions, finished, finished + 10_000)
            other: Callable[[], Plain] | None = None if is_long else lambda: Plain(algorithm, directions, finished)  # noqa: B023
            theirs = other() if other is not None else None
            for _ in range(chosen.repetitions):
                mine_s, theirs_s = [], []
                for _ in range(asks):
                    mine_s.append(timed(mine))
                    if theirs is not None:
                        theirs_s.append(timed(theirs))
                ours.append(statistics.median(mine_s))
                if theirs_s:
                    plain.append(statistics.median(theirs_s))
            ratio = shown([b / a for a, b in zip(ours, plain, strict=True)]) if plain else f"{'-':>8}"
            other_text = shown(plain, 1e3) if plain else f"{'-':>8}"
            print(f"{algorithm:10} {finished:8d}  {shown(ours, 1e3):>28}  {other_text:>30}  {ratio:>24}", flush=True)


if __name__ == "__main__":
    main()
