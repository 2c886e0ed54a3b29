"""From records to columns: how the values of one name over many trials become arrays. Pure.

A column has one of four layouts:

- numbers of one shape: an array ``[n, *shape]``;
- strings of one shape: the same, as fixed-length UTF-8 (NumPy's ``S``), because parallel HDF5 cannot write types of
  variable length;
- ragged: the elements of all trials in one array, with the offset and the shape of each trial;
- JSON text: whatever fits nowhere else, such as numbers mixed with strings.

`Form` tells which one fits. Forms can be joined in any order with the same result, so that it does not matter how
trials were spread over segments.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np

from mpiens.errors import StoreError

Layout = Literal["plain", "ragged", "json"]
_TEXT = "S"


class _Missing:
    """Stands for the value that a trial does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Form:
    """What has been seen of the values of one name.

    Attributes:
        dtypes: Types of the numbers, as NumPy's type strings; ``S`` when there were strings.
        shape: The shape of every value; None when there were several, or no value.
        max_ndim: Most dimensions of any value; -1 when there was no value.
        width: Bytes of the longest string, at least 1.
        is_json: A value is neither number nor string nor an array of such, or cannot stand in a fixed-length string.
        has_missing: Some trial has no value.
        strict: Booleans and numbers do not mix, and there are no arrays: the rule for parameters.
    """

    dtypes: frozenset[str] = frozenset()
    shape: tuple[int, ...] | None = None
    max_ndim: int = -1
    width: int = 1
    is_json: bool = False
    has_missing: bool = False
    strict: bool = False

    def __or__(self, other: Form) -> Form:
        """The form of the values of both."""
        if self == other:
            return self
        if self.max_ndim < 0 or other.max_ndim < 0:
            shape = self.shape if other.max_ndim < 0 else other.shape
        else:
            shape = self.shape if self.shape == other.shape else None
        return Form(
            self.dtypes | other.dtypes,
            shape,
            max(self.max_ndim, other.max_ndim),
            max(self.width, other.width),
            self.is_json or other.is_json,
            self.has_missing or other.has_missing,
            self.strict or other.strict,
        )

    @property
    def layout(self) -> Layout:
        """How the values are laid out."""
        mixed = _TEXT in self.dtypes and len(self.dtypes) > 1
        if self.strict:
            mixed = mixed or self.max_ndim > 0 or ("|b1" in self.dtypes and len(self.dtypes) > 1)
        if self.is_json or mixed:
            return "json"
        return "ragged" if self.shape is None and self.max_ndim >= 0 else "plain"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array's elements."""
        if self.layout == "json" or self.dtypes == {_TEXT}:
            return np.dtype((np.bytes_, self.width))
        if not self.dtypes:
            return np.dtype(np.float64)
        common = _common_dtype(self.dtypes)
        if self.has_missing and self.layout == "plain" and common.kind in "biu":
            return np.dtype(np.float64)
        return common

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of a row of a plain column."""
        return (self.shape or ()) if self.layout == "plain" else ()


@functools.lru_cache(maxsize=256)
def _common_dtype(dtypes: frozenset[str]) -> np.dtype[Any]:
    return np.result_type(*(np.dtype(name) for name in sorted(dtypes)))


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


def column(values: Sequence[Any], strict: bool = False) -> Column:
    """The column of these values, one a trial, `MISSING` where a trial has none.

    Args:
        values: Scalars, strings and arrays; anything else is kept as JSON.
        strict: The rules for parameters, see `Form`.
    """
    missing = np.array([row for row, value in enumerate(values) if value is MISSING], dtype=np.int64)
    present = [value for value in values if value is not MISSING] if len(missing) else values
    kinds = set(map(type, present))
    empty = Form(has_missing=len(missing) > 0, strict=strict)
    if kinds <= _SCALARS.keys():
        form = replace(empty, dtypes=frozenset(_SCALARS[kind] for kind in kinds), **_SCALAR_SHAPE) if kinds else empty
        if int in kinds and not (min(present) >= -(2**63) and max(present) < 2**63):
            form = replace(form, is_json=True)
        return _json_column(form, values, missing) if form.layout == "json" else _spread(form, present, missing)
    if kinds == {str}:
        form = replace(empty, dtypes=frozenset([_TEXT]), **_SCALAR_SHAPE)
        if any("\0" in text for text in present):
            return _json_column(replace(form, is_json=True), values, missing)
        texts = [_utf8(text) for text in present]
        return _spread(replace(form, width=_widest(texts)), texts, missing)
    arrays = [_as_array(value) for value in present]
    form = empty
    for seen in {_form_of(array) for array in arrays}:
        form |= seen
    form = replace(form, strict=strict)
    if form.layout == "json":
        return _json_column(form, values, missing)
    if form.layout == "plain":
        return _spread(form, np.stack([array.astype(form.dtype) for array in arrays if array is not None]), missing)
    return _ragged_column(form, [array for array in arrays if array is not None], len(values), missing)


def fixed_column(values: Iterable[Any], dtype: str) -> Column:
    """A column of numbers whose type is given."""
    data = np.array(list(values), dtype=dtype)
    return Column(Form(frozenset([data.dtype.str]), (), 0), data, _no_rows())


def text_column(values: Iterable[str], most_bytes: int) -> Column:
    """A column of strings of which each is cut to `most_bytes`, and ends at the first NUL."""
    texts = [_utf8(text.partition("\0")[0]) for text in values]
    texts = [text if len(text) <= most_bytes else _shortened(text, most_bytes) for text in texts]
    form = Form(frozenset([_TEXT]), (), 0, width=_widest(texts))
    return Column(form, np.array(texts, dtype=form.dtype), _no_rows())


def _spread(form: Form, present: Any, missing: np.ndarray) -> Column:
    """A plain column from the values that are there."""
    packed = np.array(present, dtype=form.dtype).reshape(len(present), *form.item_shape)
    if not len(missing):
        return Column(form, packed, missing)
    count = len(present) + len(missing)
    data = np.full((count, *form.item_shape), fill_value(form.dtype), dtype=form.dtype)
    data[_others(missing, count)] = packed
    return Column(form, data, missing)


def _ragged_column(form: Form, arrays: list[np.ndarray], count: int, missing: np.ndarray) -> Column:
    ndim = max(form.max_ndim, 1)
    rows = _others(missing, count)
    shapes = np.full((count, ndim), -1, dtype=np.int64)
    shapes[missing, 0] = 0
    sizes = np.zeros(count, dtype=np.int64)
    for row, array in zip(rows.tolist(), arrays, strict=True):
        shapes[row, : array.ndim] = array.shape
        sizes[row] = array.size
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    data = np.concatenate([array.reshape(-1).astype(form.dtype) for array in arrays])
    return Column(form, data, missing, offsets, shapes)


def _json_column(form: Form, values: Sequence[Any], missing: np.ndarray) -> Column:
    texts = [b"" if value is MISSING else _json_bytes(value) for value in values]
    form = replace(form, is_json=True, width=max(form.width, _widest(texts)))
    return Column(form, np.array(texts, dtype=form.dtype), missing)


def _others(missing: np.ndarray, count: int) -> np.ndarray:
    """The rows that are not missing."""
    present = np.ones(count, dtype=bool)
    present[missing] = False
    return np.flatnonzero(present)


def convert(source: Column, form: Form) -> Column:
    """The same values in another form, which must be a join of the column's own form with others."""
    if source.form == form:
        return source
    if form.layout == "json":
        if source.form.layout == "json":
            return replace(source, form=form, data=source.data.astype(form.dtype))
        widened = _json_column(form, raw_values(source), source.missing)
        return replace(widened, form=replace(widened.form, has_missing=form.has_missing))
    if form.layout == "plain":
        data = source.data.astype(form.dtype)
        if source.form.max_ndim < 0:  # no value at all: the shape was not known
            data = np.full((len(source), *form.item_shape), fill_value(form.dtype), form.dtype)
        elif len(source.missing):
            data[source.missing] = fill_value(form.dtype)
        return replace(source, form=form, data=data)
    ndim = max(form.max_ndim, 1)
    if source.form.layout == "ragged":
        shapes = padded_shapes(source.shapes, ndim)
        return replace(source, form=form, data=source.data.astype(form.dtype), shapes=shapes)
    return _made_ragged(source, form, ndim)


def padded_shapes(shapes: np.ndarray | None, ndim: int) -> np.ndarray:
    """Shapes of a ragged column, with room for `ndim` dimensions."""
    if shapes is None:
        raise ValueError("not a ragged column")
    return np.pad(shapes, ((0, 0), (0, max(ndim, 1) - shapes.shape[1])), constant_values=-1)


def _made_ragged(source: Column, form: Form, ndim: int) -> Column:
    count = len(source)
    shape = source.form.item_shape
    present = np.ones(count, dtype=bool)
    present[source.missing] = False
    sizes = np.where(present, int(np.prod(shape)), 0)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    shapes = np.full((count, ndim), -1, dtype=np.int64)
    shapes[:, : len(shape)] = shape
    shapes[source.missing] = -1
    shapes[source.missing, 0] = 0
    data = source.data[present].astype(form.dtype) if present.any() else np.zeros(0, form.dtype)
    return Column(form, data.reshape(-1), source.missing, offsets, shapes)


def fill_value(dtype: np.dtype[Any]) -> Any:
    """What stands where a trial has no value."""
    if dtype.kind == "c":
        return complex(np.nan, np.nan)
    if dtype.kind == "f":
        return np.nan
    return b"" if dtype.kind == "S" else dtype.type(0)


def raw_values(source: Column) -> list[Any]:
    """The values of a column, one a trial: plain scalars, strings, arrays; `MISSING` where there is none."""
    if len(source.missing) and source.form.layout == "plain" and source.form.dtypes:
        # Integers became floats to make room for NaN; as themselves they go on.
        common = source.form.dtype if source.form.dtypes == {_TEXT} else _common_dtype(source.form.dtypes)
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


_SCALARS = {bool: "|b1", int: np.dtype(np.int64).str, float: np.dtype(np.float64).str}
_SCALAR_SHAPE: dict[str, Any] = {"shape": (), "max_ndim": 0}


def _no_rows() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)


def _as_array(value: object) -> np.ndarray | None:
    """The value as an array of numbers or of UTF-8; None when it can only be JSON."""
    if isinstance(value, str):
        value = np.array(value)
        if not value.ndim and "\0" in str(value):
            return None
    if not isinstance(value, (bool, int, float, complex, np.ndarray, np.generic)):
        return None
    array = np.asarray(value)
    if array.dtype.kind == "U":
        texts = array.reshape(-1).tolist()
        if any("\0" in text for text in texts):
            return None
        encoded = [_utf8(text) for text in texts]
        width = _widest(encoded)
        return np.array(encoded, dtype=(np.bytes_, width)).reshape(array.shape)
    if array.dtype.kind not in "biufc":
        return None
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _form_of(array: np.ndarray | None) -> Form:
    if array is None:
        return Form(is_json=True)
    is_text = array.dtype.kind == "S"
    dtypes = frozenset([_TEXT if is_text else array.dtype.str])
    return Form(dtypes, array.shape, array.ndim, array.dtype.itemsize if is_text else 1)


def _widest(texts: Sequence[bytes]) -> int:
    return max((len(text) for text in texts), default=1) or 1


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _shortened(text: bytes, most_bytes: int) -> bytes:
    return text[: most_bytes - 3].decode("utf-8", "ignore").encode() + "…".encode()


def _json_bytes(value: object) -> bytes:
    return json.dumps(value, default=_json_special).encode()


def _json_special(value: object) -> object:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, complex):
        return {"real": value.real, "imag": value.imag}
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


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
