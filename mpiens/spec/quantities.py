"""Durations, memory and other values of a spec that have a form of their own, as pydantic types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_UNITS = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d)")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
_POWER = {"K": 1, "M": 2, "G": 3, "T": 4}
_TARGET = r"([^:]+\.py|[^\W\d]\w*(\.[^\W\d]\w*)*):[^\W\d]\w*(\.[^\W\d]\w*)*"

DURATION_FORMS = "60s, 20m, 4h, 1h30m, 2d, 04:00:00, or a number of seconds"


def parse_duration(value: object) -> float:
    """Seconds.

    Raises:
        ValueError: The value is no duration above zero.
    """
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise ValueError(f"expected a duration such as {DURATION_FORMS}")
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def _seconds(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e15 else None
    if not isinstance(value, str) or len(value) > 100:
        return None
    text = value.strip().lower()
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = map(int, clock.groups())
        return float(hours * 3600 + minutes * 60 + seconds)
    units = _UNITS.fullmatch(text.replace(" ", ""))
    if not text or units is None:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in zip(units.groups(), "dhms", strict=True) if number)


def duration_or_auto(value: object) -> float | str:
    """`value` if it is ``auto``, otherwise seconds.

    Raises:
        ValueError: It is neither.
    """
    if value == "auto":
        return "auto"
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None


def parse_memory(value: object) -> str:
    """An amount of memory as whole K, M, G or T (powers of 1024), such as ``4G`` or ``1536M``.

    Raises:
        ValueError: The value is no such amount.
    """
    match = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 100 else None
    if match is None or not float(match[1]):
        raise ValueError("expected an amount of memory with its unit, such as 4G or 512M")
    kibibytes = math.ceil(float(match[1]) * 1024 ** (_POWER[match[2].upper()] - 1))
    for unit in "TGMK":
        size = 1024 ** (_POWER[unit] - 1)
        if kibibytes % size == 0:
            return f"{kibibytes // size}{unit}"
    raise AssertionError("every number is divisible by one")


def memory_bytes(memory: str) -> int:
    """Bytes of what `parse_memory` returns."""
    factor: int = 1024 ** _POWER[memory[-1]]
    return int(memory[:-1]) * factor


def stored_name(value: str) -> str:
    """`value` if something can be stored under it.

    Raises:
        ValueError: It is a path or empty.
    """
    if not value or value in (".", "..") or "/" in value or "\0" in value:
        raise ValueError("a name must not be empty, contain '/', or be '.' or '..'")
    return value


def _full(pattern: str, problem: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("expected a text")
        if not re.fullmatch(pattern, value):
            raise ValueError(problem)
        return value

    return check


def one_of(expected: str, *types: type) -> Callable[[object], object]:
    """A validator that lets only values of these types pass; a bool is no int."""

    def check(value: object) -> object:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"expected {expected}")
        return value

    return check


def run_names(value: object) -> object:
    """`value` if it names one run or several.

    Raises:
        ValueError: It does not.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return value
    raise ValueError("expected a run or a list of runs")


_DURATION_PATTERN = (
    r"^\s*(\d+:[0-5]\d:[0-5]\d"
    r"|(?=.*\d)(\d+(\.\d+)?[dD]\s*)?(\d+(\.\d+)?[hH]\s*)?(\d+(\.\d+)?[mM]\s*)?(\d+(\.\d+)?[sS])?)\s*$"
)
_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": _DURATION_PATTERN}]
}

Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""A time span, in seconds."""

AutoDuration = Annotated[
    float | Literal["auto"],
    BeforeValidator(duration_or_auto),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_DURATION_SCHEMA["anyOf"]]}),
]
"""A time span in seconds, or ``auto``."""

Memory = Annotated[
    str,
    BeforeValidator(parse_memory),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[KMGTkmgt]([iI]?[bB])?\s*$"}),
]
"""An amount of memory, such as ``4G``."""

Target = Annotated[
    str,
    BeforeValidator(_full(_TARGET, "expected path.py:function or package.module:function")),
    WithJsonSchema({"type": "string", "pattern": r"^.+:.+$"}),
]
"""A function: ``path.py:function`` or ``package.module:function``."""

Name = Annotated[
    str,
    BeforeValidator(_full(r"(?s).*", "")),
    BeforeValidator(lambda value: stored_name(value) if isinstance(value, str) else value),
    WithJsonSchema({"type": "string", "pattern": r"^[^/]+$"}),
]
"""A name under which something is stored."""
