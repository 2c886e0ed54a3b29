"""results.h5 while the run goes on: small, with virtual datasets that show the segments' rows in one piece.

It is written anew and replaced atomically, never changed in place, so that any program can open it at any moment. Where
segments agree too little for a virtual dataset the values are copied. Names of segments are relative: a run directory
can be moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from mpiens.store.base import RunState
from mpiens.store.checked import created
from mpiens.store.checksums import completing
from mpiens.store.combine import copying_column, in_segment_order
from mpiens.store.files import replacing
from mpiens.store.forms import Form, fill_value
from mpiens.store.hdf5 import (
    Facts,
    create_dataset,
    make_groups,
    node_path,
    opened,
    read_missing,
    stored_dtype,
    write_column,
    write_facts,
    write_form,
)
from mpiens.store.segment import Segment, joined_forms, read_shapes, read_sizes, runs
from mpiens.store.table import NUMBER, STATE, Key, table

_MOST_PIECES = 1000


class Piece(NamedTuple):
    """A part of a segment's dataset, and where it stands in the virtual one.

    Attributes:
        segment: Index of the segment.
        extent: Shape of the segment's dataset.
        start: First row of the part, or first element where the segment is ragged.
        stop: Behind the last.
        length: Rows it takes in the virtual dataset, or elements where that is ragged.
        place: Where it begins there.
    """

    segment: int
    extent: tuple[int, ...]
    start: int
    stop: int
    length: int
    place: int


def writing_master(path: Path, facts: Facts, state: RunState, segments: Sequence[Segment]) -> Iterator[None]:
    """Replace results.h5 by one that shows these segments, step by step.

    Raises:
        StoreError: It cannot be written, or a segment is damaged.
    """
    filled = [segment for segment in segments if len(segment.rows)]
    with replacing(path) as temporary:
        with created(temporary) as file:
            make_groups(file)
            declared = table([], facts.objectives, facts.parameters)
            with ExitStack() as stack:
                sources = []
                for segment in filled:
                    sources.append(stack.enter_context(opened(segment.path)))
                    yield
                forms = joined_forms(filled)
                for key, column in declared.items():
                    if key not in forms:
                        forms[key] = column.form if not filled else Form(has_missing=True)
                for key, form in forms.items():
                    if not filled:
                        write_column(file, key, declared[key])
                    elif not _write_virtual(file, path.parent, sources, filled, key, form):
                        yield from copying_column(file, sources, in_segment_order(filled), key, form)
                    yield
            if "missing" in file:
                del file["missing"]
            write_facts(file, facts, state)
        yield from completing(temporary)


def _write_virtual(
    file: h5py.File, root: Path, sources: Sequence[h5py.File], segments: Sequence[Segment], key: Key, form: Form
) -> bool:
    """Write a column as a virtual dataset; False when HDF5 could not convert on reading."""
    if not all(_converts(segment.forms.get(key), form) for segment in segments):
        return False
    is_ragged = form.layout == "ragged"
    pieces = _pieces(sources, segments, key, skip_missing=is_ragged)
    if not pieces or len(pieces) > _MOST_PIECES:
        return False
    path = node_path(key)
    if not is_ragged:
        shape = (sum(len(segment.rows) for segment in segments), *form.item_shape)
        _virtual_dataset(file, path, root, segments, pieces, key, form, shape)
        write_form(file, key, form)
        return True
    picked = list(zip(sources, segments, strict=True))
    sizes = np.concatenate([read_sizes(source, segment, key)[segment.rows] for source, segment in picked])
    shapes = np.concatenate([read_shapes(source, segment, key, form)[segment.rows] for source, segment in picked])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    group = file.create_group(path, track_order=True)
    _virtual_dataset(file, f"{path}/values", root, segments, pieces, key, form, (int(offsets[-1]),))
    group.create_dataset("offsets", data=offsets)
    group.create_dataset("shapes", data=shapes)
    write_form(file, key, form)
    return True


def _virtual_dataset(
    file: h5py.File,
    path: str,
    root: Path,
    segments: Sequence[Segment],
    pieces: Sequence[Piece],
    key: Key,
    form: Form,
    shape: tuple[int, ...],
) -> None:
    if 0 in shape:  # nothing to show, and HDF5 has no virtual datasets without elements
        create_dataset(file, key, path, form.dtype, shape)
        return
    layout = h5py.VirtualLayout(shape, stored_dtype(key, form.dtype))
    for index, extent, start, stop, length, place in pieces:
        segment = segments[index]
        own = segment.forms[key]
        inner = node_path(key) + ("/values" if own.layout == "ragged" else "")
        # HDF5 reads %b in these names as a block number, and %% as a percent sign.
        name = segment.path.relative_to(root).as_posix().replace("%", "%%")
        source = h5py.VirtualSource(name, inner.replace("%", "%%"), shape=extent, dtype=own.dtype)
        # A slice costs h5py a deep copy, so that the usual case, a whole segment, goes without.
        layout[place : place + length] = source if (start, stop) == (0, extent[0]) else source[start:stop]
    file.create_virtual_dataset(path, layout, fillvalue=_gone_value(key, form.dtype))


def _gone_value(key: Key, dtype: np.dtype[Any]) -> Any:
    """What HDF5 shows where a segment is gone: whoever has this file open after the run's end, or copies it alone.

    Not to be taken for data, where the type has room for that.
    """
    if key == STATE:
        return None  # 0 is no state
    if key == NUMBER:
        return -1
    if dtype.kind == "i":
        return np.iinfo(dtype).min
    if dtype.kind == "u":
        return np.iinfo(dtype).max
    return fill_value(dtype) if dtype.kind in "fc" else None


def _pieces(sources: Sequence[h5py.File], segments: Sequence[Segment], key: Key, skip_missing: bool) -> list[Piece]:
    """What of the segments is shown, in order.

    Args:
        sources: The segments, open.
        segments: What is known of them.
        key: The column.
        skip_missing: Leave out rows without a value, and count elements rather than rows.
    """
    found: list[Piece] = []
    place = 0
    for index, (source, segment) in enumerate(zip(sources, segments, strict=True)):
        own = segment.forms.get(key)
        if own is None or not (own.dtypes or own.is_json):
            place += 0 if skip_missing else len(segment.rows)
            continue
        extent: tuple[int, ...] = (len(segment.numbers), *own.item_shape)
        if not skip_missing:
            parts = [(start, stop, stop - start) for start, stop in runs(segment.rows)]
        elif own.layout == "ragged":
            offsets = np.concatenate([[0], np.cumsum(read_sizes(source, segment, key))]).tolist()
            extent = (offsets[-1],)
            parts = [(offsets[a], offsets[b], offsets[b] - offsets[a]) for a, b in runs(segment.rows)]
        else:
            present = np.setdiff1d(segment.rows, read_missing(source, key))
            size = int(np.prod(own.item_shape))
            parts = [(start, stop, (stop - start) * size) for start, stop in runs(present)]
        for start, stop, length in parts:
            if length:
                found.append(Piece(index, extent, start, stop, length, place))
            place += length
    return found


def _converts(own: Form | None, form: Form) -> bool:
    """True when HDF5 turns values of the one form into the other on reading."""
    if own is None or not (own.dtypes or own.is_json):
        return form.layout != "json" or own is None
    if (own.layout == "json") != (form.layout == "json"):
        return False
    return own.dtype.kind == form.dtype.kind or (own.dtype.kind in "biuf" and form.dtype.kind in "iuf")
