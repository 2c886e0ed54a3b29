"""Lazy sequences of points: what a `Param` is made of.

Each source knows its parameters, can count its points without visiting them, can start at any of them, and can say
whether a row is among them without listing them where its structure allows that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mpiens.errors import UsageError

Row = Mapping[str, Any]
Matcher = Callable[[Row], bool]

NAN = float("nan")

_SHORT = 1000
"""Parts of a sum with at most so many rows are looked up in one set together."""


class Source(Protocol):
    """A sequence of points.

    Attributes:
        names: The parameters, in order.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in order."""

    def count(self) -> int:
        """How many points there are."""

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """The points from number `start` on; every dictionary is the caller's own."""

    def matcher(self, names: frozenset[str]) -> Matcher:
        """A function that tells whether a row agrees with any point in the parameters `names`, a subset of its own."""


@dataclass(frozen=True)
class Zip:
    """Columns of one length, read side by side."""

    columns: dict[str, Sequence[Any]]
    length: int

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self.columns)

    def count(self) -> int:
        """The columns' length."""
        return self.length

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """The rows."""
        names = tuple(self.columns)
        if not names:
            yield from ({} for _ in range(start, self.length))
        if len(names) == 1:
            (name,) = names
            for value in _from(self.columns[name], start, self.length):
                yield {name: value}
            return
        for row in zip(*(_from(column, start, self.length) for column in self.columns.values()), strict=False):
            yield dict(zip(names, row, strict=True))

    def matcher(self, names: frozenset[str]) -> Matcher:
        """Compares with what is constant, asks a range, and looks all else up in a set."""
        if not self.length:
            return _never
        fixed = {name: row_key(column.value) for name, column in self._among(names) if isinstance(column, Repeat)}
        varying = [name for name, _column in self._among(names) if name not in fixed]
        ranges = [name for name in varying if isinstance(self.columns[name], range)]
        matches = self._beside(ranges[0], varying) if ranges else listed(self._rows(varying), frozenset(varying))
        return lambda row: all(row_key(row[name]) == key for name, key in fixed.items()) and matches(row)

    def _beside(self, ranged: str, names: Sequence[str]) -> Matcher:
        """A range has each value once, so there is one row only to compare with. It may not fit into memory."""
        column = self.columns[ranged]
        assert isinstance(column, range)
        others = [(name, self.columns[name]) for name in names if name != ranged]

        def matches(row: Row) -> bool:
            key = row_key(row[ranged])
            if isinstance(key, float) and key.is_integer():
                key = int(key)
            if not isinstance(key, int) or key not in column:
                return False
            index = column.index(key)
            return all(row_key(row[name]) == row_key(other[index]) for name, other in others)

        return matches

    def _among(self, names: frozenset[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        return ((name, column) for name, column in self.columns.items() if name in names)

    def _rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        # Without a column that varies all rows are alike.
        for index in range(self.length if names else 1):
            yield {name: native(self.columns[name][index]) for name in names}


@dataclass(frozen=True)
class Repeat:
    """One value, as often as wanted: a column that takes no memory."""

    value: Any

    def __getitem__(self, index: int) -> Any:
        return self.value

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True)
class Product:
    """Every point of the left source with every point of the right one, the right one fastest."""

    left: Source
    right: Source

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the left, then those of the right."""
        return self.left.names + self.right.names

    def count(self) -> int:
        """The product of both counts."""
        return self.left.count() * self.right.count()

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Goes through the right source anew for each point of the left, so nothing is kept."""
        first, offset = divmod(start, self.right.count() or 1) if start else (0, 0)
        for left in self.left.iterate(first):
            for right in self.right.iterate(offset):
                yield left | right
            offset = 0

    def matcher(self, names: frozenset[str]) -> Matcher:
        """A row matches when each side has its part of it."""
        sides: list[Matcher] = []
        for side in (self.left, self.right):
            if next(side.iterate(), None) is None:
                return _never
            shared = names.intersection(side.names)
            if shared:
                sides.append(side.matcher(shared))
        return lambda row: all(matches(row) for matches in sides)


@dataclass(frozen=True)
class Concat:
    """The points of all parts, one part after the other; parameters that a part lacks are NaN there.

    Attributes:
        parts: At least one. A sum of sums is one sum of all, so that thousands of parts nest no deeper than two.
        names: Those of the parts, in the order in which they first appear.
    """

    parts: tuple[Source, ...]
    names: tuple[str, ...]

    def count(self) -> int:
        """The sum of the parts' counts."""
        return sum(part.count() for part in self.parts)

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Each part's points in turn."""
        for part in self.parts:
            # How many points a part has must be known only where all of them may have to be left out.
            if start and part is not self.parts[-1] and start >= part.count():
                start -= part.count()
                continue
            for point in part.iterate(start):
                yield {name: point.get(name, NAN) for name in self.names}
            start = 0

    def matcher(self, names: frozenset[str]) -> Matcher:
        """A row matches when any part has it, with NaN where that part lacks a parameter."""
        short = (part for part in self.parts if _is_short(part))
        rows = ({name: row.get(name, NAN) for name in names} for part in short for row in part.iterate())
        matchers = [listed(rows, names)]
        for part in self.parts:
            if not _is_short(part) and next(part.iterate(), None) is not None:
                matchers.append(_padded(part, names))
        return lambda row: any(matches(row) for matches in matchers)


def _from(column: Sequence[Any], start: int, length: int) -> Iterator[Any]:
    """The values of a column's rows from `start` on."""
    if isinstance(column, Repeat):
        return map(native, itertools.repeat(column.value, max(0, length - start)))
    if isinstance(column, range):
        return iter(column[start:length])
    return map(native, map(column.__getitem__, range(start, length)))


def concat(left: Source, right: Source) -> Concat:
    """The points of `left`, then those of `right`."""
    parts = [part for side in (left, right) for part in (side.parts if isinstance(side, Concat) else (side,))]
    known = frozenset(left.names)
    return Concat(tuple(parts), left.names + tuple(name for name in right.names if name not in known))


def _is_short(source: Source) -> bool:
    return isinstance(source, Zip) and source.length <= _SHORT


def _padded(side: Source, names: frozenset[str]) -> Matcher:
    shared = names.intersection(side.names)
    lacking = names.difference(side.names)
    matches = side.matcher(shared)
    return lambda row: all(row_key(row[name]) == row_key(NAN) for name in lacking) and matches(row)


def _never(_row: Row) -> bool:
    return False


def listed(rows: Iterable[Row], names: frozenset[str]) -> Matcher:
    """A matcher that keeps every row."""
    order = sorted(names)
    known = {tuple(row_key(row[name]) for name in order) for row in rows}
    return lambda row: tuple(row_key(row[name]) for name in order) in known


def native(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's own values."""
    return value.tolist() if hasattr(value, "tolist") else value


def row_key(value: Any) -> object:
    """Something hashable that is equal for equal values: NaN equals NaN, 1 equals 1.0, true does not equal 1.

    Raises:
        UsageError: The value has no such thing.
    """
    value = native(value)
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, float) and math.isnan(value):
        return (float, "nan")
    if isinstance(value, list | tuple):
        return (list, tuple(row_key(item) for item in value))
    if isinstance(value, Mapping):
        return (dict, frozenset((name, row_key(item)) for name, item in value.items()))
    try:
        hash(value)
    except TypeError:
        raise UsageError(f"a difference cannot compare values of type {type(value).__name__}") from None
    return value
