"""Single keys of a spec set from outside: ``groups.size=2``."""

from __future__ import annotations

from typing import Any

from mpiens.errors import SpecError, UsageError
from mpiens.spec.yaml_tree import read_yaml

_OPEN = ("space", "model.fixed", "search.objectives", "search.options")
"""Mappings whose keys are the user's own, and may hold dots."""


def apply_override(data: dict[str, Any], override: str) -> str:
    """Set one key in `data`.

    Args:
        data: The spec's content; changed.
        override: ``key=value``; the key is a dotted path, the value is YAML.

    Returns:
        The path that was set.

    Raises:
        UsageError: It is not of that form, or leads nowhere.
    """
    path, equals, text = override.partition("=")
    path = path.strip()
    if not equals or not path:
        raise UsageError(f"--set {override}: expected key=value, such as groups.size=2")
    try:
        value = read_yaml(text, "").data if text.strip() else None
    except SpecError as error:
        raise UsageError(f"--set {override}: {error.problem}") from None
    parent: Any = data
    done = ""
    rest = path
    while True:
        key = _next_key(parent, rest, done)
        if isinstance(parent, list):
            parent, key = _item(parent, key, override, done)
        elif not isinstance(parent, dict):
            raise UsageError(f"--set {override}: {done} holds one value, and nothing below it")
        done = f"{done}.{key}" if done else str(key)
        rest = rest[len(str(key)) + 1 :]
        if not rest:
            parent[key] = value
            return path
        if isinstance(parent, dict) and parent.get(key) is None:
            parent[key] = {}
        parent = parent[key]


def _next_key(parent: Any, rest: str, done: str) -> str:
    """The first key of the path `rest`: the longest one that is there, or else what comes before the next dot."""
    parts = rest.split(".")
    if isinstance(parent, dict):
        for count in range(len(parts), 0, -1):
            key = ".".join(parts[:count])
            if key in parent:
                return key
        if done in _OPEN:
            return rest
    return parts[0]


def _item(parent: list[Any], key: str, override: str, done: str) -> tuple[list[Any], Any]:
    if not key.isdecimal() or int(key) >= len(parent):
        raise UsageError(f"--set {override}: {done} is a list of {len(parent)}; {key!r} is no place in it")
    return parent, int(key)
