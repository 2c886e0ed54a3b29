"""Records of a journal gathered for one segment, block by block, so that no step takes long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from mpiens.record import TrialRecord
from mpiens.store.columns import Column, concatenate
from mpiens.store.convert import convert
from mpiens.store.forms import Form
from mpiens.store.table import VALUES, Key, Table, absent_form, columns

BLOCK_RECORDS = 1024
"""Records of which columns are made at once."""


class Gathered:
    """Records for one segment, those of each trial once.

    Args:
        objectives: Names of the objectives.
        parameters: Names of the parameters.
        known: Trials that have a segment already, int64, ascending.

    Attributes:
        size_bytes: Of the records that were added, as the journal has them.
    """

    def __init__(self, objectives: Iterable[str], parameters: Iterable[str], known: np.ndarray) -> None:
        self.size_bytes = 0
        self._objectives = tuple(objectives)
        self._parameters = tuple(parameters)
        self._known = known
        self._seen: set[int] = set()
        self._records: list[TrialRecord] = []
        self._tables: list[Table] = []

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def numbers(self) -> np.ndarray:
        """The trials, int64."""
        return np.fromiter(self._seen, dtype=np.int64, count=len(self._seen))

    def add(self, record: TrialRecord, size_bytes: int) -> bool:
        """Take in a record unless its trial has one; True when it is time for `folding`."""
        if record.number in self._seen or self._is_known(record.number):
            return False
        self._seen.add(record.number)
        self._records.append(record)
        self.size_bytes += size_bytes
        return len(self._records) >= BLOCK_RECORDS

    def folding(self) -> Iterator[None]:
        """Make columns of the records added last, step by step."""
        if self._records:
            made: Table = {}
            for key, column in columns(self._records, self._objectives, self._parameters):
                made[key] = column
                yield
            self._tables.append(made)
            self._records = []

    def columns(self) -> Iterator[tuple[Key, Column]]:
        """The columns of all records, in the order in which `columns` makes them; after `folding`."""
        names = dict.fromkeys(key for made in self._tables for key in made)
        # The groups of columns stand one behind the other, whatever the block that a name came with.
        groups = list(dict.fromkeys(group for group, _name in names))
        for key in sorted(names, key=lambda key: groups.index(key[0])):
            yield key, self._joined(key)

    def _joined(self, key: Key) -> Column:
        parts = [made[key] if key in made else _absent(key, _rows(made)) for made in self._tables]
        form = parts[0].form
        for part in parts[1:]:
            form |= part.form
        whole = concatenate([convert(part, form) for part in parts])
        if form.layout == "json":
            form = replace(form, width=whole.data.dtype.itemsize)
        return replace(whole, form=form)

    def _is_known(self, number: int) -> bool:
        place = int(np.searchsorted(self._known, number))
        return place < len(self._known) and bool(self._known[place] == number)


def _rows(made: Table) -> int:
    return len(next(iter(made.values())))


def _absent(key: Key, count: int) -> Column:
    """The column of a block in which no record has a value of this name."""
    form = Form(frozenset(["<f8"]), (), 0) if key[0] == VALUES else absent_form(key)
    missing = np.arange(count if form.has_missing else 0)
    return Column(form, np.full(count, np.nan), missing)
