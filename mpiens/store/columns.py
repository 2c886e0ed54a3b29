"""The values of one name over many trials as arrays, laid out as their form tells. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from mpiens.errors import StoreError
from mpiens.store.forms import TEXT, Form, common_dtype


class _Missing:
    """Stands for the value that a trial does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one name for n trials, in the layout that `form` tells.

    Attributes:
        form: Fits `data`.
        data: ``[n, *shape]``; for a ragged column the elements of all trials, ``[total]``.
        missing: Indices of the trials without a value, int64, ascending.
        offsets: Ragged only: where each trial's elements begin in `data`, int64 ``[n + 1]``.
        shapes: Ragged only: the shape of each trial's value, int64 ``[n, max_ndim]``, padded with -1.
    """

    form: Form
    data: np.ndarray
    missing: np.ndarray
    offsets: np.ndarray | None = None
    shapes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.data) if self.offsets is None else len(self.offsets) - 1


def take(source: Column, rows: np.ndarray) -> Column:
    """The rows of `source` at these indices, in this order."""
    is_missing = np.zeros(len(source), dtype=bool)
    is_missing[source.missing] = True
    missing = np.flatnonzero(is_missing[rows])
    if source.offsets is None or source.shapes is None:
        return replace(source, data=source.data[rows], missing=missing)
    sizes = np.diff(source.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Where each element of the result comes from: the start of its row, plus its place in the row.
    elements = np.repeat(source.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
    return Column(source.form, source.data[elements], missing, offsets, source.shapes[rows])


def concatenate(parts: Sequence[Column]) -> Column:
    """Columns of one form, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0] + [len(part) for part in parts])
    missing = np.concatenate([part.missing + start for part, start in zip(parts, starts[:-1], strict=True)])
    data = np.concatenate([part.data for part in parts])
    if parts[0].offsets is None:
        return Column(parts[0].form, data, missing)
    sizes = np.concatenate([np.diff(part.offsets) for part in parts if part.offsets is not None])
    shapes = np.concatenate([part.shapes for part in parts if part.shapes is not None])
    return Column(parts[0].form, data, missing, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), shapes)


def padded_shapes(shapes: np.ndarray | None, ndim: int) -> np.ndarray:
    """Shapes of a ragged column, with room for `ndim` dimensions."""
    if shapes is None:
        raise ValueError("not a ragged column")
    return np.pad(shapes, ((0, 0), (0, max(ndim, 1) - shapes.shape[1])), constant_values=-1)


def raw_values(source: Column) -> list[Any]:
    """The values of a column, one a trial: plain scalars, strings, arrays; `MISSING` where there is none."""
    if len(source.missing) and source.form.layout == "plain" and source.form.dtypes:
        # Integers became floats to make room for NaN; as themselves they go on.
        common = source.form.dtype if source.form.dtypes == {TEXT} else common_dtype(source.form.dtypes)
        data = source.data.copy()
        data[source.missing] = common.type(0) if common.kind != "S" else b""
        source = replace(source, data=data.astype(common))
    values = decoded(source)
    rows = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else list(values)
    for row in source.missing.tolist():
        rows[row] = MISSING
    return rows


def decoded(source: Column) -> np.ndarray | list[Any]:
    """The values as people want them: an array ``[n, *shape]``, or a list where ragged or JSON (None if missing).

    Raises:
        StoreError: They are not what mpiens writes.
    """
    if source.form.layout == "json":
        try:
            return [json.loads(text) if text else None for text in source.data.tolist()]
        except ValueError as error:
            raise StoreError(f"a column that should hold JSON does not: {error}") from error
    data = decode_text(source.data) if source.data.dtype.kind == "S" else source.data
    if source.offsets is None or source.shapes is None:
        return data
    return [
        data[start:stop].reshape([size for size in shape if size >= 0])
        for (start, stop), shape in zip(pairwise(source.offsets.tolist()), source.shapes.tolist(), strict=True)
    ]


def decode_text(data: np.ndarray) -> np.ndarray:
    """Fixed-length UTF-8 as NumPy strings.

    Raises:
        StoreError: It is no UTF-8.
    """
    try:
        texts = [text.decode("utf-8", "surrogatepass") for text in data.reshape(-1).tolist()]
    except UnicodeDecodeError as error:
        raise StoreError(f"a column that should hold UTF-8 text does not: {error}") from error
    width = max((len(text) for text in texts), default=1)
    return np.array(texts, dtype=f"<U{max(width, 1)}").reshape(data.shape)
