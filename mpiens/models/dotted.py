"""Values inside nested objects, mappings and lists, by dotted path."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

_MAX_PATHS = 5000
_MAX_DEPTH = 8


class UnknownPath(LookupError):
    """There is nothing at the path.

    Attributes:
        path: The path asked for.
        nearest: The existing path most like it, or None.
    """

    def __init__(self, path: str, nearest: str | None, reason: str = "") -> None:
        super().__init__(path, nearest, reason)
        self.path, self.nearest, self.reason = path, nearest, reason

    def __str__(self) -> str:
        text = f"there is no {self.path!r}"
        if self.reason:
            text += f" ({self.reason})"
        return text + (f"; did you mean {self.nearest!r}?" if self.nearest else "")


def assign(root: object, path: str, value: object) -> None:
    """Set what is at `path` below `root`; it must exist already.

    Args:
        root: An object with attributes, a mapping or a list.
        path: Names and indices joined by dots, such as ``nmda.PYR->BC`` or ``xn.0``. A key may contain dots.
        value: A copy of it is stored.

    Raises:
        UnknownPath: There is nothing at the path.
    """
    container, key = _locate(root, path, root, path)
    value = copy.deepcopy(value)
    if isinstance(container, tuple):
        raise UnknownPath(path, None, "a tuple cannot be changed; make it a list")
    if isinstance(container, MutableMapping) or _is_sequence(container):
        container[key] = value
    else:
        setattr(container, key, value)


def exists(root: object, path: str) -> bool:
    """True when there is something at `path`."""
    try:
        _locate(root, path, root, path)
    except UnknownPath:
        return False
    return True


def nearest(root: object, path: str) -> str | None:
    """The existing path most like `path`, or None."""
    found = difflib.get_close_matches(path, list(_paths(root)), n=1, cutoff=0.5)
    return found[0] if found else None


def _locate(place: object, rest: str, root: object, path: str) -> tuple[Any, Any]:
    """Container and key of what is at `rest` below `place`. Longer keys win, so that a key may contain dots."""
    parts = rest.split(".")
    deeper: UnknownPath | None = None
    for count in range(len(parts), 0, -1):
        key = _key(place, ".".join(parts[:count]))
        if key is None:
            continue
        if count == len(parts):
            return place, key
        try:
            return _locate(_child(place, key), ".".join(parts[count:]), root, path)
        except UnknownPath as error:
            deeper = deeper or error
    if deeper is not None:
        raise deeper
    reason = ""
    if _is_sequence(place) and parts[0].isdigit():
        reason = f"the list has {len(place)} items, counted from 0"  # type: ignore[arg-type]
    raise UnknownPath(path, nearest(root, path), reason)


def _key(place: object, text: str) -> Any:
    """`text` in the form in which `place` knows it, or None."""
    if isinstance(place, Mapping):
        if text in place:
            return text
        number = int(text) if text.lstrip("-").isdigit() else None
        return number if number is not None and number in place else None
    if _is_sequence(place):
        return int(text) if text.isdigit() and int(text) < len(place) else None  # type: ignore[arg-type]
    return text if text in getattr(place, "__dict__", {}) or _is_property(place, text) else None


def _child(place: object, key: Any) -> object:
    if isinstance(place, Mapping) or _is_sequence(place):
        return place[key]  # type: ignore[index]
    return getattr(place, key)


def _is_property(place: object, name: str) -> bool:
    found = getattr(type(place), name, None)
    return isinstance(found, property) and found.fset is not None


def _is_sequence(place: object) -> bool:
    return (
        not isinstance(place, (str, bytes))
        and hasattr(place, "__len__")
        and hasattr(place, "__getitem__")
        and (isinstance(place, (list, tuple)) or hasattr(place, "ndim"))
    )


def _paths(root: object) -> Iterator[str]:
    """Every path below `root`, up to a limit."""
    count = 0
    stack: list[tuple[str, object, int]] = [("", root, 0)]
    while stack and count < _MAX_PATHS:
        prefix, place, depth = stack.pop()
        items: list[tuple[Any, object]] = []
        if isinstance(place, Mapping):
            items = list(place.items())
        elif isinstance(place, (list, tuple)):
            items = list(enumerate(place))
        elif depth == 0 or type(place).__module__ not in ("builtins", "numpy"):
            items = [item for item in getattr(place, "__dict__", {}).items() if not item[0].startswith("_")]
        for key, value in items:
            yield f"{prefix}{key}"
            count += 1
            if depth < _MAX_DEPTH and (isinstance(value, (Mapping, list, tuple)) or hasattr(value, "__dict__")):
                stack.append((f"{prefix}{key}.", value, depth + 1))
