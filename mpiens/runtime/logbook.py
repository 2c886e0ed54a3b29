"""Rank 0's own memory on disk: a journal of what it asked, sent and told, and the checkpoint that replaces it.

An entry is written before what it says leaves this process, so that a replay never knows less than the groups do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack

from mpiens.checkpoint import Saved, writing_checkpoint
from mpiens.driver import Driver
from mpiens.driver.ledger import Ledger, asked_entry, repeated_entry, sent_entry, told_entry
from mpiens.messages import Assignment
from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial
from mpiens.store.files import at_once, explaining, make_folder, remove, remove_empty, syncing
from mpiens.store.journal import Journal
from mpiens.watchdog import note_paths

FOLDER = "journal"
_NAME = re.compile(r"driver-(\d+)\.bin")


@dataclass(frozen=True, slots=True)
class Kept:
    """Which journals of the driver there are to write and to keep.

    Attributes:
        serial: The next journal's number.
        oldest: Number of the first one that the checkpoint before the next needs.
    """

    serial: int = 0
    oldest: int = 0


class Logbook:
    """Keeps what a resumed run needs besides the results.

    Args:
        run_dir: The run directory.
        facts: What a checkpoint says of the run; its columns are left aside.
        ledger: The run so far.
        kept: Journals that are there.

    Raises:
        StoreError: It cannot be written.
    """

    def __init__(self, run_dir: Path, facts: Saved, ledger: Ledger, kept: Kept) -> None:
        self._run_dir = run_dir
        self._facts = facts
        self._ledger = ledger
        self._kept = kept
        self._entries: list[Any] = []
        self._pack = msgpack.Packer().pack
        with explaining(run_dir / FOLDER, "make the folder"):
            make_folder(run_dir / FOLDER)
        self._journal: Journal | None = None
        self._steps: Iterator[None] | None = None

    def asked(self, points: Sequence[Params]) -> None:
        """The sampler has given these points."""
        self._entries.append(asked_entry(self._ledger.asked, points))
        self._ledger.ask(points)

    def sent(self, group: int, assignments: Sequence[Assignment]) -> None:
        """These attempts are about to be sent."""
        self._entries.append(sent_entry(group, assignments))

    def repeated(self, number: int, attempt: int, history: str) -> None:
        """A trial waits again."""
        self._entries.append(repeated_entry(number, attempt, history))

    def told(self, trials: Sequence[FinishedTrial]) -> None:
        """The sampler is about to be told this; the trials' records are in the store."""
        self._entries.append(told_entry(trials))
        self._ledger.tell(trials)

    def flush(self) -> None:
        """Write what was said since the last time, in one piece.

        Raises:
            StoreError: It cannot be written; nothing that it says may leave this process.
        """
        if self._entries and self._journal is not None:
            self._journal.append(self._pack(self._entries))
            self._entries.clear()

    def sync(self) -> None:
        """Force what was written to the disk."""
        if self._journal is not None:
            self._journal.sync()

    def checkpoint(self, driver: Driver) -> None:
        """Write a checkpoint and begin a new journal; those that no checkpoint needs any more go.

        Raises:
            StoreError: The disk refuses; the checkpoint and the journals before are still there.
        """
        at_once(self.checkpointing(driver))

    def checkpointing(self, driver: Driver) -> Iterator[None]:
        """`checkpoint` of this moment, written in steps of some milliseconds; the run may go on between them.

        Raises:
            StoreError: As of `checkpoint`, also from a step.
        """
        self._end_steps()
        self.flush()
        old = self._journal
        serial, oldest = self._kept.serial, self._kept.oldest
        self._journal = Journal(self._run_dir / FOLDER / journal_name(serial))
        self._kept = Kept(serial + 1, serial)
        self._steps = self._checkpointing(old, self._now(driver, serial), oldest)
        return self._steps

    def _checkpointing(self, old: Journal | None, saved: Saved, oldest: int) -> Iterator[None]:
        if old is not None:
            with explaining(old.path, "force the course of the run to the disk"):
                yield from syncing(old.path)
            old.close()
        yield from writing_checkpoint(self._run_dir, saved)
        self._delete_before(oldest)

    def _end_steps(self) -> None:
        if self._steps is not None:
            at_once(self._steps)
            self._steps = None

    def finish(self, driver: Driver, is_complete: bool, between: Callable[[], None] = lambda: None) -> None:
        """Write the last checkpoint. Of a complete run no journal is left.

        `between` is called between the steps, because all of them may take long.
        """
        if not is_complete:
            at_once(self.checkpointing(driver), between)
        else:
            self._end_steps()
            self.flush()
            at_once(writing_checkpoint(self._run_dir, self._now(driver, self._kept.serial)), between)
            self._delete_before(self._kept.serial)
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        folder = self._run_dir / FOLDER
        if is_complete and folder.is_dir():
            with explaining(folder, "delete what a complete run does not need"):
                remove(note_paths(self._run_dir))
                remove_empty(folder)

    def _now(self, driver: Driver, serial: int) -> Saved:
        """What a checkpoint says of this moment; nothing that happens later changes it."""
        ledger = self._ledger
        return replace(
            self._facts,
            serial=serial,
            pending=driver.unfinished(),
            states=ledger.states.copy(),
            values=ledger.values.copy(),
            order=ledger.order.copy(),
            points=bytes(ledger.packed_points),
        )

    def _delete_before(self, serial: int) -> None:
        old = [path for number, path in driver_journals(self._run_dir) if number < serial]
        if old:
            with explaining(self._run_dir / FOLDER, "delete journals that a checkpoint has replaced"):
                remove(old)


def journal_name(serial: int) -> str:
    """File name of a journal of the driver."""
    return f"driver-{serial:06d}.bin"


def driver_journals(run_dir: Path) -> list[tuple[int, Path]]:
    """The driver's journals in a run directory, oldest first, with their numbers."""
    folder = run_dir / FOLDER
    if not folder.is_dir():
        return []
    return sorted((int(m.group(1)), path) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name)))
