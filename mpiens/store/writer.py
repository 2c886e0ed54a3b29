"""The store of a run in files: journal first, then segments, and results.h5 over them.

A kill at any point neither loses nor doubles a record, because every step leaves the directory readable:

- a record is in a journal until the segment that holds it is durable; when both have it, the segment's counts;
- a segment is made of journals that nobody appends to any more, so that it can be made step by step between messages;
- a merged segment names those it replaces, so that they count no longer from the moment it has its name;
- results.h5 is only ever replaced, and what it was made from is deleted after that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mpiens.errors import StoreError
from mpiens.record import Params, TrialRecord
from mpiens.small_files import sync_folder
from mpiens.store.base import RunState
from mpiens.store.beside import FOLDER, beside, remove_lone, remove_with
from mpiens.store.files import at_once, explaining, make_folder, remove, remove_empty, syncing
from mpiens.store.gather import Gathered
from mpiens.store.hdf5 import Facts
from mpiens.store.intake import Intake
from mpiens.store.journal import START, Journal
from mpiens.store.master import writing_master
from mpiens.store.onlookers import are_there, looking
from mpiens.store.outcomes import Outcomes, join_outcomes, outcomes_of, read_outcomes, read_points
from mpiens.store.pack import writing_merged, writing_packed
from mpiens.store.segment import writing_segment
from mpiens.store.shelf import Shelf

SYNC_EVERY = 2**15
"""Appended records after which they are forced to the disk. Fewer wait for the next `FileStore.sync`, which comes every
second: a disk that takes 5 ms would cost short trials more than all else that is done for them."""

_CHUNK_BYTES = 2**26
_CHUNK_RECORDS = 2**16
_STEP_RECORDS = 256


class FileStore:
    """Implements `mpiens.store.base.Store` for one writer, in a new or an existing run directory.

    Args:
        run_dir: The run directory; made when it is not there.
        name: The run's label.
        spec_text: The spec.
        provenance: Where the run comes from: strings and numbers by name.
        objectives: ``minimize`` or ``maximize`` by name.
        parameters: Names of the parameters.
        writer: Index of this writer. Writer 0 also keeps results.h5, and takes over what writers have left that are not
            there any more.
        writers: How many there are. Of several each has journals and segments of its own.
        first_serial: The first number for this writer's segments, of another one than 0: `share` tells it.

    Raises:
        StoreError: The directory cannot be read or written.
    """

    def __init__(
        self,
        run_dir: str | Path,
        name: str,
        spec_text: str,
        provenance: Mapping[str, str | int | float],
        objectives: Mapping[str, str],
        parameters: tuple[str, ...] | list[str],
        writer: int = 0,
        writers: int = 1,
        first_serial: int = 0,
    ) -> None:
        self.run_dir = Path(run_dir)
        self._facts = Facts(name, spec_text, provenance, objectives, tuple(parameters))
        self._writer = writer
        self._results = self.run_dir / "results.h5"
        self._shelf = Shelf(self.run_dir, writer, writers, first_serial)
        self._intake = Intake(self.run_dir / "journal", writer, writers)
        self._retired: dict[Path, int] = {}  # since when results.h5 does not show them, in nanoseconds
        self._sealed: set[Path] = set()
        self._adopted: list[tuple[Collection[str], list[Path]]] = []
        self._unsynced = 0
        self._steps: Iterator[None] | None = None
        with explaining(self.run_dir, "make the run directory"):
            for folder in (self.run_dir, self.run_dir / "journal", self._shelf.folder):
                make_folder(folder)
        if writer:
            self._shelf.scan()
        else:
            self._shelf.take_stock()
        self._journal = self._intake.open()
        self._shown: tuple[RunState, list[str]] | None = None
        at_once(self._showing("running"))

    @property
    def warnings(self) -> list[str]:
        """What a user should know about what was found in the directory, a sentence each."""
        return [*self._shelf.warnings, *self._intake.warnings]

    def append(self, records: Sequence[bytes]) -> None:
        """Write packed `TrialRecord`s to the journal: all of them, or none."""
        self._journal.append(*records)
        self._unsynced += len(records)
        if self._unsynced >= SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Force what was appended to the disk."""
        self._journal.sync()
        self._unsynced = 0

    def seal(self) -> None:
        """Turn what was appended into segments, start a new journal, and renew results.h5."""
        at_once(self.sealing())

    def sealing(self) -> Iterator[None]:
        """`seal` in steps of some milliseconds; records may be appended between them, to the new journal."""
        self._end_steps()
        old = self._begin_journal()
        self._steps = self._sealing(old, "running")
        return self._steps

    def finish(self, state: RunState, between: Callable[[], None] = lambda: None, trials: int = 0) -> Sequence[str]:
        """Seal, and when `state` is complete make results.h5 self-contained. The store is closed.

        With several writers, writer 0 finishes last, and takes over what the others have left.

        Args:
            state: What results.h5 is to say of the run.
            between: Called between the steps, because all of them may take long.
            trials: So many have a record, as far as anybody knows. With fewer nothing is deleted.

        Returns:
            What a person should know, a sentence each.

        Raises:
            StoreError: The disk refuses, or records are missing.
        """
        if self._writer == 0:
            self._intake.writers = self._shelf.writers = 1  # the others have closed theirs
        packs = state == "complete" and self._writer == 0
        self._end_steps()
        at_once(self._sealing(self._begin_journal(), "running" if packs else state), between)
        if packs:
            self._count(trials)
            return self._pack(state, between)
        self._journal.close()
        return ()

    def close(self) -> None:
        """Leave everything as it is, for another store to go on with."""
        self._steps = None
        self._journal.close()

    def share(self, writers: int) -> int:
        """As writer 0, which was the only one: from here on there are others, 1 to ``writers - 1``.

        Returns:
            The first number for their segments.
        """
        self._intake.writers = self._shelf.writers = writers
        return self._shelf.free_serial()

    def lose(self, writer: int) -> None:
        """As writer 0: another one has died; what it has left is this one's."""
        self._intake.gone.add(writer)
        self._shelf.gone.add(writer)

    def sealed(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """As another than writer 0: names of the segments, and of the journals that writer 0 may delete with them."""
        return (
            tuple([segment.path.name for segment in self._shelf.segments]),
            tuple(sorted(path.name for path in self._sealed)),
        )

    def adopting(self, sealed: Iterable[tuple[Collection[str], Collection[str]]]) -> Iterator[None]:
        """As writer 0: show what other writers have `sealed`, then delete their journals, in steps."""
        for segments, journals in sealed:
            self._adopted.append((segments, [self.run_dir / "journal" / name for name in journals]))
        self._end_steps()
        self._steps = self._adopting()
        return self._steps

    def _adopting(self) -> Iterator[None]:
        self._shelf.scan()
        yield from self._showing("running")
        waiting, self._adopted = self._adopted, []
        for segments, journals in waiting:
            if all(map(self._shelf.shows, segments)):
                self._intake.delete([path for path in journals if path.exists()])
            else:  # another machine's file that this one cannot see yet
                self._adopted.append((segments, journals))

    def outcomes(self) -> Outcomes:
        """How every trial with a record has ended."""
        objectives = tuple(self._facts.objectives)
        parts = [read_outcomes(segment, objectives) for segment in self._shelf.segments if len(segment.rows)]
        known = set(np.concatenate([np.zeros(0, dtype=np.int64), *(part.numbers for part in parts)]).tolist())
        fresh: dict[int, TrialRecord] = {}
        for record, _size in self._intake.records():
            if record.number not in known:
                # Without its results, of which a journal may hold more than memory does.
                fresh.setdefault(record.number, record._replace(results={}))
        return join_outcomes([*parts, outcomes_of(fresh, objectives)])

    def points(self, numbers: Collection[int]) -> dict[int, Params]:
        """The parameters of these trials, of those that have a record."""
        found: dict[int, Params] = {}
        for segment in self._shelf.segments:
            found |= read_points(segment, numbers)
        for record, _size in self._intake.records():
            if record.number in numbers and record.number not in found:
                found[record.number] = record.params
        return found

    def numbers(self) -> np.ndarray:
        """Numbers of all trials with a record, int64, ascending."""
        found = [segment.numbers for segment in self._shelf.segments]
        found.append(np.array([record.number for record, _size in self._intake.records()], dtype=np.int64))
        return np.unique(np.concatenate(found))

    def _end_steps(self) -> None:
        if self._steps is not None:
            at_once(self._steps)
            self._steps = None

    def _begin_journal(self) -> Journal | None:
        """From here on records go to a new journal; the one before, or None when nothing was appended to it."""
        old = self._journal
        if old.end <= START:
            return None
        self._journal = self._intake.following(old.path)
        self._unsynced = 0
        return old

    def _sealing(self, old: Journal | None, state: RunState) -> Iterator[None]:
        self._shelf.scan()  # an interrupt may have ended the last sealing between two of its steps
        if old is not None:
            with explaining(old.path, "force records to the disk"):
                yield from syncing(old.path)
            old.close()
        here = self._intake.paths()
        self._sealed.intersection_update(here)
        journals = [path for path in here if path != self._journal.path and path not in self._sealed]
        if journals:
            yield from self._converting(journals)
        # Whoever looks at journals first and then at results.h5 misses nothing.
        if journals and self._writer:
            self._sealed.update(journals)
        elif journals:
            yield from self._showing("running")
            self._intake.delete(journals)
        while chosen := self._shelf.to_merge():
            yield from writing_merged(self._shelf.next_path(), chosen)
            self._shelf.scan()
        self._shelf.scan()
        yield from self._showing(state)

    def _converting(self, journals: list[Path]) -> Iterator[None]:
        """Turn these journals into segments, each small enough to be held in memory."""
        gathered = self._gather()
        for count, (record, size_bytes) in enumerate(self._intake.records(journals)):
            if gathered.add(record, size_bytes):
                yield from gathered.folding()
            if gathered.size_bytes >= _CHUNK_BYTES or len(gathered) >= _CHUNK_RECORDS:
                yield from self._writing_segment(gathered)
                gathered = self._gather()
            if count % _STEP_RECORDS == 0:
                yield
        yield from self._writing_segment(gathered)

    def _gather(self) -> Gathered:
        known = np.sort(self._shelf.numbers(), kind="stable")
        return Gathered(self._facts.objectives, self._facts.parameters, known)

    def _writing_segment(self, gathered: Gathered) -> Iterator[None]:
        yield from gathered.folding()
        if len(gathered):
            path = self._shelf.next_path()
            yield from writing_segment(path, gathered.columns())
            self._shelf.scan()

    def _count(self, trials: int) -> None:
        rows = sum(len(segment.rows) for segment in self._shelf.segments)
        if rows < trials:
            raise StoreError(
                f"{self._shelf.folder}: {rows} trials have a record, {trials} should; nothing was deleted, and "
                f"`mpiens resume {self.run_dir}` runs the others again"
            )

    def _pack(self, state: RunState, between: Callable[[], None]) -> Sequence[str]:
        at_once(writing_packed(self._results, self._facts, state, self._shelf.segments), between)
        self._journal.close()
        with explaining(self.run_dir, "delete what results.h5 has replaced"):
            remove(self._intake.paths())
            self._shelf.tidy()
            is_watched = are_there(self._results)
            if not is_watched:
                remove_with(self._shelf.retired)  # before those that say that they are replaced
                remove_with([segment.path for segment in self._shelf.segments])
                remove_lone(self.run_dir)
            for folder in (self.run_dir / "journal", self._shelf.folder, self.run_dir / FOLDER):
                remove_empty(folder)
            sync_folder(self.run_dir)
        if not is_watched:
            return ()
        return (
            f"{self._shelf.folder} stays for a program that still has an earlier results.h5 open; `mpiens resume "
            f"{self.run_dir}` deletes it, once that program has closed it",
        )

    def _showing(self, state: RunState) -> Iterator[None]:
        """Renew results.h5 where it shows something else; only writer 0 keeps it."""
        segments = list(self._shelf.segments)
        showing = (state, [segment.path.name for segment in segments])
        if self._writer or showing == self._shown:
            return
        yield from writing_master(self._results, self._facts, state, segments)
        if beside(self._results).exists():  # of an earlier end of the run
            with explaining(self._results, "delete checksums of an earlier file"):
                remove([beside(self._results)])
        self._shown = showing
        yield from self._clearing()

    def _clearing(self) -> Iterator[None]:
        """Delete segments that results.h5 shows no more: late, and none that a program may still read."""
        written_ns = self._results.stat().st_mtime_ns
        self._retired = {path: self._retired.get(path, written_ns) for path in self._shelf.retired}
        if self._retired and self._shelf.is_crowded:
            oldest_ns = yield from looking(self._results)
            # First those that were replaced first: who replaces one says that it counts no more.
            replaced = sorted(self._retired, key=lambda path: self._retired[path])
            with explaining(self._shelf.folder, "delete merged segments"):
                remove_with([path for path in replaced if self._retired[path] <= oldest_ns])
            self._shelf.scan()
