"""Whether a value may be a parameter's."""

from __future__ import annotations

from mpiens.space.domains import Choices, Domain, Fixed, Range
from mpiens.space.values import is_number


def admits(domain: Domain, value: object) -> bool:
    """True when `value` is in this domain. Values of a stepped range may be off by rounding."""
    if isinstance(domain, Fixed):
        return _same(domain.value, value)
    if isinstance(domain, Choices):
        if isinstance(domain.values, range):
            return is_number(value) and value in domain.values
        return any(_same(choice, value) for choice in domain.values)
    return is_number(value) and _in_range(domain, value)  # type: ignore[arg-type]


def _in_range(domain: Range, value: float) -> bool:
    if not domain.low <= value <= domain.high or (domain.is_int and value != int(value)):
        return False
    if domain.step is None:
        return True
    steps = (value - domain.low) / domain.step
    return abs(steps - round(steps)) < 1e-8 * max(1.0, abs(steps))


def _same(one: object, other: object) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other
