"""What the run tells those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from mpiens.driver.actions import Outcome
from mpiens.driver.tally import Best, Tally
from mpiens.errors import EXIT_COMPLETE, EXIT_FAILED, EXIT_RESUMABLE, EXIT_USAGE, MpiensError
from mpiens.layout import Layout
from mpiens.trial import TrialState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment.

    Attributes:
        name: The run's label.
        run_dir: Where its files are.
        state: running, stopped, complete or failed.
        objectives: Names of the objectives.
        total: Trials that there will be.
        complete: Finished trials with values.
        pruned: Trials given up early.
        failed: Trials without a value.
        running: Trials that groups have now.
        retried: Attempts that were repeated.
        elapsed_s: Time since the start.
        rate_per_s: Finished trials a second, since the first group was ready.
        time_left_s: Estimate; None before the first trial has ended.
        best: Best feasible trial so far; None without one, and unless there is one objective.
        causes: Failures by cause.
        repeated: Attempts that were repeated, by cause.
        groups: Groups that take trials.
        group_size: Ranks in each.
        lost_groups: Groups that can run no more.
        lost_ranks: Ranks that have died.
        busy_share: Share of the groups' time spent on trials, 0 to 1.
        front: With several objectives, the trials that no other one dominates.
        ranks: All ranks of the job.
    """

    name: str
    run_dir: Path
    state: str
    objectives: tuple[str, ...]
    total: int
    complete: int
    pruned: int
    failed: int
    running: int
    retried: int
    elapsed_s: float
    rate_per_s: float
    time_left_s: float | None
    best: Best | None
    causes: Mapping[str, int]
    repeated: Mapping[str, int]
    groups: int
    group_size: int
    lost_groups: int
    lost_ranks: int
    busy_share: float
    front: tuple[Best, ...] = ()
    ranks: int = 0

    @property
    def done(self) -> int:
        """Finished trials."""
        return self.complete + self.pruned + self.failed


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run has ended.

    Attributes:
        outcome: complete, stopped or failed.
        reason: Why, when it is not complete.
        is_usage: The spec is to blame for a failure.
        last: The run at its end.
        lost_groups: Cause by group.
    """

    outcome: Outcome
    reason: str
    is_usage: bool
    last: Snapshot
    lost_groups: Mapping[int, str]

    @property
    def exit_status(self) -> int:
        """What the command line returns."""
        if self.outcome == "complete":
            return EXIT_COMPLETE
        if self.outcome == "stopped":
            return EXIT_RESUMABLE
        return EXIT_USAGE if self.is_usage else EXIT_FAILED


def still(name: str, run_dir: Path, layout: Layout, objectives: tuple[str, ...], tally: Tally) -> Snapshot:
    """A run in which nothing happens any more."""
    return Snapshot(
        name=name,
        run_dir=run_dir,
        state="complete",
        objectives=objectives,
        total=tally.total,
        complete=tally.finished[TrialState.COMPLETE],
        pruned=tally.finished[TrialState.PRUNED],
        failed=tally.finished[TrialState.FAIL],
        running=0,
        retried=0,
        elapsed_s=0.0,
        rate_per_s=0.0,
        time_left_s=0.0,
        best=tally.best,
        causes={},
        repeated={},
        groups=len(layout.groups),
        group_size=layout.group_size,
        lost_groups=0,
        lost_ranks=0,
        busy_share=0.0,
        front=tuple(tally.front),
        ranks=layout.world_size,
    )


class Observer(Protocol):
    """Watches a run from rank 0."""

    def take_terminal(self, terminal: TextIO) -> None:
        """From now on standard output leads into run.log; this is where the person is."""

    def started(self, snapshot: Snapshot, plan: str) -> None:
        """The run directory exists, the world is planned (`plan`: lines for people), nothing has been dispatched."""

    def warned(self, text: str) -> None:
        """Something a person should know, one sentence."""

    def noted(self, text: str) -> None:
        """Something that is as it should be, one sentence."""

    def updated(self, snapshot: Snapshot) -> None:
        """Time has passed; called about four times a second."""

    def ended(self, ending: Ending) -> None:
        """The run has ended and its files are complete."""

    def failed(self, error: MpiensError, last: Snapshot) -> None:
        """The run cannot go on; the error will be printed as the command's last word."""
