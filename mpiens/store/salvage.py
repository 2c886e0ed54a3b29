"""What is sound of a damaged segment, or of a damaged results.h5 that holds all rows itself.

HDF5's own structures are read from their copy behind the file's end where they are damaged, so that they cost no trial;
the same holds for columns of which a byte belongs to many rows.
A trial is sound when every byte of its row is, in every column: a trial without one of its results would be a wrong
one. What is sound becomes a segment of its own.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from mpiens.store.checked import CheckedFile, created, opened_from, verify
from mpiens.store.checksums import STEP_BYTES, DamageError, Ranges, completing, open_beside
from mpiens.store.combine import copying_column, in_segment_order
from mpiens.store.extents import KEPT_TWICE, finding_rows, hit_rows, row_ranges
from mpiens.store.files import explaining, replacing
from mpiens.store.hdf5 import FORMAT, check_format, keys, make_groups, write_replaced
from mpiens.store.segment import Segment, joined_forms, look_at, with_rows


@dataclass(frozen=True, slots=True)
class Salvage:
    """What can be had of a damaged file.

    Attributes:
        segment: The file; its rows that count are those that are sound.
        damage: What is wrong.
        lost: How many of its trials are not sound.
        is_packed: It needs no segments.
    """

    segment: Segment
    damage: str
    lost: int
    is_packed: bool

    def __str__(self) -> str:
        kept = len(self.segment.rows)
        if not self.lost:
            return f"{self.damage}; all of its {kept} trials are sound"
        return f"{self.damage}; {kept} of its {kept + self.lost} trials are sound, {self.lost} are lost"


def salvage(path: Path) -> Salvage | None:
    """Look at all of a file for what is sound; None: nothing is damaged.

    Raises:
        StoreError: It is damaged in a way that nothing can be said of its content.
    """
    try:
        verify(path)
    except DamageError as error:
        damage = str(error)
    else:
        return None
    with explaining(path, "read"), _MendedFile(path) as source:
        damaged = source.find_damage()
        with opened_from(source) as file:
            check_format(path, file)
            source.rows = row_ranges(file)
            segment = look_at(path, file)
            hit = np.zeros(len(segment.numbers), dtype=bool)
            for key in (key for key in keys(file) if key not in KEPT_TWICE):
                hit |= hit_rows(file, key, damaged)
            return Salvage(with_rows(file, segment, np.flatnonzero(~hit)), damage, int(hit.sum()), "replaces" in file)


def writing_salvaged(path: Path, found: Salvage, replaced: Iterable[str]) -> Iterator[None]:
    """Write a segment of the sound rows, step by step.

    Args:
        path: The new segment.
        found: Where they are.
        replaced: Names of segments that count no longer.

    Raises:
        DamageError: What is damaged is needed to read the rest.
        StoreError: It cannot be written.
    """
    segment = found.segment
    with replacing(path) as temporary:
        with created(temporary) as file, _MendedFile(segment.path) as mended, opened_from(mended) as source:
            file.attrs["mpiens_format"] = FORMAT
            mended.rows = yield from finding_rows(source)
            make_groups(file)
            for key, form in joined_forms([segment]).items():
                yield from copying_column(file, [source], in_segment_order([segment]), key, form)
            write_replaced(file, replaced)
            rows = yield from finding_rows(file)
        yield from completing(temporary, rows, path)


class _MendedFile(CheckedFile):
    """The content of a damaged file: its structure as it was, and zeros for what is damaged of its rows.

    Attributes:
        rows: Where the rows of columns stand, once that is known; until then what is damaged may be structure.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._found: list[tuple[int, int]] | None = None
        self.rows: Ranges = np.zeros((0, 2), dtype=np.int64)
        try:
            self._structure = self.copied()
        except DamageError:
            self._structure = []
        if not self._structure:
            self._page_bytes = self.block_bytes  # what HDF5 asks for, and no damage beside it

    def _find_sums(self) -> None:
        """The file's own where they are sound; else those beside it, else what can be had of its own."""
        self.is_strict = True
        try:
            super()._find_sums()
        except DamageError:
            found = open_beside(self.path)
            if found is not None:
                self._sums_fd, self._footer, self._sums = found
                return
            self.is_strict = False
            super()._find_sums()

    def find_damage(self) -> Ranges:
        """The damaged parts."""
        self._found = []
        for start in range(0, self.length, STEP_BYTES):
            self.check(start, start + STEP_BYTES)
        found, self._found = self._found, None
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def _meet_damage(self, place: int, block: memoryview) -> None:
        stop = place + len(block)
        if self._found is not None:
            self._found.append((place, stop))
            return
        if not self._structure and not self._is_of_rows(place, stop):
            super()._meet_damage(place, block)
        block[:] = bytes(len(block))
        index = max(0, bisect.bisect_right(self._structure, place, key=itemgetter(0)) - 1)
        for offset, part in itertools.islice(self._structure, index, None):
            if offset >= stop:
                break
            first, last = max(place, offset), min(stop, offset + len(part))
            if first < last:
                block[first - place : last - place] = part[first - offset : last - offset]

    def _is_of_rows(self, start: int, stop: int) -> bool:
        """True when there is nothing but rows in this part."""
        index = int(np.searchsorted(self.rows[:, 0], start, side="right")) - 1
        return index >= 0 and stop <= int(self.rows[index, 1])
