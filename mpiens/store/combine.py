"""Rows of many segments in one file, column by column and block by block, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import h5py
import numpy as np

from mpiens.store.columns import Column, concatenate, take
from mpiens.store.forms import Form
from mpiens.store.hdf5 import create_dataset, node_path, opened, stored_dtype, write_form, write_missing
from mpiens.store.segment import Segment, converted_rows, joined_forms, read_shapes, read_sizes
from mpiens.store.table import Key

BLOCK_BYTES = 2**22
_MOST_BLOCK_ROWS = 2**13


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows a new file gets, in order.

    Attributes:
        segments: Where they come from.
        origin: Index of the segment of each row.
        row: Row in that segment, int64.
    """

    segments: Sequence[Segment]
    origin: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


def in_segment_order(segments: Sequence[Segment]) -> Rows:
    """The rows that count, segment by segment."""
    origin = np.repeat(np.arange(len(segments)), [len(segment.rows) for segment in segments])
    row = np.concatenate([segment.rows for segment in segments]) if segments else np.zeros(0, dtype=np.int64)
    return Rows(segments, origin, row)


def in_trial_order(segments: Sequence[Segment]) -> Rows:
    """The rows that count, by trial number."""
    rows = in_segment_order(segments)
    if not segments:
        return rows
    order = np.argsort(np.concatenate([segment.numbers[segment.rows] for segment in segments]), kind="stable")
    return Rows(segments, rows.origin[order], rows.row[order])


def copying_columns(file: h5py.File, rows: Rows) -> Iterator[None]:
    """Write every column of the segments' joined form to `file`, step by step."""
    with ExitStack() as stack:
        sources = [stack.enter_context(opened(segment.path)) for segment in rows.segments]
        for key, form in joined_forms(rows.segments).items():
            yield from copying_column(file, sources, rows, key, form)


def copying_column(file: h5py.File, sources: Sequence[h5py.File], rows: Rows, key: Key, form: Form) -> Iterator[None]:
    """Write one column to `file`, step by step.

    Args:
        file: Open for writing.
        sources: The segments of `rows`, open for reading.
        rows: Which, and in which order.
        key: The column.
        form: Joined from the forms of all rows.
    """
    if form.layout == "json":
        form = replace(form, is_json=True, width=_json_width(sources, rows, key, form))
    path = node_path(key)
    row_bytes = form.dtype.itemsize * int(np.prod(form.item_shape))
    if form.layout == "ragged":
        sizes = _gathered([read_sizes(f, s, key) for f, s in zip(sources, rows.segments, strict=True)], rows)
        group = file.create_group(path, track_order=True)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        target = create_dataset(file, key, f"{path}/values", form.dtype, (int(offsets[-1]),))
        group.create_dataset("offsets", data=offsets)
        shapes = [read_shapes(f, s, key, form) for f, s in zip(sources, rows.segments, strict=True)]
        group.create_dataset("shapes", data=_gathered(shapes, rows))
        bounds = _blocks(sizes * form.dtype.itemsize + 8)
    else:
        target = create_dataset(file, key, path, form.dtype, (len(rows), *form.item_shape))
        offsets = np.arange(len(rows) + 1)
        bounds = _blocks(np.full(len(rows), max(row_bytes, 1)))
    missing = []
    for start, stop in bounds:
        block = _block(sources, rows, key, form, start, stop)
        if block.data.size:
            target[offsets[start] : offsets[stop]] = block.data.view(stored_dtype(key, form.dtype))
        missing.append(block.missing + start)
        yield
    write_form(file, key, form)
    write_missing(file, key, np.concatenate(missing) if missing else np.zeros(0, dtype=np.int64))


def _block(sources: Sequence[h5py.File], rows: Rows, key: Key, form: Form, start: int, stop: int) -> Column:
    """Rows `start` to `stop` of the new file."""
    origin, row = rows.origin[start:stop], rows.row[start:stop]
    places, parts = [], []
    for index in np.unique(origin).tolist():
        here = np.flatnonzero(origin == index)
        places.append(here)
        parts.append(converted_rows(sources[index], rows.segments[index], key, row[here], form))
    if len(parts) == 1:
        return parts[0]
    inverse = np.empty(stop - start, dtype=np.int64)
    inverse[np.concatenate(places)] = np.arange(stop - start)
    return take(concatenate(parts), inverse)


def _json_width(sources: Sequence[h5py.File], rows: Rows, key: Key, form: Form) -> int:
    """Bytes of the longest JSON text; those of columns that are not JSON yet are only known once they are made."""
    width = 1
    for index, (source, segment) in enumerate(zip(sources, rows.segments, strict=True)):
        own = segment.forms.get(key)
        if own is None or own.layout == "json":
            width = max(width, own.width if own else 1)
            continue
        mine = rows.row[rows.origin == index]
        for start, stop in _blocks(np.full(len(mine), max(own.dtype.itemsize * int(np.prod(own.item_shape)), 1))):
            width = max(width, converted_rows(source, segment, key, mine[start:stop], form).data.dtype.itemsize)
    return width


def _gathered(parts: Sequence[np.ndarray], rows: Rows) -> np.ndarray:
    if not parts:
        return np.zeros(0, dtype=np.int64)
    starts = np.cumsum([0] + [len(part) for part in parts])[:-1]
    gathered: np.ndarray = np.concatenate(parts)[starts[rows.origin] + rows.row]
    return gathered


def _blocks(row_bytes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut rows of these sizes into blocks, each of at least one row."""
    ends = np.cumsum(row_bytes)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + BLOCK_BYTES, side="right"))
        stop = min(max(stop, start + 1), start + _MOST_BLOCK_ROWS)
        yield start, stop
        start = stop
