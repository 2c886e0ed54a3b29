"""What it costs that nothing is lost: journal, checkpoints, resuming, memory.

    python benchmarks/durability.py [--trials 100000] [--repetitions 5]

Four parts, on one process of this machine, without MPI:

- The journal: the driver's time for a result of 200 bytes (its record appended, what was asked, sent and told noted,
  fsync once a second as in a run), interleaved with Optuna's JournalStorage on a file and with a row appended to an
  HDF5 dataset by plain h5py and flushed. Ratios are taken repetition by repetition.
- The pause of a checkpoint: the longest step that the driver's loop waits for when all of the trials have just ended
  (none of them is in a segment yet), and when a thousand have since the last checkpoint.
- Resuming: from opening the run directory to having the driver's state again, for a sampler without history and for
  one with (TPE), after a checkpoint; and Optuna loading a tenth as many trials from its journal, for it is slow.
- Memory that the driver keeps for a finished trial.

Besides the time that passes, the time of the processor is shown: on a machine that has more to do the two differ.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import optuna

from mpiens.checkpoint import Saved
from mpiens.driver import Driver, DriverConfig
from mpiens.driver.ledger import Ledger
from mpiens.goals import Goals
from mpiens.messages import Assignment
from mpiens.record import TrialRecord, encode
from mpiens.runtime.logbook import Kept, Logbook
from mpiens.runtime.recovery import find_checkpoint, recover, replay
from mpiens.samplers.base import FinishedTrial, Past
from mpiens.store import FileStore
from mpiens.trial import TrialState

BATCH = 32
"""Results that the driver finds at once when trials are short."""

ROUND = 5000


def record(number: int) -> bytes:
    """About 200 bytes."""
    params = {"x": number / 7, "y": number / 3, "kind": "abc"}
    results = {"rate": number * 0.1, "spikes": number % 90, "label": f"trial {number} " + "-" * 80}
    fields = (1, 2, number, 1.7e9, 0.5, "", params, {"loss": number / 9}, results)
    return encode(TrialRecord(number, TrialState.COMPLETE, *fields))


def facts() -> Saved:
    """What a checkpoint says besides its columns."""
    names = ("spec_text", "spec_file", "spec_beside", "spec_digest", "points_digest", "algorithm", "version")
    nothing = np.zeros(0)
    return Saved(**dict.fromkeys(names, "a"), serial=0, pending=[], states=nothing, values=nothing, order=nothing)


class Sampler:
    """Only what resuming needs of one."""

    def __init__(self, total: int, needs_history: bool) -> None:
        self.total, self.needs_history = total, needs_history

    def restore(self, past: Past) -> dict[int, Any]:
        """As an adaptive sampler does, take in every trial."""
        for _trial in past.trials:
            pass
        return {}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


class Run:
    """Rank 0's part of a run, without messages."""

    def __init__(self, folder: Path, total: int, keeps_points: bool) -> None:
        self.store = FileStore(folder, "run", "", {}, {"loss": "minimize"}, ["x", "y", "kind"])
        self.ledger = Ledger(1, keeps_points)
        self.logbook = Logbook(folder, facts(), self.ledger, Kept())
        self.driver = Driver(DriverConfig(total, 1))
        self.logbook.checkpoint(self.driver)
        self._synced_s = time.monotonic()

    def finish(self, first: int, count: int, records: list[bytes]) -> None:
        """These trials are asked for, sent, stored and told."""
        numbers = range(first, first + count)
        points = [{"x": n / 7, "y": n / 3, "kind": "abc"} for n in numbers]
        self.logbook.asked(points)
        sent = tuple(Assignment(n, 1, point) for n, point in zip(numbers, points, strict=True))
        self.logbook.sent(0, sent)
        self.logbook.flush()
        self.store.append(records)
        self.logbook.told([FinishedTrial(n, TrialState.COMPLETE, (n / 9,)) for n in numbers])
        self.logbook.flush()
        if time.monotonic() - self._synced_s > 1.0:
            self._synced_s = time.monotonic()
            self.store.sync()
            self.logbook.sync()

    def checkpoint(self) -> np.ndarray:
        """The steps of a checkpoint, ``[n, 2]``: seconds that pass, and of the processor.

        The first one is what must happen at once.
        """
        clock = [_now()]
        chores = [self.logbook.checkpointing(self.driver), self.store.sealing()]
        for chore in chores:
            clock.append(_now())
            for _step in chore:
                clock.append(_now())
        clock.append(_now())
        return np.diff(clock, axis=0)


def time_journal(folder: Path) -> float:
    """Seconds a result."""
    run = Run(folder, ROUND, False)
    records = [record(number) for number in range(ROUND)]
    start = _now()
    for first in range(0, ROUND, BATCH):
        run.finish(first, min(BATCH, ROUND - first), records[first : first + BATCH])
    passed_s, processor_s = np.subtract(_now(), start) / ROUND
    print(f"  mpiens, of the processor: {processor_s * 1e6:.1f} us")
    return float(passed_s)


def time_optuna(folder: Path) -> float:
    """Seconds for a finished trial with two parameters."""
    count = ROUND // 10
    study = optuna.create_study(storage=_optuna_storage(folder))
    trials = [_optuna_trial(number) for number in range(count)]
    start_s = time.perf_counter()
    for trial in trials:
        study.add_trial(trial)
    return (time.perf_counter() - start_s) / count


def time_h5py(folder: Path) -> float:
    """Seconds for a row of 200 bytes, appended and flushed."""
    folder.mkdir()
    with h5py.File(folder / "rows.h5", "w") as file:
        rows = file.create_dataset("rows", (0, 25), "f8", maxshape=(None, 25))
        row = np.arange(25.0)
        start_s = time.perf_counter()
        for number in range(ROUND):
            rows.resize(number + 1, axis=0)
            rows[number] = row
            file.flush()
        return (time.perf_counter() - start_s) / ROUND


def _optuna_storage(folder: Path) -> optuna.storages.JournalStorage:
    folder.mkdir(exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    return optuna.storages.JournalStorage(backend)


def _optuna_trial(number: int) -> optuna.trial.FrozenTrial:
    floats = optuna.distributions.FloatDistribution(0.0, 1e9)
    return optuna.trial.create_trial(
        params={"x": number / 7, "y": number / 3}, distributions={"x": floats, "y": floats}, value=number / 9
    )


def compare_journals(folder: Path, repetitions: int) -> None:
    """Print cost per result and its ratios."""
    contenders: dict[str, Callable[[Path], float]] = {"mpiens": time_journal, "optuna": time_optuna, "h5py": time_h5py}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(repetitions):
        for name, measure in contenders.items():
            times[name].append(measure(folder / f"{name}{repetition}"))
    print(f"a result of {len(record(1000))} bytes")
    for name, found in times.items():
        ratios = [other / own for other, own in zip(found, times["mpiens"], strict=True)]
        print(
            f"  {name:8} {statistics.median(found) * 1e6:8.1f} us ({min(found) * 1e6:.1f} to {max(found) * 1e6:.1f}), "
            f"{statistics.median(ratios):.1f} x mpiens ({min(ratios):.1f} to {max(ratios):.1f})"
        )


def measure_run(folder: Path, trials: int, keeps_points: bool, repetitions: int) -> None:
    """Print pauses, memory and the time to resume."""
    kind = "with history" if keeps_points else "without history"
    gc.collect()
    tracemalloc.start()
    run = Run(folder, trials, keeps_points)
    before = tracemalloc.get_traced_memory()[0]
    for first in range(0, trials, BATCH):
        count = min(BATCH, trials - first)
        run.finish(first, count, [record(number) for number in range(first, first + count)])
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"{trials} trials, a sampler {kind}")
    print(f"  memory      {kept / trials:8.1f} bytes a finished trial")
    _print_steps("all of them since the last checkpoint", run.checkpoint())
    more = 0
    for _ in range(repetitions):
        for first in range(trials + more, trials + more + 1000, 50):
            run.finish(first, 50, [record(number) for number in range(first, first + 50)])
        more += 1000
        steps = run.checkpoint()
    _print_steps("a thousand since the last checkpoint", steps)
    for first in range(trials + more, trials + more + 1000, 50):
        run.finish(first, 50, [record(number) for number in range(first, first + 50)])
    total = trials + more + 1000
    times = []
    for _ in range(repetitions):
        start = _now()
        found = find_checkpoint(folder)
        store = FileStore(folder, "run", "", {}, {"loss": "minimize"}, ["x", "y", "kind"])
        ledger, _kept, warnings = replay(folder, found.saved, 1, keeps_points)
        recovered = recover(ledger, store, Sampler(total, keeps_points), 3, Goals(("minimize",)))  # type: ignore[arg-type]
        times.append(np.subtract(_now(), start))
        assert recovered.start.tally.done == total
        assert not warnings
    (wall_s, processor_s), least_s, most_s = (
        np.median(times, axis=0),
        min(t[0] for t in times),
        max(t[0] for t in times),
    )
    print(f"  resuming    {wall_s:8.2f} s ({least_s:.2f} to {most_s:.2f}), {processor_s:.2f} of the processor")


def _print_steps(when: str, steps: np.ndarray) -> None:
    wall_ms, processor_ms = steps.max(axis=0) * 1e3
    print(
        f"  checkpoint  {wall_ms:8.1f} ms is its longest step ({processor_ms:.1f} of the processor), "
        f"of {len(steps)} in {steps[:, 0].sum():.2f} s ({steps[:, 1].sum():.2f}); {when}"
    )


def measure_optuna(folder: Path, trials: int) -> None:
    """Print how long Optuna takes to load its journal."""
    study = optuna.create_study(storage=_optuna_storage(folder), study_name="s")
    for number in range(trials):
        study.add_trial(_optuna_trial(number))
    start_s = time.perf_counter()
    loaded = optuna.load_study(study_name="s", storage=_optuna_storage(folder))
    count = len(loaded.get_trials(deepcopy=False))
    print(f"optuna loads {count} trials from its journal in {time.perf_counter() - start_s:.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare_journals(folder, options.repetitions)
        for keeps_points in (False, True):
            measure_run(folder / f"run{keeps_points}", options.trials, keeps_points, options.repetitions)
        measure_optuna(folder / "load", options.trials // 10)


if __name__ == "__main__":
    main()
