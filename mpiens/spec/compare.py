"""What of a spec may change while a run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from typing import Any

from mpiens.space.points import SUFFIXES
from mpiens.spec.load import LoadedSpec

FREE = ("name", "output", "groups", "store", "checkpoint", "limits", "job", "search.trials")
"""Keys that may be changed from one part of a run to the next. All others decide what the results are."""

_MOST_SHOWN = 100


def differences(old: LoadedSpec, new: LoadedSpec, free: Collection[str] = (), *, is_all: bool = False) -> list[str]:
    """Parts that must stay as they are, and have changed; a line each.

    Args:
        old: The spec before.
        new: The spec now.
        free: Keys at the top that may change too.
        is_all: Tell of all parts, those that may change too.
    """
    before, after = (loaded.spec.model_dump(by_alias=True, exclude=set(free)) for loaded in (old, new))
    return list(_differences("", before, after, () if is_all else FREE))


def points_digest(loaded: LoadedSpec) -> str:
    """Changes when a file of points that the space names does."""
    digest = hashlib.blake2b(digest_size=16)
    for name in _points_files(loaded.spec.space):
        path = loaded.folder / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def _differences(key: str, old: Any, new: Any, free: Collection[str]) -> Iterator[str]:
    if key in free or (type(old) is type(new) and old == new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            path = f"{key}.{name}" if key else str(name)
            if name in old and name in new:
                yield from _differences(path, old[name], new[name], free)
            elif path not in free:
                yield f"{path}: {_shown(old, name)} -> {_shown(new, name)}"
        if list(old) != list(new) and old.keys() == new.keys() and key in ("space", "search.objectives"):
            yield f"{key}: the order of {', '.join(old)} -> {', '.join(new)}"
        return
    yield f"{key}: {_short(old)} -> {_short(new)}"


def _shown(part: dict[str, Any], name: str) -> str:
    return _short(part[name]) if name in part else "(absent)"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _points_files(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for word, content in tree.items():
            if word == "points" and isinstance(content, str) and content.lower().endswith(SUFFIXES):
                yield content
            else:
                yield from _points_files(content)
    elif isinstance(tree, list):
        for part in tree:
            yield from _points_files(part)
