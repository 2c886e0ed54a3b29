"""What may be the name and the value of a parameter, and how to tell whoever wrote something else."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from pathlib import Path

from mpiens.errors import SpecError

Scalar = bool | int | float | str
Plain = Scalar | list[Scalar]
"""A parameter's value in a spec: a scalar, or a list of scalars."""


def check_name(name: object, key: str) -> str:
    """`name`, if a parameter may be called that. Results are stored under it, so it must not be a path.

    Raises:
        SpecError: It may not.
    """
    if not isinstance(name, str) or not name:
        raise SpecError("a parameter's name must be a text that is not empty", key=key)
    if name in (".", "..") or "/" in name or "\0" in name:
        raise SpecError(f"{name!r} cannot be a parameter's name: it must not contain '/' or be '.' or '..'", key=key)
    return name


def is_number(value: object) -> bool:
    """True for int and float; a bool is not a number here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_plain(value: object) -> bool:
    """True for a scalar and for a list of scalars."""
    return isinstance(value, Scalar) or (isinstance(value, list) and all(isinstance(item, Scalar) for item in value))


def check_finite(value: Plain, key: str) -> Plain:
    """`value`, unless it is or holds NaN or an infinity.

    Raises:
        SpecError: It does.
    """
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            raise SpecError(f"must be finite, found {item}", key=key)
    return value


def check_width(value: Plain, key: str) -> Plain:
    """`value`, unless it is or holds a whole number of more than 64 bits, which no file and no message can keep.

    Raises:
        SpecError: It does.
    """
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise SpecError(
                f"{shown(item)} needs more than 64 bits; write it as a text, or with a decimal point", key=key
            )
    return value


def nearest(name: object, valid: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing when no valid name is near."""
    names = list(valid)
    folded = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(str(name).lower(), folded, 1, 0.6)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def similar_files(path: Path) -> str:
    """``; similar there: a.csv, b.csv``, ``; there is no folder ...``, or nothing."""
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder}"
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, 3, 0.5)
    near += sorted(name for name in names if path.suffix and name.endswith(path.suffix) and name not in near)[:2]
    return f"; similar there: {', '.join(near)}" if near else ""


def shown(value: object, limit: int = 60) -> str:
    """`value` as it may stand in a message: short, and in the spec's own words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
