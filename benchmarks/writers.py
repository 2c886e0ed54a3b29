"""What large results cost rank 0, with and without ranks that write (``store.writers``).

    python benchmarks/writers.py [--trials 1000] [--kilobytes 40] [--repetitions 3]

Two groups of one rank return one array for each trial, and do nothing else. Runs without writers, with one and with
two are interleaved. Processor time is that of rank 0 from its start to its end, less that of a run of ten trials; the
rate is from the first trial's start to the last one's end, as stored in results.h5. Medians with their range; ratios
are taken repetition by repetition. On a machine with fewer cores than ranks the rate says little: all ranks share them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from launched import launch, spread, trial_rate

WRITERS = (0, 1, 2)
BASE = 10

MODEL = """
import numpy as np

def simulate(trial):
    return {{"loss": trial.params["x"], "trace": np.full({elements}, trial.params["x"])}}
"""
SPEC = """
name: writers
model: {python: model.py:simulate}
space: {x: {low: 0.0, high: 1.0}}
search: {algorithm: random, trials: 10, objectives: {loss: minimize}}
checkpoint: {every: 1s}
"""
TIMED = """
import atexit, os, runpy, sys, time
if "0" in (os.environ.get("PMI_RANK"), os.environ.get("OMPI_COMM_WORLD_RANK")):
    atexit.register(lambda: open("cpu", "w").write(repr(time.process_time())))
sys.argv[0] = "mpiens"
runpy.run_module("mpiens", run_name="__main__")
"""


def run(folder: Path, trials: int, writers: int) -> tuple[float, float]:
    """Processor time of rank 0 in seconds, and trials a second."""
    settings = ["--set", f"search.trials={trials}", "--set", f"store.writers={writers}"]
    launch(folder, 3 + writers, "timed.py", "run", "spec.yaml", "--overwrite", *settings)
    return float((folder / "cpu").read_text()), trial_rate(folder / "writers.run", trials)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--kilobytes", type=int, default=40)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    cost_us: dict[int, list[float]] = {writers: [] for writers in WRITERS}
    rates: dict[int, list[float]] = {writers: [] for writers in WRITERS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.py").write_text(MODEL.format(elements=options.kilobytes * 125))
        (folder / "spec.yaml").write_text(SPEC)
        (folder / "timed.py").write_text(TIMED)
        for _ in range(options.repetitions):
            for writers in WRITERS:
                base_s, _rate = run(folder, BASE, writers)
                cpu_s, rate = run(folder, BASE + options.trials, writers)
                cost_us[writers].append(1e6 * (cpu_s - base_s) / options.trials)
                rates[writers].append(rate)
    print(f"{options.trials} results of {options.kilobytes} kB, two groups")
    for writers in WRITERS:
        print(
            f"writers: {writers}   rank 0 {spread(cost_us[writers], ',.0f')} us a trial   "
            f"{spread(rates[writers], ',.0f')} trials/s"
        )
    for writers in WRITERS[1:]:
        ratios = [ours / own for ours, own in zip(cost_us[writers], cost_us[0], strict=True)]
        print(f"rank 0's time, {writers} / 0 writers: {spread(ratios, '.2f')}")


if __name__ == "__main__":
    main()
