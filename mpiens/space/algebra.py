"""The algebra of parameters: points built from columns by product, concatenation and difference.

>>> (Param(a=[1, 2]) * Param(b=["x", "y"])).build()
{'a': [1, 1, 2, 2], 'b': ['x', 'y', 'x', 'y']}
>>> (Param(a=[1, 2, 3], b=0) - Param(a=[2])).build()
{'a': [1, 3], 'b': [0, 0]}

Everything is lazy: a product of 10**9 points takes no memory, and its difference to another product is counted axis by
axis. Only the length of a difference that does not come apart into axes is found by visiting points.
``Param()``, which has no parameters, is neutral in every operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from mpiens.errors import UsageError
from mpiens.space.difference import difference
from mpiens.space.sources import Product, Repeat, Source, Zip, concat, native


class AmbiguousOperationError(UsageError, RuntimeError):
    """The operands' parameters do not go together in this operation."""


class UnequalLengthsError(UsageError, ValueError):
    """Columns that vary together differ in length."""


class Param:
    """A sequence of points, each of them a value for every parameter.

    ``Param(a=[1, 2], b=[3, 4])`` has two points: its columns vary together. Scalars and strings are repeated for
    every point. NumPy arrays, ranges and other sequences are columns as they are and not copied.

    Args:
        columns: Columns by name, for names that are no Python identifiers.
        **more: Columns by name.

    Raises:
        UnequalLengthsError: Columns differ in length.
        UsageError: A column cannot be read in order.
    """

    _source: Source

    def __init__(self, columns: Mapping[str, object] | None = None, /, **more: object) -> None:
        self._source = _zip({**(columns or {}), **more})

    @classmethod
    def _of(cls, source: Source) -> Param:
        param = cls()
        param._source = source
        return param

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters."""
        return self._source.names

    def keys(self) -> list[str]:
        """The parameters, as a list."""
        return list(self.names)

    def __mul__(self, other: Param) -> Param:
        """Every point of this with every point of `other`; the parameters of `other` change fastest.

        Raises:
            AmbiguousOperationError: Both have a parameter of the same name.
        """
        if not isinstance(other, Param):
            return NotImplemented
        if not self.names or not other.names:
            return self if self.names else other
        shared = [name for name in other.names if name in self.names]
        if shared:
            raise AmbiguousOperationError(
                f"a product's operands must have different parameters; both have {_listed(shared)}"
            )
        return self._of(Product(self._source, other._source))

    def __add__(self, other: Param) -> Param:
        """The points of this, then those of `other`; a parameter that one of them lacks is NaN there."""
        if not isinstance(other, Param):
            return NotImplemented
        if not self.names or not other.names:
            return self if self.names else other
        return self._of(concat(self._source, other._source))

    def __sub__(self, other: Param) -> Param:
        """The points of this that agree with no point of `other` in all of the parameters of `other`.

        Whole rows are compared. NaN equals NaN, and 1 equals 1.0.

        Raises:
            AmbiguousOperationError: `other` has a parameter that this lacks.
        """
        if not isinstance(other, Param):
            return NotImplemented
        extra = [name for name in other.names if name not in self.names]
        if extra:
            raise AmbiguousOperationError(
                f"a difference's right operand must not have parameters that the left one lacks: {_listed(extra)}; "
                f"missing(left, right) ignores them"
            )
        if not other.names:
            return self
        return self._of(difference(self._source, other._source, frozenset(other.names)))

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return next(self.iterate(), None) is not None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.iterate()

    def __repr__(self) -> str:
        return f"<Param of {_listed(self.names)}>" if self.names else "Param()"

    def count(self) -> int:
        """The number of points, which may be larger than `len` can say."""
        return self._source.count()

    def iterate(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """The points one by one, from number `start` on, in constant memory."""
        if start < 0:
            raise ValueError(f"start must be 0 or more, found {start}")
        return self._source.iterate(start)

    def build(self) -> dict[str, list[Any]]:
        """All points, as columns."""
        columns: dict[str, list[Any]] = {name: [] for name in self.names}
        for point in self.iterate():
            for name, value in point.items():
                columns[name].append(value)
        return columns


def missing(wanted: Param, present: Param) -> Param:
    """The points of `wanted` that are not in `present`.

    Unlike a difference it ignores parameters that only `present` has, such as results, and wants all of its own
    parameters there. Where nothing is present, everything is missing.

    Raises:
        AmbiguousOperationError: `present` has points, and lacks a parameter of `wanted`.
    """
    if not wanted.names or not present:
        return wanted
    lacking = [name for name in wanted.names if name not in present.names]
    if lacking:
        raise AmbiguousOperationError(
            f"what is present must have every parameter of what is wanted; it lacks {_listed(lacking)}"
        )
    return Param._of(difference(wanted._source, present._source, frozenset(wanted.names)))


def _zip(columns: dict[str, object]) -> Zip:
    sequences: dict[str, Sequence[Any] | None] = {name: _column(name, value) for name, value in columns.items()}
    lengths = {name: len(column) for name, column in sequences.items() if column is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise UnequalLengthsError(f"parameters that vary together need equally many values: {found}")
    length = next(iter(lengths.values()), 1 if columns else 0)
    return Zip(
        {
            name: Repeat(native(columns[name])) if column is None else column  # type: ignore[misc]
            for name, column in sequences.items()
        },
        length,
    )


def _column(name: str, value: object) -> Sequence[Any] | None:
    """The value as a sequence, or None for a scalar."""
    if isinstance(value, str | bytes | Mapping):
        return None
    if isinstance(value, Set):
        raise UsageError(f"parameter {name!r}: a set has no order; give a list")
    if isinstance(value, Sequence):
        return value
    if hasattr(value, "ndim") and hasattr(value, "tolist"):
        if not value.ndim:
            return None
        # A table's column is indexed by label; its array by position.
        return value.to_numpy() if hasattr(value, "to_numpy") else value  # type: ignore[return-value]
    return list(value) if hasattr(value, "__iter__") else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
