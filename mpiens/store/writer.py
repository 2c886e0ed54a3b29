"""The store of a run in files: journal first, then segments, and results.h5 over them.

A kill at any point neither loses nor doubles a record, because every step leaves the directory readable:

- a record is in a journal until the segment that holds it is durable; when both have it, the segment's counts;
- a segment is made of journals that nobody appends to any more, so that it can be made step by step between messages;
- a merged segment names those it replaces, so that they count no longer from the moment it has its name;
- results.h5 is only ever replaced, and what it was made from is deleted after that.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mpiens.errors import StoreError
from mpiens.record import Params, TrialRecord, decode
from mpiens.store.base import RunState
from mpiens.store.checked import verify
from mpiens.store.files import (
    at_once,
    explaining,
    link,
    make_folder,
    name_aside,
    remove,
    remove_empty,
    rename,
    replacing,
    sync_file,
    sync_folder,
    syncing,
)
from mpiens.store.gather import Gathered
from mpiens.store.hdf5 import Facts, opened
from mpiens.store.journal import (
    FRAME_BYTES,
    START,
    Journal,
    JournalError,
    is_sound,
    journal_name,
    parse_journal_name,
    read_frames,
)
from mpiens.store.master import writing_master
from mpiens.store.outcomes import Outcomes, join_outcomes, outcomes_of, read_outcomes, read_points
from mpiens.store.pack import is_packed, writing_merged, writing_packed
from mpiens.store.segment import Segment, parse_name, read_segment, segment_name, without_repeats, writing_segment

SYNC_EVERY = 2**15
"""Appended records after which they are forced to the disk. Fewer wait for the next `FileStore.sync`, which comes every
second: a disk that takes 5 ms would cost short trials more than all else that is done for them."""

MERGE_AT = 48
"""Segments at which the smallest are merged."""

_MERGED_AT_ONCE = 32
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
        writer: Index of this writer. Writer 0 also keeps results.h5, and takes over journals of writers that are not
            there any more.
        writers: How many there are.

    Attributes:
        warnings: What a user should know about what was found in the directory, a sentence each.

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
    ) -> None:
        self.run_dir = Path(run_dir)
        self.warnings: list[str] = []
        self._facts = Facts(name, spec_text, provenance, objectives, tuple(parameters))
        self._writer = writer
        self._writers = writers
        self._journals = self.run_dir / "journal"
        self._segments_dir = self.run_dir / "segments"
        self._results = self.run_dir / "results.h5"
        self._unsynced = 0
        self._damaged: set[Path] = set()
        with explaining(self.run_dir, "make the run directory"):
            for folder in (self.run_dir, self._journals, self._segments_dir):
                make_folder(folder)
        if writer == 0:
            self._adopt_packed()
        self._known: dict[str, Segment | None] = {}
        self._segments: list[Segment] = []
        self._retired: list[Path] = []
        self._deletable: list[Path] = []
        self._serial = 0
        self._steps: Iterator[None] | None = None
        self._scan(verifies=True)
        self._journal = self._open_journal()
        self._shown: tuple[RunState, list[str]] | None = None
        at_once(self._showing("running"))

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

    def finish(self, state: RunState, between: Callable[[], None] = lambda: None) -> None:
        """Seal, and when `state` is complete make results.h5 self-contained. The store is closed.

        `between` is called between the steps, because all of them may take long.
        With several writers, writer 0 finishes last.
        """
        if self._writer == 0:
            self._writers = 1  # the others have closed theirs
        packs = state == "complete" and self._writer == 0
        self._end_steps()
        at_once(self._sealing(self._begin_journal(), "running" if packs else state), between)
        if packs:
            self._pack(state, between)
        else:
            self._journal.close()

    def outcomes(self) -> Outcomes:
        """How every trial with a record has ended."""
        objectives = tuple(self._facts.objectives)
        parts = [read_outcomes(segment, objectives) for segment in self._segments if len(segment.rows)]
        known = set(np.concatenate([np.zeros(0, dtype=np.int64), *(part.numbers for part in parts)]).tolist())
        fresh: dict[int, TrialRecord] = {}
        for record, _size in self._journalled(self._my_journals()):
            if record.number not in known:
                # Without its results, of which a journal may hold more than memory does.
                fresh.setdefault(record.number, record._replace(results={}))
        return join_outcomes([*parts, outcomes_of(fresh, objectives)])

    def points(self, numbers: Collection[int]) -> dict[int, Params]:
        """The parameters of these trials, of those that have a record."""
        found: dict[int, Params] = {}
        for segment in self._segments:
            found |= read_points(segment, numbers)
        for record, _size in self._journalled(self._my_journals()):
            if record.number in numbers and record.number not in found:
                found[record.number] = record.params
        return found

    def numbers(self) -> np.ndarray:
        """Numbers of all trials with a record, int64, ascending."""
        found = [segment.numbers for segment in self._segments]
        found.append(
            np.array([record.number for record, _size in self._journalled(self._my_journals())], dtype=np.int64)
        )
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
        self._journal = self._next_journal(old.path)
        self._unsynced = 0
        return old

    def _sealing(self, old: Journal | None, state: RunState) -> Iterator[None]:
        self._scan()  # an interrupt may have ended the last sealing between two of its steps
        if old is not None:
            with explaining(old.path, "force records to the disk"):
                yield from syncing(old.path)
            old.close()
        journals = [path for path in self._my_journals() if path != self._journal.path]
        if journals:
            yield from self._converting(journals)
            # Whoever looks at journals first and then at results.h5 misses nothing.
            yield from self._showing("running")
            self._delete_journals(journals)
        while chosen := self._to_merge():
            yield from writing_merged(self._segments_dir / segment_name(self._writer, self._serial), chosen)
            self._scan()
        self._scan()
        yield from self._showing(state)

    def _converting(self, journals: list[Path]) -> Iterator[None]:
        """Turn these journals into segments, each small enough to be held in memory."""
        gathered = self._gather()
        for count, (record, size_bytes) in enumerate(self._journalled(journals)):
            if gathered.add(record, size_bytes):
                yield from gathered.folding()
            if gathered.size_bytes >= _CHUNK_BYTES or len(gathered) >= _CHUNK_RECORDS:
                yield from self._writing_segment(gathered)
                gathered = self._gather()
            if count % _STEP_RECORDS == 0:
                yield
        yield from self._writing_segment(gathered)

    def _gather(self) -> Gathered:
        known = np.sort(self._sealed_numbers(), kind="stable")
        return Gathered(self._facts.objectives, self._facts.parameters, known)

    def _writing_segment(self, gathered: Gathered) -> Iterator[None]:
        yield from gathered.folding()
        if len(gathered):
            path = self._segments_dir / segment_name(self._writer, self._serial)
            yield from writing_segment(path, gathered.columns())
            self._scan()

    def _delete_journals(self, journals: list[Path]) -> None:
        with explaining(self._journals, "delete sealed journals"):
            for path in journals:
                if path in self._damaged:
                    rename(path, name_aside(path))
            remove(journals)

    def _to_merge(self) -> list[Segment]:
        """The smallest segments of this writer; none when it has few enough."""
        mine = [segment for segment in self._segments if _writer_of(segment.path) == self._writer]
        if len(mine) < MERGE_AT:
            return []
        smallest = sorted(mine, key=lambda segment: segment.size_bytes)[:_MERGED_AT_ONCE]
        chosen = {segment.path for segment in smallest}
        return [segment for segment in self._segments if segment.path in chosen]

    def _pack(self, state: RunState, between: Callable[[], None]) -> None:
        at_once(writing_packed(self._results, self._facts, state, self._segments), between)
        self._journal.close()
        with explaining(self.run_dir, "delete what results.h5 has replaced"):
            remove(self._retired)  # before those that say that they are replaced
            remove([segment.path for segment in self._segments])
            remove(self._my_journals())
            for folder in (self._journals, self._segments_dir):
                remove_empty(folder)
            sync_folder(self.run_dir)

    def _showing(self, state: RunState) -> Iterator[None]:
        """Renew results.h5 where it shows something else; only writer 0 keeps it."""
        segments = list(self._segments)
        showing = (state, [segment.path.name for segment in segments])
        if self._writer or showing == self._shown:
            return
        deletable = self._deletable
        yield from writing_master(self._results, self._facts, state, segments)
        self._shown = showing
        if deletable:
            with explaining(self._segments_dir, "delete merged segments"):
                remove(deletable)
            self._scan()
        # One interval of grace: whoever opened results.h5 before a merge still reads what was merged.
        self._deletable = self._retired

    def _sealed_numbers(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype=np.int64), *(segment.numbers for segment in self._segments)])

    def _journalled(self, journals: list[Path]) -> Iterator[tuple[TrialRecord, int]]:
        """The records in these journals, with the bytes that each takes there."""
        for path in journals:
            last = START
            try:
                for end, payload in read_frames(path, resync=True):
                    if end - last != len(payload) + FRAME_BYTES:
                        self._warn_damaged(path, f"{end - last - len(payload) - FRAME_BYTES} bytes from byte {last} on")
                    last = end
                    try:
                        yield decode(payload), len(payload)
                    except StoreError as error:
                        self._warn_damaged(path, f"the record that ends at byte {end} ({error})")
            except JournalError as error:
                self._warn_damaged(path, f"all of it ({error})")

    def _warn_damaged(self, path: Path, part: str) -> None:
        if path not in self._damaged:
            self._damaged.add(path)
            self.warnings.append(
                f"{path}: damaged: {part}; what is sound is used, the trials of the rest will run again, and the file "
                f"is kept as {name_aside(path).name}"
            )

    def _my_journals(self) -> list[Path]:
        """Journals that this writer seals, oldest first."""
        found = []
        for path in self._journals.iterdir():
            if parsed := parse_journal_name(path.name):
                writer, serial = parsed
                if writer == self._writer or (self._writer == 0 and writer >= self._writers):
                    found.append((writer, serial, path))
        return [path for _writer, _serial, path in sorted(found)]

    def _open_journal(self) -> Journal:
        """The journal to append to. Those of an earlier process are left as they are until they are sealed."""
        mine = [path for path in self._my_journals() if _writer_of(path) == self._writer]
        if not mine:
            return Journal(self._journals / journal_name(self._writer, 0))
        if is_sound(mine[-1]):
            return Journal(mine[-1])
        return self._next_journal(mine[-1])

    def _next_journal(self, path: Path) -> Journal:
        parsed = parse_journal_name(path.name)
        return Journal(self._journals / journal_name(self._writer, parsed[1] + 1 if parsed else 0))

    def _scan(self, verifies: bool = False) -> None:
        """Find the segments that count, those that others have replaced, and this writer's next serial number.

        Args:
            verifies: Check new ones whole. Those that this process has written itself are checked as they are read.
        """
        names = sorted(
            (parsed, path.name) for path in self._segments_dir.iterdir() if (parsed := parse_name(path.name))
        )
        for _parsed, name in names:
            if name not in self._known:
                try:
                    if verifies:
                        verify(self._segments_dir / name)
                    self._known[name] = read_segment(self._segments_dir / name)
                except StoreError as error:
                    self._known[name] = None
                    self.warnings.append(f"a segment is damaged, its trials will run again: {error}")
        found = [segment for _parsed, name in names if (segment := self._known[name])]
        replaced = {name for segment in found for name in segment.replaces}
        used = [*(parsed for parsed, _name in names), *(parsed for name in replaced if (parsed := parse_name(name)))]
        self._serial = 1 + max((serial for writer, serial in used if writer == self._writer), default=-1)
        self._segments = without_repeats([segment for segment in found if segment.path.name not in replaced])
        self._retired = [segment.path for segment in found if segment.path.name in replaced]

    def _adopt_packed(self) -> None:
        """A packed results.h5 becomes a segment, so that a run that was complete can go on."""
        if not self._results.exists():
            return
        try:
            verify(self._results)
            with opened(self._results) as file, explaining(self._results, "read"):
                packed = is_packed(file)
                replaced = [name.decode() for name in file["replaces"][()].tolist()] if packed else []
        except StoreError as error:
            aside = name_aside(self._results)
            with explaining(self._results, "rename"):
                rename(self._results, aside)
            self.warnings.append(f"results.h5 is damaged and was moved to {aside.name}: {error}")
            return
        if not packed:
            return
        present = [path for path in self._segments_dir.iterdir() if parse_name(path.name)]
        if any(path.samefile(self._results) for path in present):
            return
        names = [parsed for name in (*replaced, *(path.name for path in present)) if (parsed := parse_name(name))]
        serial = 1 + max((serial for writer, serial in names if writer == self._writer), default=-1)
        target = self._segments_dir / segment_name(self._writer, serial)
        try:
            link(self._results, target)
        except OSError:  # the file system has no hard links
            with replacing(target) as temporary:
                shutil.copyfile(self._results, temporary)
                sync_file(temporary)


def _writer_of(path: Path) -> int:
    parsed = parse_name(path.name) or parse_journal_name(path.name)
    return -1 if parsed is None else parsed[0]
