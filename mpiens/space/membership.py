"""Whether a value may be a parameter's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpiens.space.domains import Choices, Domain, Fixed, Range
from mpiens.space.space import Space
from mpiens.space.values import is_number, nearest, shown

_MOST_SHOWN = 8


def misfit(point: Mapping[str, Any], space: Space) -> tuple[str | None, str] | None:
    """What keeps a point out of a space; None: nothing does.

    Parameters with one value only may be left out. Of an expression's points only the names are looked at.

    Returns:
        The parameter that is wrong, None where one is missing, and what is wrong.
    """
    for name in point:
        if name not in space.names:
            return name, f"no parameter of the space{nearest(name, space.names)}"
    domains = space.domains or {}
    for name in space.names:
        if name not in point:
            if not isinstance(domains.get(name), Fixed):
                return None, f"the parameter {name!r} is missing"
        elif name in domains and not admits(domains[name], point[name]):
            return name, f"{shown(point[name])} is not in the space: expected {described(domains[name])}"
    return None


def admits(domain: Domain, value: object) -> bool:
    """True when `value` is in this domain. Values of a stepped range may be off by rounding."""
    if isinstance(domain, Fixed):
        return _same(domain.value, value)
    if isinstance(domain, Choices):
        if isinstance(domain.values, range):
            return is_number(value) and value in domain.values
        return any(_same(choice, value) for choice in domain.values)
    return is_number(value) and _in_range(domain, value)  # type: ignore[arg-type]


def described(domain: Domain) -> str:
    """What a domain admits, in words; of long lists the first values."""
    if isinstance(domain, Fixed):
        return shown(domain.value)
    if isinstance(domain, Choices):
        values = ", ".join(shown(value) for value in domain.values[:_MOST_SHOWN])
        return f"one of {values}" + (f", ... ({len(domain.values)} values)" if len(domain.values) > _MOST_SHOWN else "")
    number = "a whole number" if domain.is_int else "a number"
    steps = "" if domain.step in (None, 1 if domain.is_int else None) else f" in steps of {shown(domain.step)}"
    return f"{number} from {shown(domain.low)} to {shown(domain.high)}{steps}"


def _in_range(domain: Range, value: float) -> bool:
    if not domain.low <= value <= domain.high or (domain.is_int and value != int(value)):
        return False
    if domain.step is None:
        return True
    steps = (value - domain.low) / domain.step
    return abs(steps - round(steps)) < 1e-8 * max(1.0, abs(steps))


def _same(one: object, other: object) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other
