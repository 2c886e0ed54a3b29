"""Finding results: the file of a run, and the nearest name to one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from mpiens.errors import StoreError


class UnknownResult(StoreError, KeyError):
    """No trial has a result of this name."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown_result(path: Path, name: str, known: Sequence[str]) -> UnknownResult:
    """The error that a file has no such result."""
    near = difflib.get_close_matches(name, known, 3, 0.5) or known[:10]
    return UnknownResult(
        f"{path}: no result {name!r}; " + (f"nearest: {', '.join(near)}" if near else "no trial has a result")
    )


def results_file(path: Path) -> Path:
    """The results.h5 that `path`, a run directory or the file itself, stands for.

    Raises:
        StoreError: There is none.
    """
    if not path.exists():
        near = [str(found) for found in path.parent.glob("*.run")] if path.parent.is_dir() else []
        hint = difflib.get_close_matches(str(path), near, 1, 0.4)
        raise StoreError(
            f"{path}: no such file or folder; expected a run directory or a results.h5"
            + (f"; did you mean {hint[0]}?" if hint else "")
        )
    if path.is_dir():
        if not (path / "results.h5").exists():
            raise StoreError(f"{path}: no results.h5 in this folder; expected the directory of a run")
        path = path / "results.h5"
    return path
