"""Immutable files with some of a run's trials, and reading rows from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiens.store.checked import created
from mpiens.store.checksums import completing
from mpiens.store.columns import Column, padded_shapes, take
from mpiens.store.convert import convert
from mpiens.store.extents import finding_rows
from mpiens.store.files import explaining, replacing
from mpiens.store.forms import Form
from mpiens.store.hdf5 import (
    FORMAT,
    keys,
    make_groups,
    node_path,
    opened,
    read_form,
    read_missing,
    read_replaced,
    write_column,
)
from mpiens.store.table import NUMBER, Key, absent_form

_NAME = re.compile(r"(\d+)-(\d+)\.h5")
_SLICE_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class Segment:
    """What is known of a segment, or of a packed results.h5, without reading its data.

    Attributes:
        path: The file.
        numbers: Trial of each row, int64.
        forms: The form of each column.
        replaces: Names of segments whose rows are all in this one.
        rows: Rows that count, int64 ascending: those whose trial is in no earlier segment.
    """

    path: Path
    numbers: np.ndarray
    forms: dict[Key, Form]
    replaces: tuple[str, ...]
    rows: np.ndarray

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size


def segment_name(writer: int, serial: int) -> str:
    """File name of a segment."""
    return f"{writer}-{serial:06d}.h5"


def parse_name(name: str) -> tuple[int, int] | None:
    """Writer and serial number of a segment, or None for another file."""
    match = _NAME.fullmatch(name)
    return (int(match.group(1)), int(match.group(2))) if match else None


def writing_segment(path: Path, columns: Iterable[tuple[Key, Column]]) -> Iterator[None]:
    """Write a segment that appears whole or not at all, step by step.

    Raises:
        StoreError: It cannot be written.
    """
    with replacing(path) as temporary:
        with created(temporary) as file:
            file.attrs["mpiens_format"] = FORMAT
            make_groups(file)
            for key, column in columns:
                write_column(file, key, column)
                yield
            rows = yield from finding_rows(file)
        yield from completing(temporary, rows, path)


def read_segment(path: Path) -> Segment:
    """Look at a segment.

    Raises:
        StoreError: It cannot be read.
    """
    with opened(path) as file, explaining(path, "read"):
        return look_at(path, file)


def look_at(path: Path, file: h5py.File) -> Segment:
    """`read_segment` of a file that is open."""
    numbers = file[node_path(NUMBER)][()]
    forms = {key: read_form(file, key) for key in keys(file)}
    return Segment(path, numbers, forms, read_replaced(file), np.arange(len(numbers)))


def with_rows(file: h5py.File, segment: Segment, rows: np.ndarray) -> Segment:
    """Let only these rows count, int64 ascending; columns that miss no value of theirs need no room for that."""
    forms = {
        key: replace(form, has_missing=bool(np.isin(rows, read_missing(file, key)).any())) if form.has_missing else form
        for key, form in segment.forms.items()
    }
    return replace(segment, rows=rows, forms=forms)


def read_rows(file: h5py.File, segment: Segment, key: Key, rows: np.ndarray) -> Column:
    """Some rows of a column, in the order of `rows`; all missing where the segment does not have the column."""
    form = segment.forms.get(key) or absent_form(key)
    if not form.dtypes and not form.is_json:
        data = np.full(len(rows), np.nan)
        return Column(form, data, np.arange(len(rows)) if form.has_missing else np.zeros(0, dtype=np.int64))
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    node = file[node_path(key)]
    every_missing = read_missing(file, key)
    missing = np.flatnonzero(np.isin(ascending, every_missing))
    if isinstance(node, h5py.Dataset):
        # Whole numbers stand as others where a row has no value; where none of these rows count they are themselves.
        column = Column(form, _read_plain(node, ascending).astype(form.dtype, copy=False), missing)
    else:
        column = _read_ragged(node, form, ascending, missing)
    if np.array_equal(order, np.arange(len(order))):
        return column
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return take(column, inverse)


def read_sizes(file: h5py.File, segment: Segment, key: Key) -> np.ndarray:
    """How many elements every row of a column has, int64; 0 where there is no value."""
    count = len(segment.numbers)
    form = segment.forms.get(key)
    if form is None or form.max_ndim < 0:
        return np.zeros(count, dtype=np.int64)
    node = file[node_path(key)]
    if isinstance(node, h5py.Group):
        sizes: np.ndarray = np.diff(node["offsets"][()])
        return sizes
    sizes = np.full(count, int(np.prod(form.item_shape)), dtype=np.int64)
    sizes[read_missing(file, key)] = 0
    return sizes


def read_shapes(file: h5py.File, segment: Segment, key: Key, form: Form) -> np.ndarray:
    """The shape of every row of a column that `form` lays out as ragged, int64 ``[n, max_ndim]``."""
    own = segment.forms.get(key)
    count = len(segment.numbers)
    if own is not None and own.layout == "ragged":
        return padded_shapes(file[node_path(key)]["shapes"][()], form.max_ndim)
    shapes = np.full((count, max(form.max_ndim, 1)), -1, dtype=np.int64)
    if own is None or own.max_ndim < 0:
        shapes[:, 0] = 0
        return shapes
    shapes[:, : len(own.item_shape)] = own.item_shape
    missing = read_missing(file, key)
    shapes[missing] = -1
    shapes[missing, 0] = 0
    return shapes


def joined_forms(segments: Sequence[Segment]) -> dict[Key, Form]:
    """The forms that fit the columns of all these segments."""
    forms: dict[Key, Form] = {}
    for key in dict.fromkeys(key for segment in segments for key in segment.forms):
        form = None
        for segment in segments:
            if len(segment.rows):
                own = segment.forms.get(key) or absent_form(key)
                form = own if form is None else form | own
        forms[key] = form or segments[0].forms.get(key) or absent_form(key)
    return forms


def converted_rows(file: h5py.File, segment: Segment, key: Key, rows: np.ndarray, form: Form) -> Column:
    """Like `read_rows`, in another form."""
    with explaining(segment.path, f"read {node_path(key)}"):
        column = read_rows(file, segment, key, rows)
    return convert(column, form)


def without_repeats(segments: list[Segment]) -> list[Segment]:
    """Let only the first row of every trial count."""
    if not segments:
        return []
    numbers = np.concatenate([segment.numbers for segment in segments])
    if len(numbers) and numbers.min() >= 0 and numbers.max() < 8 * len(numbers) and np.bincount(numbers).max() == 1:
        return segments  # nearly always, and much faster to see this way
    _values, first = np.unique(numbers, return_index=True)
    if len(first) == len(numbers):
        return segments
    counts = np.zeros(len(numbers), dtype=bool)
    counts[first] = True
    ends = np.cumsum([len(segment.numbers) for segment in segments])
    return [
        replace(segment, rows=np.flatnonzero(counts[end - len(segment.numbers) : end]))
        for segment, end in zip(segments, ends.tolist(), strict=True)
    ]


def runs(rows: np.ndarray) -> list[tuple[int, int]]:
    """Ascending indices as (start, stop) of their consecutive parts."""
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    starts = rows[np.concatenate([[0], breaks])]
    stops = rows[np.concatenate([breaks - 1, [len(rows) - 1]])] + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _read_plain(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    if (last - first) * row_bytes <= _SLICE_BYTES:
        block = _read_between(dataset, rows, rows + 1)
        return block if last - first == len(rows) else block[rows - first]
    return np.concatenate([bare(dataset[start:stop]) for start, stop in runs(rows)])


def _read_ragged(group: h5py.Group, form: Form, rows: np.ndarray, missing: np.ndarray) -> Column:
    first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    offsets = group["offsets"][first : last + 1] if len(rows) else np.zeros(1, dtype=np.int64)
    shapes = group["shapes"][first:last]
    values = group["values"]
    wanted = rows - first
    if (offsets[-1] - offsets[0]) * form.dtype.itemsize <= _SLICE_BYTES:
        # One read of all between is faster than many small ones.
        data = _read_between(values, offsets[wanted], offsets[wanted + 1])
        span = Column(form, data, missing[:0], offsets - offsets[0], shapes)
        return replace(take(span, wanted), missing=missing)
    data = np.concatenate([bare(values[offsets[start] : offsets[stop]]) for start, stop in runs(wanted)])
    ends = np.cumsum(np.diff(offsets)[wanted])
    return Column(form, data, missing, np.concatenate([[0], ends]).astype(np.int64), shapes[wanted])


def _read_between(dataset: h5py.Dataset, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """All from the first of these parts, ascending, to the end of the last.

    Of what is compressed only the chunks that hold some of them, and zeros elsewhere: the others may be damaged.
    """
    first, last = (int(starts[0]), int(stops[-1])) if len(starts) else (0, 0)
    if dataset.chunks is None:
        return bare(dataset[first:last])
    step = dataset.chunks[0]
    data = np.zeros((last - first, *dataset.shape[1:]), np.dtype(dataset.dtype.str))
    filled = stops > starts
    turns = np.zeros(last // step + 2, dtype=np.int64)
    np.add.at(turns, starts[filled] // step, 1)
    np.add.at(turns, (stops[filled] - 1) // step + 1, -1)
    for begin, end in runs(np.flatnonzero(np.cumsum(turns))):
        inside = slice(max(begin * step, first), min(end * step, last))
        data[inside.start - first : inside.stop - first] = bare(dataset[inside])
    return data


def bare(data: np.ndarray) -> np.ndarray:
    """Without the notes that h5py leaves in the type of enumerations and strings."""
    plain: np.dtype[Any] = np.dtype(data.dtype.str)
    return data.view(plain) if data.dtype.metadata else data
