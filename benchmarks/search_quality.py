"""Does it hurt the search that a sampler is shown a window of the finished trials?

    python benchmarks/search_quality.py [--trials 1000] [--seeds 20] [--algorithm tpe] [--window 400] [--jobs 2]

Searches four standard test functions with the bounded sampler and with the same one that is shown all trials
(``window: 0``), from the same seeds, asynchronously with 8 points in flight that end in random order. For each one:
the median and the quartiles of the final loss, in how many of the seeds the bounded one was at least as good, and the
p-value of a rank-sum test (Mann-Whitney, one-sided) that the bounded one is worse. The window is smaller than the
sampler's own, so that it matters at a number of trials that the unbounded one can do in minutes.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from scipy.stats import mannwhitneyu

from mpiens.samplers import FinishedTrial, Plan
from mpiens.samplers.optuna import OptunaSampler
from mpiens.space import Range
from mpiens.trial import TrialState

IN_FLIGHT = 8


def rosenbrock(x: np.ndarray) -> float:
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + np.sum(x**2 - 10 * np.cos(2 * np.pi * x)))


def ackley(x: np.ndarray) -> float:
    near = -20 * np.exp(-0.2 * np.sqrt(np.mean(x**2)))
    return float(near - np.exp(np.mean(np.cos(2 * np.pi * x))) + 20 + np.e)


_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(x: np.ndarray) -> float:
    """From its minimum up, which is -3.32237."""
    return float(3.32237 - np.array([1, 1.2, 3, 3.2]) @ np.exp(-np.sum(_A * (x - _P) ** 2, axis=1)))


FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], float], int, float, float]] = {
    "rosenbrock": (rosenbrock, 5, -2.048, 2.048),
    "rastrigin": (rastrigin, 5, -5.12, 5.12),
    "ackley": (ackley, 5, -32.768, 32.768),
    "hartmann6": (hartmann6, 6, 0.0, 1.0),
}


def search(name: str, algorithm: str, window: int, trials: int, seed: int) -> float:
    """The best loss."""
    warnings.simplefilter("ignore")
    function, dimensions, low, high = FUNCTIONS[name]
    plan = Plan(algorithm, trials, seed=-1 - seed, directions=("minimize",), options={"window": window})
    sampler = OptunaSampler(plan, {f"x{i}": Range(low, high) for i in range(dimensions)})
    order, flying, best, number = random.Random(seed), [], float("inf"), 0
    while True:
        for point in sampler.ask(IN_FLIGHT - len(flying)):
            flying.append((number, point))
            number += 1
        if not flying:
            return best
        ended, point = flying.pop(order.randrange(len(flying)))
        value = function(np.array(list(point.values())))
        best = min(best, value)
        sampler.tell([FinishedTrial(ended, TrialState.COMPLETE, (value,))])


def quartiles(losses: list[float]) -> str:
    low, middle, high = np.percentile(losses, [25, 50, 75])
    return f"{middle:9.4g} ({low:.3g} .. {high:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--algorithm", default="tpe")
    parser.add_argument("--window", type=int, default=400)
    parser.add_argument("--functions", nargs="+", default=list(FUNCTIONS))
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    print(f"{chosen.algorithm}, {chosen.trials} trials, {chosen.seeds} seeds; final loss: median (quartiles)")
    print(f"{'function':11} {f'window {chosen.window}':>30} {'all trials':>30}  as good or better    p(worse)")
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for name in chosen.functions:
            both = []
            for window in (chosen.window, 0):
                one = partial(search, name, chosen.algorithm, window, chosen.trials)
                both.append(list(pool.map(one, range(chosen.seeds))))
            bounded, unbounded = both
            wins = sum(a <= b for a, b in zip(bounded, unbounded, strict=True))
            p = float(mannwhitneyu(bounded, unbounded, alternative="greater").pvalue)
            print(
                f"{name:11} {quartiles(bounded):>30} {quartiles(unbounded):>30}  {wins:>8} of {chosen.seeds:<6}"
                f" {p:>8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
