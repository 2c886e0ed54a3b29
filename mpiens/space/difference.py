"""Points without some of them."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpiens.space.sources import NAN, Concat, Matcher, Product, Repeat, Source, Zip, concat, listed, row_key

_MOST_LOOKED_UP = 1_000_000
"""Factors of a product are listed for a look-up when they have at most so many points."""

_MOST_EXCLUDED = 4
"""Counting takes twice as long for each further source that is excluded; with more of them points are visited."""


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
        return tuple(source.matcher(names) for source, names in _together(self.excluded))

    @functools.cached_property
    def _count(self) -> int:
        return _remaining(self.left, (), self.excluded)

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


_Excluded = tuple[Source, frozenset[str]]
"""Points, and the parameters in all of which a row must agree with one of them."""

_Part = tuple[list[Source], list[_Excluded]]
"""Factors of the left and of the right that have parameters together."""


def _together(excluded: tuple[_Excluded, ...]) -> tuple[_Excluded, ...]:
    """As few as possible: those with the same parameters are one."""
    sources: dict[frozenset[str], list[Source]] = {}
    for source, names in excluded:
        sources.setdefault(names, []).append(source)
    return tuple((functools.reduce(concat, found), names) for names, found in sources.items())


def _remaining(left: Source, required: tuple[_Excluded, ...], excluded: tuple[_Excluded, ...]) -> int:
    """How many points of `left` agree with each of `required` and with none of `excluded`.

    A point that agrees with several of `excluded` must not be taken away twice. So those that agree with the first of
    them, and with none of the others, are taken away from what the others leave.
    """
    if isinstance(left, Difference):
        return _remaining(left.left, required, (*left.excluded, *excluded))
    if isinstance(left, Concat):
        return sum(_remaining(_padded(part, left.names), required, excluded) for part in left.parts)
    if len(excluded) > _MOST_EXCLUDED:
        excluded = _together(excluded)
    if len(excluded) > _MOST_EXCLUDED:
        wanted = [source.matcher(names) for source, names in required]
        unwanted = [source.matcher(names) for source, names in excluded]
        return sum(
            1
            for row in left.iterate()
            if all(matches(row) for matches in wanted) and not any(matches(row) for matches in unwanted)
        )
    if excluded:
        first, *rest = excluded
        return _remaining(left, required, tuple(rest)) - _remaining(left, (*required, first), tuple(rest))
    return _matched(left, required)


def _padded(part: Source, names: tuple[str, ...]) -> Source:
    """With NaN for the names that it lacks."""
    lacking = [name for name in names if name not in part.names]
    if not lacking:
        return part
    if isinstance(part, Difference):
        return Difference(_padded(part.left, names), part.excluded)
    return Product(part, Zip({name: Repeat(NAN) for name in lacking}, 1))  # type: ignore[misc]


def _matched(left: Source, rights: tuple[_Excluded, ...]) -> int:
    """How many points of `left` agree with one of each of `rights`.

    Factors that have no parameter together are independent: what they match is multiplied, not visited.
    """
    parts: list[_Part] = [([factor], []) for factor in _factors(left)]
    for right, names in rights:
        if next(right.iterate(), None) is None:
            return 0
        for factor in _factors(right):
            shared = names.intersection(factor.names)
            apart: list[_Part] = []
            joined: _Part = ([], [(factor, shared)])
            for lefts, others in parts:
                if any(shared.intersection(one.names) for one in lefts):
                    joined = (joined[0] + lefts, joined[1] + others)
                else:
                    apart.append((lefts, others))
            parts = [*apart, joined] if shared else parts
    found = 1
    for lefts, others in parts:
        found *= _matched_part(functools.reduce(Product, lefts), others)
    return found


def _factors(source: Source) -> list[Source]:
    return [*_factors(source.left), *_factors(source.right)] if isinstance(source, Product) else [source]


def _matched_part(left: Source, rights: list[_Excluded]) -> int:
    if not rights:
        return left.count()
    # The one with the fewest points, of those that know all parameters that are compared.
    compared = frozenset().union(*(names for _, names in rights))
    few = min((right for right in rights if right[1] == compared), key=lambda right: right[0].count(), default=None)
    if few is not None and few[0].count() < left.count():
        matchers = [source.matcher(names) for source, names in rights if source is not few[0]]
        rows = (row for row in few[0].iterate() if all(matches(row) for matches in matchers))
        if _is_range(left):
            # No two points of a range are equal, so the few on the right can be looked for on the left.
            [name] = left.names
            matches = left.matcher(frozenset(left.names))
            return len({row_key(row[name]) for row in rows if matches(row)})
        longest = max(factor.count() for factor in _factors(left))
        if longest < left.count() and max(longest, few[0].count()) <= _MOST_LOOKED_UP:
            return _looked_up(left, rows, compared)
    matchers = [source.matcher(names) for source, names in rights]
    return sum(1 for row in left.iterate() if all(matches(row) for matches in matchers))


def _looked_up(left: Source, rows: Iterable[Mapping[str, Any]], names: frozenset[str]) -> int:
    """How many points of `left` agree with one of the few rows; only the factors of `left` are visited."""
    tables = []
    for factor in _factors(left):
        shared = [name for name in factor.names if name in names]
        tables.append((shared, Counter(tuple(row_key(row[name]) for name in shared) for row in factor.iterate())))
    order = sorted(names)
    distinct = {tuple(row_key(row[name]) for name in order): row for row in rows}
    return sum(
        math.prod(table[tuple(row_key(row[name]) for name in shared)] for shared, table in tables)
        for row in distinct.values()
    )


def _is_range(source: Source) -> bool:
    return isinstance(source, Zip) and [type(column) for column in source.columns.values()] == [range]
