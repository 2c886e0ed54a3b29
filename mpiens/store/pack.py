"""One self-contained results.h5 at the end, rows by trial number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from mpiens.errors import StoreError
from mpiens.store.base import RunState
from mpiens.store.beside import FOLDER, remove_lone, remove_with
from mpiens.store.checked import created, verify
from mpiens.store.checksums import completing
from mpiens.store.combine import Rows, copying_columns, in_segment_order, in_trial_order
from mpiens.store.extents import finding_rows
from mpiens.store.files import explaining, remove_empty, replacing
from mpiens.store.hdf5 import FORMAT, Facts, keys, make_groups, opened, write_column, write_facts, write_replaced
from mpiens.store.segment import Segment, parse_name
from mpiens.store.table import table


def writing_packed(path: Path, facts: Facts, state: RunState, segments: Sequence[Segment]) -> Iterator[None]:
    """Replace results.h5 by one that holds all rows itself, step by step. Then the segments are not needed any more.

    Raises:
        StoreError: It cannot be written, or a segment is damaged.
    """
    with replacing(path) as temporary:
        with created(temporary) as file:
            yield from _filling(file, in_trial_order(segments))
            present = set(keys(file))
            for key, column in table([], facts.objectives, facts.parameters).items():
                if key not in present:
                    count = len(file["trials/number"]) if "trials/number" in file else 0
                    data = np.full(count, np.nan) if count else column.data
                    file_column = type(column)(column.form, data, column.missing)
                    write_column(file, key, file_column)
            write_facts(file, facts, state)
            placed = yield from finding_rows(file)
        yield from completing(temporary, placed, path)


def writing_merged(path: Path, segments: Sequence[Segment]) -> Iterator[None]:
    """Write one segment with the rows of several, and note which it replaces, step by step.

    Raises:
        StoreError: It cannot be written, or a segment is damaged.
    """
    with replacing(path) as temporary:
        with created(temporary) as file:
            file.attrs["mpiens_format"] = FORMAT
            yield from _filling(file, in_segment_order(segments))
            placed = yield from finding_rows(file)
        yield from completing(temporary, placed, path)


def is_packed(file: h5py.File) -> bool:
    """True for a results.h5 that needs no segments."""
    return "replaces" in file


def packed_size(run_dir: Path) -> int | None:
    """Trials in the results.h5 of a complete run; None where there is no sound one that needs no segments.

    All of it is checked.
    """
    try:
        verify(run_dir / "results.h5")
        with opened(run_dir / "results.h5") as file, explaining(run_dir, "read"):
            return len(file["trials/number"]) if is_packed(file) and file.attrs["state"] == "complete" else None
    except StoreError:
        return None


def remove_packed(run_dir: Path) -> None:
    """Delete segments that were left when results.h5 had all rows: for a reader, or by a kill.

    Args:
        run_dir: The directory of a complete run, of which `packed_size` has told that it is sound.

    Raises:
        StoreError: They cannot be deleted.
    """
    folder = run_dir / "segments"
    if not folder.is_dir():
        return
    with explaining(folder, "delete what results.h5 has replaced"):
        remove_with([path for path in folder.iterdir() if parse_name(path.name)])
        remove_lone(run_dir)
        remove_empty(folder)
        remove_empty(run_dir / FOLDER)


def _filling(file: h5py.File, rows: Rows) -> Iterator[None]:
    make_groups(file)
    yield from copying_columns(file, rows)
    write_replaced(file, (segment.path.name for segment in rows.segments))
