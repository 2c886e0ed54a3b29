"""One self-contained results.h5 at the end, rows by trial number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from mpiens.errors import StoreError
from mpiens.store.base import RunState
from mpiens.store.combine import Rows, copy_columns, in_segment_order, in_trial_order
from mpiens.store.files import explaining, replacing
from mpiens.store.hdf5 import FORMAT, Facts, created, keys, make_groups, opened, write_column, write_facts
from mpiens.store.segment import Segment
from mpiens.store.table import table


def write_packed(path: Path, facts: Facts, state: RunState, segments: Sequence[Segment]) -> None:
    """Replace results.h5 by one that holds all rows itself. When this returns, the segments are not needed any more.

    Raises:
        StoreError: It cannot be written.
    """
    with replacing(path) as temporary, created(temporary) as file:
        _fill(file, in_trial_order(segments))
        present = set(keys(file))
        for key, column in table([], facts.objectives, facts.parameters).items():
            if key not in present:
                count = len(file["trials/number"]) if "trials/number" in file else 0
                data = np.full(count, np.nan) if count else column.data
                file_column = type(column)(column.form, data, column.missing)
                write_column(file, key, file_column)
        write_facts(file, facts, state)


def write_merged(path: Path, segments: Sequence[Segment]) -> None:
    """Write one segment with the rows of several, and note which it replaces.

    Raises:
        StoreError: It cannot be written.
    """
    with replacing(path) as temporary, created(temporary) as file:
        file.attrs["mpiens_format"] = FORMAT
        _fill(file, in_segment_order(segments))


def is_packed(file: h5py.File) -> bool:
    """True for a results.h5 that needs no segments."""
    return "replaces" in file


def packed_size(run_dir: Path) -> int | None:
    """Trials in the results.h5 of a complete run; None where there is no sound one that needs no segments."""
    try:
        with opened(run_dir / "results.h5") as file, explaining(run_dir, "read"):
            return len(file["trials/number"]) if is_packed(file) and file.attrs["state"] == "complete" else None
    except StoreError:
        return None


def _fill(file: h5py.File, rows: Rows) -> None:
    make_groups(file)
    copy_columns(file, rows)
    names = sorted(segment.path.name.encode() for segment in rows.segments)
    width = max(1, *map(len, names), 1)
    file.create_dataset("replaces", data=np.array(names, dtype=(np.bytes_, width)))
