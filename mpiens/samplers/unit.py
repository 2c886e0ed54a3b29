"""A space as the unit cube: for libraries that know nothing but numbers between 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mpiens.errors import SpecError
from mpiens.record import Params
from mpiens.space import Choices, Domain, Fixed, Range
from mpiens.space.membership import admits


class UnitCube:
    """Each parameter that is not fixed is a number from 0 to 1; values that can be counted have equal shares of it.

    Args:
        domains: Domain of every parameter.

    Attributes:
        domains: Of the parameters that are not fixed.
        dimensions: How many these are.
    """

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._fixed: Params = {name: d.value for name, d in domains.items() if isinstance(d, Fixed)}
        self.domains: dict[str, Domain] = {n: d for n, d in domains.items() if not isinstance(d, Fixed)}
        self.dimensions = len(self.domains)
        self._listed = {name: listed for name, d in self.domains.items() if (listed := _listed(d)) is not None}

    def check_searchable(self, algorithm: str) -> None:
        """For libraries that fail where there is nothing to choose.

        Raises:
            SpecError: All parameters are fixed.
        """
        if not self.dimensions:
            raise SpecError(
                f"every parameter has one value only, and {algorithm} has nothing to search; give a range or a list, "
                "or use random",
                key="space",
            )

    def decode(self, row: Sequence[float]) -> Params:
        """The point at these coordinates."""
        point = {}
        for (name, domain), x in zip(self.domains.items(), row, strict=True):
            values = self._listed.get(name)
            if values is not None:
                point[name] = values[min(int(x * len(values)), len(values) - 1)]
            else:
                assert isinstance(domain, Range)
                point[name] = _in_range(domain, min(max(float(x), 0.0), 1.0))
        return point | self._fixed

    def encode(self, params: Params) -> list[float]:
        """The coordinates of a point; values that can be counted stand in the middle of their share.

        Raises:
            ValueError: It is not in the space.
        """
        row = []
        for name, domain in self.domains.items():
            value = params.get(name)
            if name not in params or not admits(domain, value):
                raise ValueError(f"{name}: {value!r} is not in its domain")
            values = self._listed.get(name)
            if values is not None:
                row.append((_position(domain, values, value) + 0.5) / len(values))
            else:
                assert isinstance(domain, Range)
                row.append(_coordinate(domain, float(params[name])))
        return row


def _listed(domain: Domain) -> Sequence[Any] | None:
    """The values, where they can be counted and are equally likely."""
    if isinstance(domain, Choices):
        return domain.values
    assert isinstance(domain, Range)
    if domain.log:
        return None
    if domain.step is not None:
        return domain.values()
    return range(int(domain.low), int(domain.high) + 1) if domain.is_int else None


def _position(domain: Domain, values: Sequence[Any], value: Any) -> int:
    if isinstance(domain, Range):
        place: float = (value - domain.low) / (domain.step or 1)
        return min(round(place), len(values) - 1)
    return list(values).index(value) if not isinstance(values, range) else values.index(value)


def _bounds(domain: Range) -> tuple[float, float]:
    # Whole numbers have equal shares around them.
    margin = 0.5 if domain.is_int else 0.0
    low, high = domain.low - margin, domain.high + margin
    return (math.log(low), math.log(high)) if domain.log else (low, high)


def _in_range(domain: Range, x: float) -> float:
    low, high = _bounds(domain)
    value = low + x * (high - low)
    if domain.log:
        value = math.exp(value)
    if domain.is_int:
        value = round(value)
    return min(max(value, domain.low), domain.high)


def _coordinate(domain: Range, value: float) -> float:
    low, high = _bounds(domain)
    return ((math.log(value) if domain.log else value) - low) / (high - low) if high > low else 0.5
