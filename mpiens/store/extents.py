"""Where the rows of columns stand in an HDF5 file, and which of them a damage hits."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import NamedTuple

import h5py
import numpy as np

from mpiens.store.checksums import Ranges
from mpiens.store.hdf5 import keys, node_path
from mpiens.store.table import HISTORY, STATE, TRIALS, Key

KEPT_TWICE = (STATE, (TRIALS, "error"), HISTORY)
"""Columns that are copied with the structure: a damaged byte of theirs would cost hundreds of rows."""


class Extent(NamedTuple):
    """A part of a dataset that stands in one piece.

    Attributes:
        start: Its first byte in the file.
        stop: The one behind the last.
        first: Its first row.
        last: The one behind its last row.
        is_packed: Its rows are compressed together.
    """

    start: int
    stop: int
    first: int
    last: int
    is_packed: bool = False


def finding_rows(file: h5py.File) -> Generator[None, None, Ranges]:
    """Where the rows of columns stand that are not kept twice; the value of ``yield from`` is `Ranges`."""
    found: list[tuple[int, int]] = []
    for key in (key for key in keys(file) if key not in KEPT_TWICE):
        for dataset in datasets(file, key).values():
            found += [(extent.start, extent.stop) for extent in extents(dataset)]
        yield
    return _joined(found)


def row_ranges(file: h5py.File) -> Ranges:
    """`finding_rows` in one go."""
    steps = finding_rows(file)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Ranges = end.value
            return found


def datasets(file: h5py.File, key: Key) -> dict[str, h5py.Dataset]:
    """The datasets that hold a column: ``""``, or ``values``, ``offsets`` and ``shapes`` of a ragged one."""
    node = file[node_path(key)]
    return dict(node.items()) if isinstance(node, h5py.Group) else {"": node}


def extents(dataset: h5py.Dataset) -> list[Extent]:
    """Where a dataset stands; nothing when it has no bytes of its own."""
    if not dataset.size or dataset.is_virtual:
        return []
    count = len(dataset)
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        return [] if start is None else [Extent(start, start + dataset.id.get_storage_size(), 0, count)]
    found = []
    step, others = dataset.chunks[0], (0,) * (dataset.ndim - 1)
    for first in range(0, count, step):  # a chunk has whole rows
        info = dataset.id.get_chunk_info_by_coord((first, *others))
        if info.byte_offset is not None:
            stop = info.byte_offset + info.size
            found.append(Extent(info.byte_offset, stop, first, min(first + step, count), is_packed=True))
    return found


def hit_rows(file: h5py.File, key: Key, damaged: Ranges) -> np.ndarray:
    """Which rows of a column that is not kept twice have a byte in these parts of the file, bool ``[n]``.

    Args:
        file: Open so that what is damaged can be read, as something else.
        key: The column.
        damaged: The parts.
    """
    parts = datasets(file, key)
    hits = {name: _hit_elements(dataset, damaged) for name, dataset in parts.items() if name != "values"}
    if "" in hits:
        return hits[""]
    bounds = hits["offsets"]
    hit: np.ndarray = bounds[:-1] | bounds[1:] | hits["shapes"]
    offsets = parts["offsets"][()]
    values = parts["values"]
    for extent in extents(values):
        if extent.is_packed:
            first, last = np.array([extent.first]), np.array([extent.last])
            if _touch(np.array([extent.start]), np.array([extent.stop]), damaged)[0]:
                hit |= (offsets[:-1] < last) & (offsets[1:] > first)
        else:
            width = values.dtype.itemsize
            hit |= _touch(extent.start + offsets[:-1] * width, extent.start + offsets[1:] * width, damaged)
    return hit


def _hit_elements(dataset: h5py.Dataset, damaged: Ranges) -> np.ndarray:
    """Which elements along the first axis have a byte in `damaged`."""
    hit = np.zeros(len(dataset), dtype=bool)
    for start, stop, first, last, is_packed in extents(dataset):
        if is_packed:
            hit[first:last] = _touch(np.array([start]), np.array([stop]), damaged)[0]
        else:
            bounds = start + np.arange(last - first + 1) * ((stop - start) // (last - first))
            hit[first:last] = _touch(bounds[:-1], bounds[1:], damaged)
    return hit


def _touch(starts: np.ndarray, stops: np.ndarray, damaged: Ranges) -> np.ndarray:
    """Which of these parts of the file, first bytes and those behind the last, overlap one of `damaged`."""
    if not len(damaged):
        return np.zeros(len(starts), dtype=bool)
    # The first damaged part that ends behind the beginning is the only one that must be looked at.
    place = np.searchsorted(damaged[:, 1], starts, side="right")
    begins = np.append(damaged[:, 0], np.iinfo(np.int64).max)[place]
    touched: np.ndarray = (begins < stops) & (starts < stops)
    return touched


def _joined(parts: Iterable[tuple[int, int]]) -> Ranges:
    joined: list[list[int]] = []
    for start, stop in sorted(parts):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], stop)
        else:
            joined.append([start, stop])
    return np.array(joined, dtype=np.int64).reshape(-1, 2)
