"""The store of a run in files: journal first, then segments, and results.h5 over them.

A kill at any point neither loses nor doubles a record, because every step leaves the directory readable:

- a record is in a journal until the segment that holds it is durable; when both have it, the segment's counts;
- a merged segment names those it replaces, so that they count no longer from the moment it has its name;
- results.h5 is only ever replaced, and what it was made from is deleted after that.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mpiens.errors import StoreError
from mpiens.record import Params, TrialRecord, decode
from mpiens.store.base import RunState
from mpiens.store.files import explaining, make_folder, remove, replacing, sync_folder
from mpiens.store.hdf5 import Facts, opened
from mpiens.store.journal import FRAME_BYTES, START, Journal, JournalError, is_sound, read_frames
from mpiens.store.master import write_master
from mpiens.store.outcomes import Outcomes, join_outcomes, outcomes_of, read_outcomes, read_points
from mpiens.store.pack import is_packed, write_merged, write_packed
from mpiens.store.segment import Segment, parse_name, read_segment, segment_name, write_segment
from mpiens.store.table import table

SYNC_EVERY = 4096
"""Appended records after which they are forced to the disk."""

MERGE_AT = 48
"""Segments at which the smallest are merged."""

_MERGED_AT_ONCE = 32
_CHUNK_BYTES = 2**26
_CHUNK_RECORDS = 2**16
_JOURNAL_NAME = re.compile(r"(\d+)-(\d+)\.bin")


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
        self._scan()
        self._journal = self._open_journal()
        self._shown: tuple[RunState, list[str]] | None = None
        if writer == 0:
            self._show("running")

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
        self._seal("running")

    def finish(self, state: RunState) -> None:
        """Seal, and when `state` is complete make results.h5 self-contained. The store is closed.

        With several writers, writer 0 finishes last.
        """
        if self._writer == 0:
            self._writers = 1  # the others have closed theirs
        packs = state == "complete" and self._writer == 0
        self._seal("running" if packs else state)
        if packs:
            self._pack(state)
        else:
            self._journal.close()

    def outcomes(self) -> Outcomes:
        """How every trial with a record has ended."""
        objectives = tuple(self._facts.objectives)
        parts = [read_outcomes(segment, objectives) for segment in self._segments if len(segment.rows)]
        known = set(np.concatenate([np.zeros(0, dtype=np.int64), *(part.numbers for part in parts)]).tolist())
        fresh: dict[int, TrialRecord] = {}
        for record in self._journalled(self._my_journals()):
            if record.number not in known:
                # Without its results, of which a journal may hold more than memory does.
                fresh.setdefault(record.number, record._replace(results={}))
        return join_outcomes([*parts, outcomes_of(fresh, objectives)])

    def points(self, numbers: Collection[int]) -> dict[int, Params]:
        """The parameters of these trials, of those that have a record."""
        found: dict[int, Params] = {}
        for segment in self._segments:
            found |= read_points(segment, numbers)
        for record in self._journalled(self._my_journals()):
            if record.number in numbers and record.number not in found:
                found[record.number] = record.params
        return found

    def numbers(self) -> np.ndarray:
        """Numbers of all trials with a record, int64, ascending."""
        found = [segment.numbers for segment in self._segments]
        found.append(np.array([record.number for record in self._journalled(self._my_journals())], dtype=np.int64))
        return np.unique(np.concatenate(found))

    def _seal(self, state: RunState) -> None:
        journals = self._my_journals()
        is_used = len(journals) > 1 or self._journal.end > START
        if is_used:
            self._write_segments(journals)
            self._renew_journal(journals)
        while self._merge():
            pass
        if self._writer == 0:
            self._scan()
            deletable = self._deletable
            self._show(state)
            if deletable:
                with explaining(self._segments_dir, "delete merged segments"):
                    remove(deletable)
                self._scan()

    def _write_segments(self, journals: list[Path]) -> None:
        known = self._sealed_numbers()
        for records in _chunks(self._journalled(journals)):
            fresh: dict[int, TrialRecord] = {}
            for record in records:
                fresh.setdefault(record.number, record)
            candidates = np.fromiter(fresh, dtype=np.int64, count=len(fresh))
            new = candidates[~np.isin(candidates, known)]
            if not len(new):
                continue
            path = self._segments_dir / segment_name(self._writer, self._serial)
            write_segment(
                path,
                table([fresh[number] for number in new.tolist()], self._facts.objectives, self._facts.parameters),
            )
            self._scan()
            known = np.concatenate([known, new])

    def _renew_journal(self, journals: list[Path]) -> None:
        _writer, serial = _parse_journal(self._journal.path.name)
        old = self._journal
        self._journal = Journal(self._journals / _journal_name(self._writer, serial + 1))
        old.close()
        self._unsynced = 0
        with explaining(self._journals, "delete sealed journals"):
            for path in journals:
                if path in self._damaged:
                    path.replace(path.with_suffix(".bin.damaged"))
            remove(journals)

    def _merge(self) -> bool:
        """Merge the smallest segments of this writer; False when it has few enough."""
        mine = [segment for segment in self._segments if _writer_of(segment.path) == self._writer]
        if len(mine) < MERGE_AT:
            return False
        smallest = sorted(mine, key=lambda segment: segment.size_bytes)[:_MERGED_AT_ONCE]
        chosen = {segment.path for segment in smallest}
        path = self._segments_dir / segment_name(self._writer, self._serial)
        write_merged(path, [segment for segment in self._segments if segment.path in chosen])
        self._scan()
        return True

    def _pack(self, state: RunState) -> None:
        write_packed(self._results, self._facts, state, self._segments)
        self._journal.close()
        with explaining(self.run_dir, "delete what results.h5 has replaced"):
            remove(self._retired)  # before those that say that they are replaced
            remove([segment.path for segment in self._segments])
            remove(self._my_journals())
            for folder in (self._journals, self._segments_dir):
                if not any(folder.iterdir()):
                    folder.rmdir()
            sync_folder(self.run_dir)

    def _show(self, state: RunState) -> None:
        showing = (state, [segment.path.name for segment in self._segments])
        if showing != self._shown:
            write_master(self._results, self._facts, state, self._segments)
            self._shown = showing
            # One interval of grace: whoever opened results.h5 before a merge still reads what was merged.
            self._deletable = self._retired

    def _sealed_numbers(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype=np.int64), *(segment.numbers for segment in self._segments)])

    def _journalled(self, journals: list[Path]) -> Iterator[TrialRecord]:
        for path in journals:
            last = START
            try:
                for end, payload in read_frames(path, resync=True):
                    if end - last != len(payload) + FRAME_BYTES:
                        self._warn_damaged(path, f"{end - last - len(payload) - FRAME_BYTES} bytes from byte {last} on")
                    last = end
                    try:
                        yield decode(payload)
                    except StoreError as error:
                        self._warn_damaged(path, f"the record that ends at byte {end} ({error})")
            except JournalError as error:
                self._warn_damaged(path, f"all of it ({error})")

    def _warn_damaged(self, path: Path, part: str) -> None:
        if path not in self._damaged:
            self._damaged.add(path)
            self.warnings.append(
                f"{path}: damaged: {part}; what is sound is used, the trials of the rest will run again, and the file "
                f"is kept as {path.with_suffix('.bin.damaged').name}"
            )

    def _my_journals(self) -> list[Path]:
        """Journals that this writer seals, oldest first."""
        found = []
        for path in self._journals.iterdir():
            if match := _JOURNAL_NAME.fullmatch(path.name):
                writer, serial = map(int, match.groups())
                if writer == self._writer or (self._writer == 0 and writer >= self._writers):
                    found.append((writer, serial, path))
        return [path for _writer, _serial, path in sorted(found)]

    def _open_journal(self) -> Journal:
        """The journal to append to. Those of an earlier process are left as they are until they are sealed."""
        mine = [path for path in self._my_journals() if _parse_journal(path.name)[0] == self._writer]
        if not mine:
            return Journal(self._journals / _journal_name(self._writer, 0))
        if is_sound(mine[-1]):
            return Journal(mine[-1])
        return Journal(self._journals / _journal_name(self._writer, _parse_journal(mine[-1].name)[1] + 1))

    def _scan(self) -> None:
        """Find the segments that count, those that others have replaced, and this writer's next serial number."""
        names = sorted(
            (parsed, path.name) for path in self._segments_dir.iterdir() if (parsed := parse_name(path.name))
        )
        for _parsed, name in names:
            if name not in self._known:
                try:
                    self._known[name] = read_segment(self._segments_dir / name)
                except StoreError as error:
                    self._known[name] = None
                    self.warnings.append(f"a segment is damaged, its trials will run again: {error}")
        found = [segment for _parsed, name in names if (segment := self._known[name])]
        replaced = {name for segment in found for name in segment.replaces}
        used = [*(parsed for parsed, _name in names), *(parsed for name in replaced if (parsed := parse_name(name)))]
        self._serial = 1 + max((serial for writer, serial in used if writer == self._writer), default=-1)
        self._segments = _without_repeats([segment for segment in found if segment.path.name not in replaced])
        self._retired = [segment.path for segment in found if segment.path.name in replaced]

    def _adopt_packed(self) -> None:
        """A packed results.h5 becomes a segment, so that a run that was complete can go on."""
        if not self._results.exists():
            return
        try:
            with opened(self._results) as file:
                packed = is_packed(file)
                replaced = [name.decode() for name in file["replaces"][()].tolist()] if packed else []
        except StoreError as error:
            aside = self._results.with_suffix(".h5.damaged")
            self._results.replace(aside)
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
            os.link(self._results, target)
            sync_folder(self._segments_dir)
        except OSError:  # the file system has no hard links
            with replacing(target) as temporary:
                shutil.copyfile(self._results, temporary)


def _without_repeats(segments: list[Segment]) -> list[Segment]:
    """Let only the first row of every trial count."""
    if not segments:
        return []
    numbers = np.concatenate([segment.numbers for segment in segments])
    _values, first = np.unique(numbers, return_index=True)
    if len(first) == len(numbers):
        return segments
    counts = np.zeros(len(numbers), dtype=bool)
    counts[first] = True
    ends = np.cumsum([len(segment.numbers) for segment in segments])
    return [
        replace(segment, rows=np.flatnonzero(counts[end - len(segment.numbers) : end]))
        for segment, end in zip(segments, ends.tolist(), strict=True)
    ]


def _chunks(records: Iterator[TrialRecord]) -> Iterator[list[TrialRecord]]:
    """Lists of records that are each small enough to be held in memory."""
    chunk: list[TrialRecord] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += 200 + sum(getattr(value, "nbytes", 50) for value in record.results.values())
        if size >= _CHUNK_BYTES or len(chunk) >= _CHUNK_RECORDS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _journal_name(writer: int, serial: int) -> str:
    return f"{writer}-{serial:06d}.bin"


def _parse_journal(name: str) -> tuple[int, int]:
    match = _JOURNAL_NAME.fullmatch(name)
    if match is None:
        raise StoreError(f"{name}: not the name of a journal")
    return int(match.group(1)), int(match.group(2))


def _writer_of(path: Path) -> int:
    parsed = parse_name(path.name)
    return -1 if parsed is None else parsed[0]
