"""From the values of one name, one a trial, to a column. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mpiens.store.columns import MISSING, Column
from mpiens.store.forms import TEXT, Form, fill_value


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
        return json_column(form, values, missing) if form.layout == "json" else _spread(form, present, missing)
    if kinds == {str}:
        form = replace(empty, dtypes=frozenset([TEXT]), **_SCALAR_SHAPE)
        if any("\0" in text for text in present):
            return json_column(replace(form, is_json=True), values, missing)
        texts = [_utf8(text) for text in present]
        return _spread(replace(form, width=_widest(texts)), texts, missing)
    arrays = [_as_array(value) for value in present]
    form = empty
    for seen in {_form_of(array) for array in arrays}:
        form |= seen
    form = replace(form, strict=strict)
    if form.layout == "json":
        return json_column(form, values, missing)
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
    form = Form(frozenset([TEXT]), (), 0, width=_widest(texts))
    return Column(form, np.array(texts, dtype=form.dtype), _no_rows())


def json_column(form: Form, values: Sequence[Any], missing: np.ndarray) -> Column:
    """A column of JSON text of these values; empty where `MISSING`."""
    texts = [b"" if value is MISSING else _json_bytes(value) for value in values]
    form = replace(form, is_json=True, width=max(form.width, _widest(texts)))
    return Column(form, np.array(texts, dtype=form.dtype), missing)


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


def _others(missing: np.ndarray, count: int) -> np.ndarray:
    """The rows that are not missing."""
    present = np.ones(count, dtype=bool)
    present[missing] = False
    return np.flatnonzero(present)


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
    dtypes = frozenset([TEXT if is_text else array.dtype.str])
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
