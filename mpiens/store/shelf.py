"""The segments of a run directory: which count, which others have replaced, and what is sound of damaged ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mpiens.errors import StoreError
from mpiens.small_files import sync_folder, temporaries
from mpiens.store.beside import FOLDER, copy_beside, rename_with
from mpiens.store.checked import verify
from mpiens.store.checksums import DamageError
from mpiens.store.files import at_once, explaining, link, name_aside, remove, replacing, sync_file
from mpiens.store.hdf5 import opened, read_replaced
from mpiens.store.pack import is_packed
from mpiens.store.salvage import Salvage, salvage, writing_salvaged
from mpiens.store.segment import Segment, parse_name, read_segment, segment_name, with_rows, without_repeats
from mpiens.store.shown import shown

MERGE_AT = 48
"""Segments at which the smallest are merged."""

_MERGE_AT_OF_SEVERAL = 32
"""The same for several writers together, which may make some at the same time."""

_MERGED_SHARE = 2 / 3
_ASIDE = re.compile(r"(\d+-\d+\.h5)\.damaged(\.\d+)?")


class Shelf:
    """The segments, as one writer sees them.

    Args:
        run_dir: The run directory; its folder of segments is there.
        writer: Index of the writer. Writer 0 sees those of all; the others see their own.
        writers: How many there are. Writer 0 takes over segments of writers that are not there any more.
        first_serial: The first serial number that this writer may use.

    Attributes:
        folder: Where they are.
        writers: How many there are.
        gone: Those that have died since.
        segments: Those that count.
        retired: Those whose rows are all in others.
        warnings: What a user should know about what was found, a sentence each.
    """

    def __init__(self, run_dir: Path, writer: int, writers: int = 1, first_serial: int = 0) -> None:
        self.folder = run_dir / "segments"
        self.writers = writers
        self.gone: set[int] = set()
        self._first_serial = first_serial
        self.segments: list[Segment] = []
        self.retired: list[Path] = []
        self.warnings: list[str] = []
        self._results = run_dir / "results.h5"
        self._writer = writer
        self._known: dict[str, Segment | None] = {}
        self._serial = 0

    def take_stock(self) -> None:
        """As the only writer: check all that earlier processes have left, and save what is sound of what is damaged.

        Raises:
            StoreError: It cannot be read, or what is sound cannot be written.
        """
        self.tidy()
        shown_before = self._adopt_results()
        damaged = []
        for name in self._names():
            try:
                verify(self.folder / name)
            except DamageError:
                self._known[name] = None
                damaged.append(name)
        self.scan()
        replaced = {name for segment in self._known.values() if segment for name in segment.replaces}
        for name in damaged:
            if name in replaced:
                _set_aside(self.folder / name)
            else:
                self._save("a segment", self.folder / name)
            del self._known[name]
        self.scan()
        there = {*self._names(), *self._names_aside(), *replaced}
        for path in shown_before:
            if path.name not in there:
                self.warnings.append(f"{path}: this segment is missing; its trials run again")

    def tidy(self) -> None:
        """As the only writer: delete what writers have left that were killed in the midst of a segment."""
        for folder in (self.folder, self.folder.parent / FOLDER):
            if folder.is_dir():
                with explaining(folder, "delete unfinished files"):
                    remove(temporaries(folder))

    def scan(self) -> None:
        """Find the segments that count, those that others have replaced, and this writer's next serial number.

        Those that this process has written itself are checked as they are read.
        """
        names = self._names()
        for name in names:
            if name not in self._known:
                try:
                    self._known[name] = read_segment(self.folder / name)
                except StoreError as error:
                    self._known[name] = None
                    self.warnings.append(f"a segment is damaged, its trials will run again: {error}")
        found = [segment for name in names if (segment := self._known[name])]
        replaced = {name for segment in found for name in segment.replaces}
        self._serial = self._free_serial([*names, *self._names_aside(), *replaced])
        counting = [segment for segment in found if segment.path.name not in replaced]
        self.segments = [
            segment if segment is before else _fitted(segment)
            for segment, before in zip(without_repeats(counting), counting, strict=True)
        ]
        self.retired = [segment.path for segment in found if segment.path.name in replaced]

    def next_path(self) -> Path:
        """Where this writer's next segment goes."""
        return self.folder / segment_name(self._writer, self._serial)

    def numbers(self) -> np.ndarray:
        """Trials of all rows, int64."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(segment.numbers for segment in self.segments)])

    @property
    def is_crowded(self) -> bool:
        """True when segments whose rows are all in others must go. Until then they may still be read by somebody."""
        most = MERGE_AT + MERGE_AT // 4 if self.writers == 1 else MERGE_AT
        return len(self.segments) + len(self.retired) > most

    def to_merge(self) -> list[Segment]:
        """The smallest segments of this writer; none when it has few enough."""
        mine = [segment for segment in self.segments if self._is_mine(segment.path.name)]
        merge_at = MERGE_AT if self.writers == 1 else max(2, _MERGE_AT_OF_SEVERAL // self.writers)
        if len(mine) < merge_at:
            return []
        smallest = sorted(mine, key=lambda segment: segment.size_bytes)[: max(2, round(merge_at * _MERGED_SHARE))]
        chosen = {segment.path for segment in smallest}
        return [segment for segment in self.segments if segment.path in chosen]

    def shows(self, name: str) -> bool:
        """True when the rows of another writer's segment count, there or where that writer has merged it into."""
        if any(segment.path.name == name for segment in self.segments):
            return True
        found = [segment for segment in self._known.values() if segment and name in segment.replaces]
        return any(_writer_of(segment.path.name) == _writer_of(name) for segment in found)

    def free_serial(self) -> int:
        """One that no writer has ever used."""
        replaced = {name for segment in self._known.values() if segment for name in segment.replaces}
        used = [parse_name(name) for name in (*self._names(), *self._names_aside(), *replaced)]
        return 1 + max((parsed[1] for parsed in used if parsed), default=-1)

    def _is_mine(self, name: str) -> bool:
        writer = _writer_of(name)
        is_left = writer >= self.writers or writer in self.gone
        return writer == self._writer or (self._writer == 0 and is_left)

    def _names(self) -> list[str]:
        here = [path.name for path in self.folder.iterdir() if parse_name(path.name)]
        names = [name for name in here if self._writer == 0 or self._is_mine(name)]
        return sorted(names, key=lambda name: parse_name(name) or (0, 0))

    def _names_aside(self) -> list[str]:
        """What the damaged files were called that are kept."""
        return [match.group(1) for path in self.folder.iterdir() if (match := _ASIDE.fullmatch(path.name))]

    def _free_serial(self, names: Iterable[str]) -> int:
        """One that this writer has never used: somebody may still have a results.h5 that shows the old file."""
        used = [parsed for name in names if (parsed := parse_name(name))]
        return max([self._first_serial, *(serial + 1 for writer, serial in used if writer == self._writer)])

    def _save(self, what: str, path: Path) -> None:
        """Make a segment of what is sound of a damaged file, and move that out of the way."""
        moved = f"{what} is damaged and was moved to {name_aside(path).name}"
        holds_rows = path != self._results
        try:
            found = salvage(path)
        except StoreError as error:
            self.warnings.append(f"{moved}: {error}" + ("; its trials run again" if holds_rows else ""))
            found = None
        if found is not None and (holds_rows or found.is_packed):
            try:
                if len(found.segment.rows):
                    self._write_saved(found)
                self.warnings.append(f"{moved}: {found}" + (", and run again" if found.lost else ""))
            except DamageError as error:  # of the file that is read; one that cannot be written ends the command
                self.warnings.append(f"{moved}: {error}; its trials run again")
        _set_aside(path)

    def _write_saved(self, found: Salvage) -> None:
        own, here = found.segment.path, set(self._names())
        # What it had replaced counts again where it is still there.
        replaced = [name for name in found.segment.replaces if name not in here]
        if own.parent == self.folder:
            replaced.append(own.name)
        self._serial = self._free_serial([*here, *self._names_aside(), *found.segment.replaces])
        at_once(writing_salvaged(self.next_path(), found, replaced))

    def _adopt_results(self) -> list[Path]:
        """Take in a results.h5 that holds rows itself, so that a run that was complete can go on.

        Returns:
            The segments that it shows, where it holds none.
        """
        if not self._results.exists():
            return []
        try:
            verify(self._results)
        except DamageError:
            self._save("results.h5", self._results)
            return []
        with opened(self._results) as file, explaining(self._results, "read"):
            packed, replaced = is_packed(file), read_replaced(file)
        if not packed:
            with shown(self._results, is_checked=True) as view:
                return view.sources()
        present = self._names()
        if any((self.folder / name).samefile(self._results) for name in present):
            return []
        self._serial = self._free_serial([*present, *self._names_aside(), *replaced])
        with explaining(self.next_path(), "write"):
            copy_beside(self._results, self.next_path())
        try:
            link(self._results, self.next_path())
        except OSError:  # the file system has no hard links
            with replacing(self.next_path()) as temporary:
                shutil.copyfile(self._results, temporary)
                sync_file(temporary)
        return []


def _fitted(segment: Segment) -> Segment:
    with opened(segment.path) as file, explaining(segment.path, "read"):
        return with_rows(file, segment, segment.rows)


def _set_aside(path: Path) -> None:
    rename_with(path, name_aside(path))
    with explaining(path, "rename"):
        sync_folder(path.parent)


def _writer_of(name: str) -> int:
    parsed = parse_name(name)
    return -1 if parsed is None else parsed[0]
