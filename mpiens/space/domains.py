"""The values that one parameter may take, and their form in a spec.

==================================================  ===========  ====================================================
in the spec                                         domain       values
==================================================  ===========  ====================================================
``{low: 0.1, high: 1.0}``                           `Range`      between the bounds, both included; whole numbers when
                                                                 both bounds are written as such (or ``type: int``)
``{low: 1, high: 9, step: 2}``                      `Range`      low, low + step, ... up to high
``{low: 1.0e-3, high: 1.0, log: true}``             `Range`      the same, searched by its logarithm
``[1, 2, 5]``, ``{values: [1, 2, 5]}``              `Choices`    these
``{range: [start, stop, step]}``                    `Choices`    start, start + step, ... without stop, as in Python
``{linspace: [a, b, n]}``                           `Choices`    ``numpy.linspace(a, b, n)``: n values from a to b
``{logspace: [a, b, n]}``                           `Choices`    ``numpy.logspace(a, b, n)``: n from 10**a to 10**b
``5``, ``fast``                                     `Fixed`      this one
==================================================  ===========  ====================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mpiens.errors import SpecError
from mpiens.space.values import Plain, check_finite, check_name, check_width, is_number, is_plain, nearest, shown

MAX_VALUES = 10_000_000
"""Most values that one parameter's list may have."""

MAX_INTEGERS = 10**15
"""The same for whole numbers in equal steps, which are kept as a `range` and cost nothing."""

_RANGE_KEYS = ("low", "high", "log", "step", "type")
_LIST_KEYS = ("range", "linspace", "logspace", "values")
KEYS = _RANGE_KEYS + _LIST_KEYS
"""Keys of a mapping that is a domain."""

_TUPLE_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers between two bounds.

    Attributes:
        low: Lower bound, included.
        high: Upper bound, included (when a step hits it exactly).
        log: Searched by logarithm.
        step: Distance of neighbours, counted from `low`; None: any number.
        is_int: Whole numbers only; the bounds and the step are ints then, and floats otherwise.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_int: bool = False

    def values(self) -> Sequence[float]:
        """The values of a stepped range.

        Raises:
            ValueError: It has no step.
        """
        if self.step is None:
            raise ValueError("a range without a step has no list of values")
        if self.is_int:
            return _compact(range(int(self.low), int(self.high) + 1, int(self.step)))
        start, step = _exact(self.low), _exact(self.step)
        return _stepped(start, step, math.floor((_exact(self.high) - start) / step) + 1)


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of values; a tuple, or a `range` where there are very many."""

    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Fixed:
    """One value."""

    value: Any


Domain = Range | Choices | Fixed


def parse_domain(name: str, value: object, key: str | None = None) -> Domain:
    """The domain that `value` describes.

    Args:
        name: The parameter.
        value: What the spec says of it, as plain Python data.
        key: Path of the parameter in the spec, for errors; ``space.<name>`` by default.

    Raises:
        SpecError: It describes none; the error's key says where.
    """
    key = f"space.{name}" if key is None else key
    check_name(name, key)
    if isinstance(value, list):
        return Choices(_choices(value, key))
    if isinstance(value, dict):
        return _parse_mapping(value, key)
    if not is_plain(value):
        raise SpecError(
            f"expected a value, a list of values, or a mapping such as {{low, high}}, found {shown(value)}", key=key
        )
    return Fixed(check_width(check_finite(value, key), key))  # type: ignore[arg-type]


def _parse_mapping(mapping: dict[Any, object], key: str) -> Domain:
    for found in mapping:
        if found not in KEYS:
            raise SpecError(f"unknown key{nearest(found, KEYS) or _known_keys()}", key=f"{key}.{found}")
    lists = [found for found in mapping if found in _LIST_KEYS]
    if not lists:
        return _parse_range(mapping, key)
    if len(mapping) > 1:
        other = next(found for found in mapping if found != lists[0])
        raise SpecError(f"{lists[0]!r} must be the only key of its parameter, found {other!r} too", key=key)
    kind = lists[0]
    key, content = f"{key}.{kind}", mapping[kind]
    if not isinstance(content, list):
        raise SpecError(f"expected a list, found {shown(content)}", key=key)
    if kind == "values":
        return Choices(_choices(content, key))
    return Choices(_arithmetic(content, key) if kind == "range" else _spaced(kind, content, key))


def _known_keys() -> str:
    return f"; known are {', '.join(_RANGE_KEYS)}, or one of {', '.join(_LIST_KEYS)}"


def _choices(values: list[Any], key: str) -> tuple[Plain, ...]:
    if not values:
        raise SpecError("the list is empty; give at least one value", key=key)
    for index, value in enumerate(values):
        if not is_plain(value):
            raise SpecError(
                f"expected a plain value (number, text, true or false, or a list of such), found {shown(value)}",
                key=f"{key}.{index}",
            )
        check_width(check_finite(value, f"{key}.{index}"), f"{key}.{index}")
    return tuple(values)


def _number(mapping: dict[Any, object], name: str, key: str) -> float:
    value = mapping.get(name)
    if name not in mapping:
        raise SpecError(f"a range needs both low and high; {name!r} is missing", key=key)
    if not is_number(value):
        raise SpecError(f"expected a number, found {shown(value)}", key=f"{key}.{name}")
    check_finite(value, f"{key}.{name}")  # type: ignore[arg-type]
    return value  # type: ignore[return-value]


def _parse_range(mapping: dict[Any, object], key: str) -> Range:
    low, high = _number(mapping, "low", key), _number(mapping, "high", key)
    step = _number(mapping, "step", key) if "step" in mapping else None
    log = mapping.get("log", False)
    kind = mapping.get("type", "int" if isinstance(low, int) and isinstance(high, int) else "float")
    if not isinstance(log, bool):
        raise SpecError(f"expected true or false, found {shown(log)}", key=f"{key}.log")
    if kind not in ("int", "float"):
        raise SpecError(f"expected int or float, found {shown(kind)}", key=f"{key}.type")
    is_int = kind == "int"
    low, high = _as_kind(low, is_int, f"{key}.low", mapping), _as_kind(high, is_int, f"{key}.high", mapping)
    if low > high:
        raise SpecError(f"{shown(low)} is above high, {shown(high)}; exchange them", key=f"{key}.low")
    if is_int and high - low >= 2**63:
        raise SpecError(f"the range from {shown(low)} to {shown(high)} has more than 2**63 values", key=key)
    if not math.isfinite(float(high) - float(low)):
        raise SpecError(f"the range from {shown(low)} to {shown(high)} is wider than any float", key=key)
    if low == high:
        raise SpecError(f"low and high are both {shown(low)}; for a constant write the value alone", key=key)
    if log and low <= 0:
        raise SpecError(f"with log: true it must be above 0, found {shown(low)}", key=f"{key}.low")
    if step is not None:
        step = _as_kind(step, is_int, f"{key}.step", mapping)
        if log:
            raise SpecError("log and step exclude each other; for a grid use {logspace: [a, b, n]}", key=f"{key}.step")
        if step <= 0:
            raise SpecError(f"must be above 0, found {shown(step)}", key=f"{key}.step")
        if _exact(step) > _exact(high) - _exact(low):
            raise SpecError(
                f"{shown(step)} is longer than the range from {shown(low)} to {shown(high)}", key=f"{key}.step"
            )
        _check_count(math.floor((_exact(high) - _exact(low)) / _exact(step)) + 1, is_int, f"{key}.step")
    return Range(low, high, log, step, is_int)


def _as_kind(value: float, is_int: bool, key: str, mapping: dict[Any, object]) -> float:
    if not is_int:
        try:
            return float(value)
        except OverflowError:
            raise SpecError(f"{shown(value)} is too large for a float", key=key) from None
    if value != int(value):
        mend = "" if "type" in mapping else "; both bounds are whole numbers: add type: float if that is not meant"
        raise SpecError(f"expected a whole number, found {shown(value)}{mend}", key=key)
    return check_width(int(value), key)  # type: ignore[return-value]


def _triple(content: list[Any], names: str, key: str) -> list[Any]:
    if len(content) != 3:
        raise SpecError(f"expected three numbers, [{names}], found {len(content)}", key=key)
    for index, value in enumerate(content):
        if not is_number(value):
            raise SpecError(f"expected a number, found {shown(value)}", key=f"{key}.{index}")
        check_finite(value, f"{key}.{index}")
    return content


def _arithmetic(content: list[Any], key: str) -> Sequence[float]:
    start, stop, step = _triple(content, "start, stop, step", key)
    if step == 0:
        raise SpecError("the step must not be 0", key=f"{key}.2")
    is_int = all(isinstance(value, int) for value in content)
    count = math.ceil((_exact(stop) - _exact(start)) / _exact(step))
    if count <= 0:
        raise SpecError(
            f"no value lies between {shown(start)} and {shown(stop)} in steps of {shown(step)}; stop is excluded",
            key=key,
        )
    _check_count(count, is_int, key)
    for index, value in enumerate(content if is_int else ()):
        check_width(value, f"{key}.{index}")
    return _compact(range(start, stop, step)) if is_int else _stepped(_exact(start), _exact(step), count)


def _spaced(kind: str, content: list[Any], key: str) -> tuple[float, ...]:
    first, last, count = _triple(content, "a, b, n", key)
    if not isinstance(count, int) or count < 1:
        raise SpecError(f"the number of values must be a whole number from 1, found {shown(count)}", key=f"{key}.2")
    _check_count(count, False, key)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            space = np.linspace if kind == "linspace" else np.logspace
            values = space(float(first), float(last), count)
    except OverflowError:
        values = np.array([np.inf])
    if not np.all(np.isfinite(values)):
        hint = "; a and b are exponents: the values go from 10**a to 10**b" if kind == "logspace" else ""
        raise SpecError(f"the values are too large for a float{hint}", key=key)
    return tuple(values.tolist())


def _check_count(count: int, is_int: bool, key: str) -> None:
    most = MAX_INTEGERS if is_int else MAX_VALUES
    if count > most:
        raise SpecError(f"too many values for one parameter; at most {most:,} are possible", key=key)


def _exact(value: float) -> Fraction:
    # The number as it was written: 0.1 is a tenth here, so that ten steps of it make exactly 1.
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def _stepped(start: Fraction, step: Fraction, count: int) -> tuple[float, ...]:
    return tuple(float(start + index * step) for index in range(count))


def _compact(values: range) -> Sequence[int]:
    return values if len(values) > _TUPLE_LIMIT else tuple(values)
