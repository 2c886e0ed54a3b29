"""How far a run has come, read from its files while nobody runs it. Launchers' exit codes do not tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mpiens.errors import MpiensError
from mpiens.guard import read_deaths
from mpiens.runtime.charges import at_work, cost
from mpiens.runtime.recovery import find_checkpoint, replay
from mpiens.store.unsealed import recorded_numbers
from mpiens.watchdog import read_kills

_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has to show.

    Attributes:
        finished: Trials that have ended.
        cost: Attempts that the others have used up; it grows when a trial has ended its process.
        running: Trials that groups had.
    """

    finished: int = 0
    cost: int = 0
    running: tuple[int, ...] = ()

    def is_beyond(self, earlier: Progress) -> bool:
        """True when something has been achieved since, if only that a trial has used up one attempt more."""
        return self.finished > earlier.finished or (self.finished == earlier.finished and self.cost > earlier.cost)


def read_progress(run_dir: Path, objectives: int) -> Progress:
    """Read checkpoint and journals; nothing is changed by it. A run that cannot be read has made no progress."""
    try:
        found = find_checkpoint(run_dir)
        ledger, _, _ = replay(run_dir, found.saved, objectives, False)
    except (MpiensError, OSError):
        return Progress()
    # In generations, results are stored long before the sampler is told.
    recorded = recorded_numbers(run_dir)
    unfinished = {number: sent for number, sent in ledger.open.items() if number not in recorded}
    finished = len(recorded.union(ledger.order[:, 0].tolist()))
    return Progress(
        finished, cost(unfinished, read_deaths(run_dir), read_kills(run_dir)), tuple(sorted(at_work(unfinished)))
    )


def blame(run_dir: Path, progress: Progress) -> str:
    """Who has ended the job, or what ran when it ended; a clause for people."""
    deaths = read_deaths(run_dir)
    if deaths:
        told = [f"{death}" + ("" if death.trial is None else f" in trial {death.trial}") for death in deaths]
        return "; ".join(told[:_MOST_NAMED])
    if not progress.running:
        return "no trial was running"
    shown = ", ".join(map(str, progress.running[:_MOST_NAMED]))
    more = len(progress.running) - _MOST_NAMED
    return (
        ("trial" if len(progress.running) == 1 else "trials")
        + f" {shown}"
        + (
            f" and {more} more were running"
            if more > 0
            else " was running"
            if len(progress.running) == 1
            else " were running"
        )
    )
