"""Lazy sequences of points: what a `Param` is made of.

Each source knows its parameters, can count its points without visiting them (a difference apart), can start at any
of them, and can say whether a row is among them without listing them where its structure allows that.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mpiens.errors import UsageError

Row = Mapping[str, Any]
Matcher = Callable[[Row], bool]

NAN = float("nan")


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
        for index in range(start, self.length):
            yield {name: native(column[index]) for name, column in self.columns.items()}

    def matcher(self, names: frozenset[str]) -> Matcher:
        """Looks the row up in a set."""
        return listed(self.iterate(), names)


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
                return lambda _row: False
            shared = names.intersection(side.names)
            if shared:
                sides.append(side.matcher(shared))
        return lambda row: all(matches(row) for matches in sides)


@dataclass(frozen=True)
class Concat:
    """The points of the left source, then those of the right; parameters that one of them lacks are NaN."""

    left: Source
    right: Source

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Those of the left, then those that only the right has."""
        return tuple(dict.fromkeys(self.left.names + self.right.names))

    def count(self) -> int:
        """The sum of both counts."""
        return self.left.count() + self.right.count()

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Both, one after the other."""
        skipped = min(start, self.left.count()) if start else 0
        both = itertools.chain(self.left.iterate(skipped), self.right.iterate(start - skipped))
        return ({name: point.get(name, NAN) for name in self.names} for point in both)

    def matcher(self, names: frozenset[str]) -> Matcher:
        """A row matches when either side has it, with NaN where that side lacks a parameter."""
        sides: list[Matcher] = []
        for side in (self.left, self.right):
            if next(side.iterate(), None) is not None:
                sides.append(_padded(side, names))
        return lambda row: any(matches(row) for matches in sides)


def _padded(side: Source, names: frozenset[str]) -> Matcher:
    shared = names.intersection(side.names)
    lacking = names.difference(side.names)
    matches = side.matcher(shared)
    return lambda row: all(row_key(row[name]) == row_key(NAN) for name in lacking) and matches(row)


@dataclass(frozen=True)
class Difference:
    """The points of the left source that agree with no point of the right in all of the parameters `on`."""

    left: Source
    right: Source
    on: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the left."""
        return self.left.names

    @functools.cached_property
    def _is_excluded(self) -> Matcher:
        return self.right.matcher(self.on)

    @functools.cached_property
    def _count(self) -> int:
        return sum(1 for _ in self.iterate())

    def count(self) -> int:
        """Found by going through all of the left, once."""
        return self._count

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """The left without what the right excludes."""
        return itertools.islice((row for row in self.left.iterate() if not self._is_excluded(row)), start, None)

    def matcher(self, names: frozenset[str]) -> Matcher:
        """Needs the points themselves, unless the whole row is asked for."""
        if not names.issuperset(self.left.names):
            return listed(self.iterate(), names)
        matches = self.left.matcher(names)
        return lambda row: matches(row) and not self._is_excluded(row)


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
