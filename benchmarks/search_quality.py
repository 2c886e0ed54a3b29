"""Does it hurt the search that a sampler is shown a window of the finished trials?

    python benchmarks/search_quality.py [--trials 2500] [--seeds 20] [--algorithm tpe] [--window 1000] [--jobs 2]
                                        [--functions rosenbrock ...] [--plain]

Searches four standard test functions with the bounded sampler and with the same one that is shown all trials
(``window: 0``), with --plain also with Optuna's own class in a study in memory; asynchronously with 8 points in flight
that end in random order. The number of trials must be well above the window, or both are the same. All begin from the
same seeds, but as soon as the window is full their courses part, so seeds are no pairs, and the final losses are
compared as two samples: for each function the median and the quartiles, the ratio of the medians, and the p-values of
rank-sum tests (Mann-Whitney, one-sided) that the bounded sampler is worse. At the end Fisher's combination of the
p-values over the functions.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import GPSampler, TPESampler
from scipy.stats import combine_pvalues, mannwhitneyu

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


class Searcher(Protocol):
    """Gives points and takes their losses; `ask` gives None when there are no more."""

    def ask(self) -> tuple[int, list[float]] | None: ...

    def tell(self, number: int, loss: float) -> None: ...


class Ours:
    """A sampler of mpiens, shown `window` trials; 0: all."""

    def __init__(self, algorithm: str, window: int, trials: int, seed: int, domains: dict[str, Range]) -> None:
        plan = Plan(algorithm, trials, seed=-1 - seed, directions=("minimize",), options={"window": window})
        self._sampler, self._count = OptunaSampler(plan, domains), 0

    def ask(self) -> tuple[int, list[float]] | None:
        points = self._sampler.ask(1)
        self._count += len(points)
        return (self._count - 1, list(points[0].values())) if points else None

    def tell(self, number: int, loss: float) -> None:
        self._sampler.tell([FinishedTrial(number, TrialState.COMPLETE, (loss,))])


class Plain:
    """Optuna's own sampler, as its users have it."""

    def __init__(self, algorithm: str, trials: int, seed: int, domains: dict[str, Range]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(sampler={"tpe": TPESampler, "gp": GPSampler}[algorithm](seed=seed))
        self._space: Any = {name: FloatDistribution(domain.low, domain.high) for name, domain in domains.items()}
        self._left, self._running = trials, dict[int, optuna.Trial]()

    def ask(self) -> tuple[int, list[float]] | None:
        if not self._left:
            return None
        self._left -= 1
        trial = self._study.ask(self._space)
        self._running[trial.number] = trial
        return trial.number, list(trial.params.values())

    def tell(self, number: int, loss: float) -> None:
        self._study.tell(self._running.pop(number), loss)


def search(name: str, algorithm: str, window: int | None, trials: int, seed: int) -> float:
    """The best loss; without a `window` that of Optuna's own class."""
    warnings.simplefilter("ignore")
    function, dimensions, low, high = FUNCTIONS[name]
    domains = {f"x{i}": Range(low, high) for i in range(dimensions)}
    searcher: Searcher = (
        Plain(algorithm, trials, seed, domains) if window is None else Ours(algorithm, window, trials, seed, domains)
    )
    order, flying, best = random.Random(seed), list[tuple[int, list[float]]](), float("inf")
    while True:
        while len(flying) < IN_FLIGHT and (point := searcher.ask()) is not None:
            flying.append(point)
        if not flying:
            return best
        number, row = flying.pop(order.randrange(len(flying)))
        value = function(np.array(row))
        best = min(best, value)
        searcher.tell(number, value)


def quartiles(losses: list[float]) -> str:
    low, middle, high = np.percentile(losses, [25, 50, 75])
    return f"{middle:.4g} ({low:.3g} .. {high:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=2500)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--algorithm", choices=("tpe", "gp"), default="tpe")
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--functions", nargs="+", choices=list(FUNCTIONS), default=list(FUNCTIONS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="print every final loss too")
    chosen = parser.parse_args()
    kinds: dict[str, int | None] = {f"window {chosen.window}": chosen.window, "all trials": 0}
    if chosen.plain:
        kinds["Optuna's own"] = None
    others = list(kinds)[1:]
    print(f"{chosen.algorithm}, {chosen.trials} trials, {chosen.seeds} seeds; final loss: median (quartiles)")
    print(f"{'function':11}" + "".join(f" {kind:>27}" for kind in kinds) + "   ratio of medians, p(worse)")
    p: dict[str, list[float]] = {kind: [] for kind in others}
    begin_s = time.monotonic()
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for name in chosen.functions:
            found = {}
            for kind, window in kinds.items():
                one = partial(search, name, chosen.algorithm, window, chosen.trials)
                found[kind] = list(pool.map(one, range(chosen.seeds)))
                if chosen.verbose:
                    print(f"# {name}, {kind}:", *(f"{loss:.5g}" for loss in found[kind]), flush=True)
            bounded, line = found[next(iter(kinds))], f"{name:11}"
            line += "".join(f" {quartiles(losses):>27}" for losses in found.values()) + "  "
            for kind in others:
                p[kind].append(float(mannwhitneyu(bounded, found[kind], alternative="greater").pvalue))
                line += f" {np.median(bounded) / np.median(found[kind]):5.2f}, {p[kind][-1]:.2f};"
            print(line.rstrip(";"), flush=True)
    for kind in others:
        print(f"worse than {kind!r} over all functions: p = {combine_pvalues(p[kind]).pvalue:.2f}")
    print(f"{(time.monotonic() - begin_s) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
