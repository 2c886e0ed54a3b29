"""Points without some of them."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpiens.space.sources import Matcher, Product, Source, Zip, concat, listed, row_key

_MOST_LOOKED_UP = 1_000_000
"""Factors of a product are listed for a look-up when they have at most so many points."""


@dataclass(frozen=True)
class Difference:
    """The points of the left source that agree with no point of the excluded ones.

    Attributes:
        left: What is taken away from.
        excluded: What is taken away: each source, and the parameters in all of which a point must agree with one of its
            points. A difference of a difference has more of them, so that thousands nest no deeper than one.
    """

    left: Source
    excluded: tuple[tuple[Source, frozenset[str]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the left."""
        return self.left.names

    @functools.cached_property
    def _matchers(self) -> tuple[Matcher, ...]:
        together: dict[frozenset[str], list[Source]] = {}
        for source, names in self.excluded:
            together.setdefault(names, []).append(source)
        return tuple(functools.reduce(concat, sources).matcher(names) for names, sources in together.items())

    @functools.cached_property
    def _count(self) -> int:
        if len(self.excluded) == 1:
            return self.left.count() - _matched(self.left, *self.excluded[0])
        return sum(1 for _ in self.iterate())

    def count(self) -> int:
        """Found once. Factors of a product are looked at one by one, where what is excluded is a product too."""
        return self._count

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """The left without what is excluded."""
        return itertools.islice(filter(self._is_left, self.left.iterate()), start, None)

    def matcher(self, names: frozenset[str]) -> Matcher:
        """Needs the points themselves, unless the whole row is asked for."""
        if not names.issuperset(self.left.names):
            return listed(self.iterate(), names)
        matches = self.left.matcher(names)
        return lambda row: matches(row) and self._is_left(row)

    def _is_left(self, row: Mapping[str, Any]) -> bool:
        return not any(matches(row) for matches in self._matchers)


def difference(left: Source, right: Source, names: frozenset[str]) -> Difference:
    """The points of `left` that agree with no point of `right` in all of the parameters `names`."""
    if isinstance(left, Difference):
        return Difference(left.left, (*left.excluded, (right, names)))
    return Difference(left, ((right, names),))


_Part = tuple[list[Source], list[Source]]
"""Factors of the left and of the right that have parameters together."""


def _matched(left: Source, right: Source, names: frozenset[str]) -> int:
    """How many points of `left` agree with one of `right`.

    Factors that have no parameter together are independent: what they match is multiplied, not visited.
    """
    if next(right.iterate(), None) is None:
        return 0
    parts: list[_Part] = [([factor], []) for factor in _factors(left)]
    for factor in _factors(right):
        shared = names.intersection(factor.names)
        apart: list[_Part] = []
        joined: _Part = ([], [factor])
        for lefts, rights in parts:
            if any(shared.intersection(one.names) for one in lefts):
                joined = (joined[0] + lefts, joined[1] + rights)
            else:
                apart.append((lefts, rights))
        parts = [*apart, joined] if shared else parts
    found = 1
    for lefts, rights in parts:
        found *= _matched_part(functools.reduce(Product, lefts), rights, names)
    return found


def _factors(source: Source) -> list[Source]:
    return [*_factors(source.left), *_factors(source.right)] if isinstance(source, Product) else [source]


def _matched_part(left: Source, rights: list[Source], names: frozenset[str]) -> int:
    if not rights:
        return left.count()
    if len(rights) == 1 and _is_range(left) and rights[0].count() < left.count():
        # No two points of a range are equal, so the few on the right can be looked for on the left.
        [name] = left.names
        matches = left.matcher(frozenset(left.names))
        return len({row_key(row[name]) for row in rights[0].iterate() if matches(row)})
    longest = max(factor.count() for factor in _factors(left))
    if len(rights) == 1 and longest < left.count() and max(longest, rights[0].count()) <= _MOST_LOOKED_UP:
        return _looked_up(left, rights[0], names.intersection(rights[0].names))
    matchers = [source.matcher(names.intersection(source.names)) for source in rights]
    return sum(1 for row in left.iterate() if all(matches(row) for matches in matchers))


def _looked_up(left: Source, right: Source, names: frozenset[str]) -> int:
    """How many points of `left` agree with one of the few of `right`; only the factors of `left` are visited."""
    tables = []
    for factor in _factors(left):
        shared = [name for name in factor.names if name in names]
        tables.append((shared, Counter(tuple(row_key(row[name]) for name in shared) for row in factor.iterate())))
    order = sorted(names)
    distinct = {tuple(row_key(row[name]) for name in order): row for row in right.iterate()}
    return sum(
        math.prod(table[tuple(row_key(row[name]) for name in shared)] for shared, table in tables)
        for row in distinct.values()
    )


def _is_range(source: Source) -> bool:
    return isinstance(source, Zip) and [type(column) for column in source.columns.values()] == [range]
