"""What differs between the parameters of two networks, as paths.

Parameters are taken as plain data: nested dicts, and leaves that can be compared to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Path = tuple[str, ...]

_SIMPLE = (str, bool, int, float, bytes, type(None))


class NotPlain(ValueError):
    """A value is no data, such as a function: whether two of them are equal cannot be known."""

    def __init__(self, path: Path) -> None:
        super().__init__(".".join(path))


def plain(value: Any, path: Path = ()) -> Any:
    """A copy of `value` that later changes do not reach.

    Raises:
        NotPlain: There is something in it that cannot be compared.
    """
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner, (*path, str(key))) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, (*path, str(index))) for index, inner in enumerate(value)]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufSU":
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):
        return str.__str__(value)
    raise NotPlain(path)


def changes(old: Any, new: Any, path: Path = ()) -> Iterator[Path]:
    """Paths at which two results of `plain` differ, in the order of dicts too: it decides the order of building."""
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) != list(new):
            yield path
            return
        for key in old:
            yield from changes(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from changes(before, after, (*path, str(index)))
    elif not _same(old, new):
        yield path


def at(value: Any, path: Path) -> Any:
    """What is at `path` in nested dicts."""
    for key in path:
        value = value[key]
    return value


def is_number(value: Any) -> bool:
    """True for int and float, not for bool."""
    return type(value) in (int, float)


def is_mentioned(name: str, value: Any) -> bool:
    """True when a text anywhere in `value` holds `name` as a word, as formulas for weights and places do."""
    if isinstance(value, str):
        return re.search(rf"\b{re.escape(name)}\b", value) is not None
    if isinstance(value, dict):
        return any(is_mentioned(name, inner) for inner in value.values())
    return isinstance(value, list) and any(is_mentioned(name, inner) for inner in value)


def _same(old: Any, new: Any) -> bool:
    # 1 and 1.0 make the same network; nan is the same as nan; 0.0 and -0.0 are not.
    if is_number(old) and is_number(new):
        return repr(float(old)) == repr(float(new))
    return bool(type(old) is type(new) and old == new)
