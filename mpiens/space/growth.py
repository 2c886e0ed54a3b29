"""Grids that grow: earlier points keep their numbers, and new ones come after them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpiens.errors import SpecError
from mpiens.space.algebra import Param, missing
from mpiens.space.points import read_points
from mpiens.space.space import Space, is_expression, parse_space
from mpiens.space.values import shown


def embedded(tree: Any, folder: Path) -> Any:
    """The `space` of a spec with the content of its files of points in place of their names.

    Raises:
        SpecError: Such a file cannot be read.
    """
    if isinstance(tree, list):
        return [embedded(part, folder) for part in tree]
    if not isinstance(tree, dict) or not is_expression(tree):
        return tree
    [(word, content)] = tree.items()
    if word == "points":
        return {"zip": read_points(folder / content, f"space.{word}").build()}
    return tree if word == "zip" else {word: embedded(content, folder)}


def grown(space: Space, earlier: Sequence[Any]) -> Space:
    """The same grid, with the points of earlier forms of it at their old places.

    Args:
        space: The grid now.
        earlier: What the spec's `space` was, first to last, embedded. Each has all points of those before it.
    """
    return dataclasses.replace(space, earlier=tuple(parse_space(tree, Path()).grid() for tree in earlier))


def check_larger(space: Space, before: Param) -> None:
    """Refuse a grid that has not all points of `before`.

    Raises:
        SpecError: It lacks a point, or has other parameters.
    """
    points = space.grid()
    if set(points.names) != set(before.names):
        raise SpecError(
            f"a grid that goes on must keep its parameters, {', '.join(before.names)}; found {', '.join(points.names)}",
            key="space",
        )
    gone = missing(before, points)
    # Counting compares products axis by axis, where iterating would visit every point to find none.
    if gone.count():
        lost = next(gone.iterate())
        raise SpecError(
            f"a grid that goes on must keep all of its points; this one lacks {shown(lost, 200)}", key="space"
        )
