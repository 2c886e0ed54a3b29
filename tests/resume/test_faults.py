"""A whole run, driver and model in this process, whose disk fails or whose process ends at any change of a file.

Every seventh step is taken; ``MPIENS_EVERY_STEP=1`` takes all.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pytest

from faults import CHANGES, Killed, dies_at, disk, fails_at
from mpiens.driver import machine
from mpiens.errors import StoreError
from mpiens.report.status import StatusFile
from mpiens.runtime import drive, prepare
from mpiens.runtime.lead import lead
from mpiens.runtime.lifesign import read_lifesign
from mpiens.runtime.observer import Ending
from mpiens.runtime.order import Order
from mpiens.runtime.signals import StopSignals
from mpiens.runtime.walltime import Allotment
from project import contents, write_project

STRIDE = 1 if os.environ.get("MPIENS_EVERY_STEP") else 7
TRIALS = 9
MODEL = """
def simulate(trial):
    x = trial.params["x"]
    return {"loss": (x - 0.3) ** 2, "track": [x] * (1 + trial.number % 2)}
"""


class NoTransport:
    """Nobody to talk to."""

    lost = frozenset[int]()


class Alone(NamedTuple):
    """A world of one rank, without MPI."""

    rank: int = 0
    size: int = 1
    transport: NoTransport = NoTransport()

    def make_group(self, members: list[int]) -> tuple[Any, Any]:  # noqa: ARG002
        return NoComm(), NoComm()


class NoComm:
    """What the model's communicator is when nobody calls it."""

    rank, size = 0, 1

    def Get_size(self) -> int:  # noqa: N802 - the name is mpi4py's
        return 1

    def Get_rank(self) -> int:  # noqa: N802 - the name is mpi4py's
        return 0

    def Dup(self) -> NoComm:  # noqa: N802 - the name is mpi4py's
        return self

    def Free(self) -> None:  # noqa: N802 - the name is mpi4py's
        pass


class Watcher(StatusFile):
    """Notes what was stored before the run went on, and keeps status.json as a run does."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warned(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The process that is killed here lives on.
    monkeypatch.setattr(prepare, "check_idle", lambda *_: None)
    # A checkpoint after every trial.
    monkeypatch.setattr(machine, "FIRST_CHECKPOINT_S", 0.0)
    monkeypatch.setattr(drive, "TICK_S", 0.0)
    search = {"algorithm": "random", "trials": TRIALS, "batch": 3, "objectives": {"loss": "minimize"}}
    return write_project(
        tmp_path, MODEL, space={"x": {"low": 0.0, "high": 1.0}}, search=search, checkpoint={"every": "0.001s"}
    )


def run(spec: Path, run_dir: Path) -> tuple[Ending, Watcher]:
    watcher = Watcher()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        order = Order(spec, run_dir, resume=True)
        return lead(Alone(), order, watcher, StopSignals(0, 1), Allotment), watcher  # type: ignore[arg-type]


def count_steps(spec: Path, run_dir: Path) -> int:
    with disk(lambda *_: None) as faulty:
        ending, _watcher = run(spec, run_dir)
    assert ending.outcome == "complete", ending
    assert set(faulty.seen) >= set(CHANGES) - {"link"}
    return len(faulty.seen)


def steps_of(spec: Path, folder: Path) -> Iterator[tuple[int, Path]]:
    steps = count_steps(spec, folder / "whole")
    assert steps > 150
    for step in range(0, steps, STRIDE):
        yield step, folder / "hurt"
        shutil.rmtree(folder / "hurt", ignore_errors=True)


def stored(run_dir: Path) -> set[int]:
    """Trials that plain h5py sees."""
    if not (run_dir / "results.h5").exists():
        return set()
    with h5py.File(run_dir / "results.h5") as file:
        numbers = file["trials/number"][()].tolist()
        assert len(file["trials/values/loss"][()]) == len(numbers) == len(set(numbers))
    return set(numbers)


def check_goes_on(spec: Path, run_dir: Path, whole: Path, step: int) -> None:
    """As an undisturbed run, without a warning unless the first checkpoint had not been written."""
    stored(run_dir)
    has_checkpoint = any(run_dir.glob("checkpoint*.h5"))
    with disk(lambda *_: None):
        ending, watcher = run(spec, run_dir)
    assert ending.outcome == "complete", step
    assert all("no sound checkpoint" in warning and not has_checkpoint for warning in watcher.warnings), step
    assert contents(run_dir) == contents(whole), step
    assert sorted(run_dir.rglob("*")) == [run_dir / path.relative_to(whole) for path in sorted(whole.rglob("*"))], step
    assert read_lifesign(run_dir)["state"] == "complete", step


def test_a_kill_at_any_change_of_a_file_loses_nothing(spec: Path, tmp_path: Path) -> None:
    for step, run_dir in steps_of(spec, tmp_path):
        with pytest.raises(Killed), disk(dies_at(step)):
            run(spec, run_dir)
        check_goes_on(spec, run_dir, tmp_path / "whole", step)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errno.ENOSPC, "make space, then resume"),
        (errno.EIO, "check it, then resume"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
    ],
)
def test_a_disk_that_fails_at_any_change_stops_the_run_with_a_word(
    spec: Path, tmp_path: Path, error: int, advice: str, once: Callable[[int], bool]
) -> None:
    for step, run_dir in steps_of(spec, tmp_path):
        if not once(step):
            continue
        try:
            with disk(fails_at(step, error, times=10**6)):
                ending, _watcher = run(spec, run_dir)
        except StoreError as failure:
            assert str(run_dir) in str(failure), step
            assert os.strerror(error) in str(failure), step
            assert advice in str(failure), step
        else:  # what failed was not needed any more, or only shown
            assert ending.outcome == "complete", step
        check_goes_on(spec, run_dir, tmp_path / "whole", step)


@pytest.fixture
def once(error: int) -> Callable[[int], bool]:
    """Spreads the steps over the errors, unless all are wanted."""
    turn = {errno.ENOSPC: 0, errno.EIO: 1, errno.EDQUOT: 2, errno.EROFS: 3}[error]
    return lambda step: STRIDE == 1 or step // STRIDE % 4 == turn
