"""Columns in other forms, so that those of several segments become one. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpiens.store.columns import Column, padded_shapes, raw_values
from mpiens.store.encode import json_column
from mpiens.store.forms import Form, fill_value


def convert(source: Column, form: Form) -> Column:
    """The same values in another form, which must be a join of the column's own form with others."""
    if source.form == form:
        return source
    if form.layout == "json":
        if source.form.layout == "json":
            return replace(source, form=form, data=source.data.astype(form.dtype))
        widened = json_column(form, raw_values(source), source.missing)
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
