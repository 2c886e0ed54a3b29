"""Trials and attempts as columns for pandas."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from mpiens.errors import StoreError
from mpiens.history import FailedAttempt, attempts_in
from mpiens.store.columns import Column, decoded
from mpiens.store.table import NUMBER, PARAMS, STATE, STATES, TRIALS, VALUES, Key

_BEHIND = ("attempt", "group", "seed", "started_s", "elapsed_s", "error")
_TYPES = {
    "attempt": "int64",
    "group": "int64",
    "started_s": "float64",
    "elapsed_s": "float64",
    "error": "object",
    "is_own": "bool",
}


def trial_columns(columns: Mapping[Key, Column]) -> dict[str, np.ndarray]:
    """One value a trial, under the names that Optuna has for them."""
    names = {value: name for name, value in STATES.items()}
    found = {
        "number": columns[NUMBER].data,
        "state": np.array([names.get(value, "") for value in columns[STATE].data.tolist()], dtype=object),
    }
    for prefix, group in (("params_", PARAMS), ("values_", VALUES)):
        for key, column in columns.items():
            if key[0] == group:
                found[prefix + key[1]] = _for_pandas(decoded(column))
    for name in _BEHIND:
        found[name] = _for_pandas(decoded(columns[TRIALS, name]))
    return found


def attempt_columns(numbers: np.ndarray, histories: np.ndarray) -> dict[str, np.ndarray]:
    """One value a failed attempt.

    Args:
        numbers: The trials, int64.
        histories: Their histories as they are stored, or nothing.
    """
    of: list[int] = []
    attempts: list[FailedAttempt] = []
    for place in np.flatnonzero(histories).tolist():
        for attempt in attempts_in(histories[place].decode("utf-8", "replace")):
            of.append(int(numbers[place]))
            attempts.append(attempt)
    found = {"number": np.array(of, dtype=np.int64)}
    for name in FailedAttempt._fields:
        found[name] = np.array([getattr(attempt, name) for attempt in attempts], dtype=_TYPES[name])
    return found


def report_columns(numbers: np.ndarray, reports: Column | None, trial: int | None) -> dict[str, np.ndarray]:
    """One value a report, by trial and step.

    Args:
        numbers: The trials, int64.
        reports: What they reported; None: nothing.
        trial: Of this trial alone.
    """
    parts = [np.zeros((0, 3))]
    for number, data in zip(numbers.tolist(), [] if reports is None else decoded(reports), strict=False):
        if trial is None or trial == number:
            rows = np.reshape(data, (-1, 2))
            rows = rows[~np.isnan(rows[:, 0])]  # of trials that reported nothing
            parts.append(np.column_stack([np.full(len(rows), number), rows]))
    whole = np.concatenate(parts)
    return {"number": whole[:, 0].astype("int64"), "step": whole[:, 1].astype("int64"), "value": whole[:, 2]}


def analysis_library(name: str) -> ModuleType:
    """A library that is only needed to look at results.

    Raises:
        StoreError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StoreError(f"{name} is not installed ({error}); pip install 'mpiens[analysis]'") from error


def _for_pandas(values: np.ndarray | list[Any]) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype.kind != "U":
        return values
    made = np.empty(len(values), dtype=object)
    made[:] = values.tolist() if isinstance(values, np.ndarray) else values
    return made
