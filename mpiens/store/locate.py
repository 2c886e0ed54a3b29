"""Finding results: the file of a run, and the nearest name to one that is not there."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from mpiens.errors import StoreError
from mpiens.store.checksums import MARK
from mpiens.store.files import explaining

RESULTS_NAME = "results.h5"
_HDF5 = b"\x89HDF\r\n\x1a\n"


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
        if not (path / RESULTS_NAME).exists():
            raise StoreError(f"{path}: no {RESULTS_NAME} in this folder; expected the directory of a run")
        return path / RESULTS_NAME
    if path.name != RESULTS_NAME and not _may_hold_results(path):
        raise StoreError(f"{path}: not a file of results; expected a run directory or its {RESULTS_NAME}")
    return path


def _may_hold_results(path: Path) -> bool:
    """False for what cannot be a damaged one either: it neither begins nor ends as a file of results does."""
    with explaining(path, "read"), path.open("rb") as file:
        begins = file.read(len(_HDF5)) == _HDF5
        file.seek(-min(len(MARK), path.stat().st_size), os.SEEK_END)
        return begins or file.read() == MARK
