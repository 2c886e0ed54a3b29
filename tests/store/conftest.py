"""Records and stores for the tests of mpiens.store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpiens.record import TrialRecord, encode
from mpiens.store import FileStore
from mpiens.trial import TrialState

StoreMaker = Callable[..., FileStore]
RecordMaker = Callable[..., TrialRecord]


def make_record(number: int, attempt: int = 1, **changes: Any) -> TrialRecord:
    """A record whose every field follows from its number; every fifth trial has failed."""
    fields: dict[str, Any] = {
        "number": number,
        "state": TrialState.COMPLETE if number % 5 else TrialState.FAIL,
        "attempt": attempt,
        "group": number % 3,
        "seed": 2**32 - 1 - number,
        "started_s": 1.7e9 + number,
        "elapsed_s": 0.5,
        "error": "" if number % 5 else f"ValueError: Übel {number}",
        "params": {"x": number * 0.5, "nmda.PYR->BC": number, "kind": "ab"[number % 2]},
        "values": {"loss": float((number - 7) ** 2)} if number % 5 else {},
        "results": {
            "count": number,
            "trace": np.arange(3, dtype=np.float32) * number,
            "spikes": np.arange(number % 4) + number,
            "label": f"t{number}é",
            "mixed": number if number % 2 else "even",
        }
        if number % 5
        else {},
        # Of the first ones none: a segment may lack the column.
        "reports": tuple((step, number / (1 + step)) for step in range(number % 4)) if number > 5 else (),
    }
    return TrialRecord(**(fields | changes))


@pytest.fixture
def record() -> RecordMaker:
    """Makes records."""
    return make_record


@pytest.fixture
def packed() -> Callable[..., bytes]:
    """Makes packed records."""
    return lambda number, attempt=1, **changes: encode(make_record(number, attempt, **changes))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Where the store of a test is."""
    return tmp_path / "a.run"


@pytest.fixture
def open_store(run_dir: Path) -> StoreMaker:
    """Opens the store of a test, again and again if need be."""

    def opener(**changes: Any) -> FileStore:
        fields: dict[str, Any] = {
            "name": "a",
            "spec_text": "name: a  # é\n",
            "provenance": {"mpiens": "0.1", "ranks": 4, "pi": 3.5},
            "objectives": {"loss": "minimize"},
            "parameters": ["x", "nmda.PYR->BC", "kind"],
        }
        return FileStore(run_dir, **(fields | changes))

    return opener
