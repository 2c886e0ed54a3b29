"""Columns: every value comes back, however trials are spread over pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mpiens.store.columns import MISSING, Column, concatenate, decoded, raw_values, take
from mpiens.store.convert import convert
from mpiens.store.encode import column, text_column
from mpiens.store.forms import Form

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), TEXT, st.integers(2**63, 2**64), st.none()
)
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
VALUES = st.one_of(SCALARS, ARRAYS, st.lists(st.integers(0, 3), max_size=2), st.just(MISSING))


def same(found: Any, expected: Any) -> None:
    if expected is MISSING:
        assert found is MISSING
    elif isinstance(expected, (list, dict, type(None))):
        assert found == expected
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: st.lists(hnp.arrays(dtype, SHAPES), min_size=1, max_size=5)))
def test_arrays_of_one_type_come_back_exactly(values: list[np.ndarray]) -> None:
    made = column(values)
    found = decoded(made)
    same_shape = len({value.shape for value in values}) == 1
    assert made.form.layout == ("plain" if same_shape else "ragged")
    assert made.data.dtype == values[0].dtype
    for one, value in zip(found, values, strict=True):
        assert np.shape(one) == value.shape
        np.testing.assert_array_equal(one, value)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "i8"),
        ([1, 2.5], "f8"),
        ([True, False], "?"),
        ([True, 2], "i8"),
        ([1, MISSING], "f8"),
        ([True, MISSING], "f8"),
        ([np.int8(3), MISSING], "f8"),
        ([np.float32(3), MISSING], "f4"),
        ([1j, MISSING], "c16"),
        ([np.int8([1]), np.uint8([2])], "i2"),
        ([], "f8"),
        ([MISSING], "f8"),
        (["a", "é"], "S2"),
        (["", MISSING], "S1"),
    ],
)
def test_types_of_results(values: list[Any], dtype: str) -> None:
    made = column(values)
    assert (made.form.layout, made.data.dtype) == ("plain", np.dtype(dtype))
    assert made.form.dtype == made.data.dtype
    assert len(made) == len(values)


@pytest.mark.parametrize(
    ("values", "layout", "dtype"),
    [
        ([1, 2], "plain", "i8"),
        ([1, 2.0], "plain", "f8"),
        ([True, True], "plain", "?"),
        (["a", "bc"], "plain", "S2"),
        ([True, 1], "json", None),
        ([1, "a"], "json", None),
        ([[1, 2], [3]], "json", None),
        ([{"a": 1}, {"a": 2}], "json", None),
        ([2**70, 1], "json", None),
        ([None, 1], "json", None),
        ([float("nan"), 1.0, MISSING], "plain", "f8"),
    ],
)
def test_types_of_parameters(values: list[Any], layout: str, dtype: str | None) -> None:
    made = column(values, strict=True)
    assert made.form.layout == layout
    assert dtype is None or made.data.dtype == np.dtype(dtype)
    for found, value in zip(raw_values(made), values, strict=True):
        same(found, value)
        if layout == "json":
            assert type(found) is type(value)


def test_missing_values_have_a_fill_value() -> None:
    assert np.isnan(column([1, MISSING]).data[1])
    assert np.isnan(column([MISSING, 1j]).data[0].imag)
    assert decoded(column([MISSING, "a"])).tolist() == ["", "a"]
    spread = column([MISSING, np.ones((2, 2))])
    assert np.isnan(spread.data[0]).all()
    ragged = decoded(column([np.arange(2), MISSING, np.arange(3)]))
    assert [len(value) for value in ragged] == [2, 0, 3]
    assert ragged[0].dtype == np.int64


def test_scalars_mixed_with_arrays_are_ragged() -> None:
    found = decoded(column([1, np.arange(2), 2.5]))
    assert [np.shape(value) for value in found] == [(), (2,), ()]
    assert found[2] == 2.5


def test_strings_that_fixed_length_cannot_hold_are_json() -> None:
    values = ["a\0b", "c\0", "plain", MISSING]
    made = column(values)
    assert made.form.layout == "json"
    assert raw_values(made) == values
    assert column([np.array(["a\0b"])]).form.layout == "json"


def test_arrays_of_strings() -> None:
    values = [np.array([["a", "éé"]]), np.array([["ccc", ""]])]
    made = column(values)
    assert made.data.dtype == np.dtype("S4")
    np.testing.assert_array_equal(decoded(made), np.array(values))
    ragged = decoded(column([np.array(["a"]), np.array([], dtype="U1"), np.array("z")]))
    assert [value.tolist() for value in ragged] == [["a"], [], "z"]


def test_long_texts_are_cut_at_a_character() -> None:
    made = text_column(["é" * 100, "short", "end\0gone"], 21)
    assert decoded(made).tolist() == ["é" * 9 + "…", "short", "end"]
    assert made.data.dtype.itemsize <= 21


@given(st.lists(VALUES, max_size=7), st.booleans())
def test_every_value_comes_back_unless_types_are_promoted(values: list[Any], strict: bool) -> None:
    made = column(values, strict)
    assert len(made) == len(values)
    assert made.data.dtype == made.form.dtype
    for found, value in zip(raw_values(made), values, strict=True):
        if value is MISSING or isinstance(value, (str, list, type(None))):
            same(found, value)
        elif made.form.layout != "json":
            expected = np.asarray(value)
            with np.errstate(all="ignore"):
                promoted = expected.astype(made.form.dtype)
            if made.form.layout == "plain" and made.form.has_missing and expected.dtype.kind in "iu":
                np.testing.assert_array_equal(np.asarray(found).astype(made.form.dtype), promoted)
            else:
                np.testing.assert_array_equal(np.asarray(found).astype(made.form.dtype), promoted)
            assert np.shape(found) == np.shape(value)


def assert_equal(one: Column, other: Column) -> None:
    assert one.form == other.form
    np.testing.assert_array_equal(one.missing, other.missing)
    np.testing.assert_array_equal(one.data, other.data)
    assert one.data.dtype == other.data.dtype
    if one.offsets is not None:
        np.testing.assert_array_equal(one.offsets, other.offsets)
        np.testing.assert_array_equal(one.shapes, other.shapes)


NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(width=32),
    st.just(MISSING),
    ARRAYS,
    st.just(np.zeros((2, 0))),
)


@given(st.one_of(st.lists(NUMBERS, max_size=8), st.lists(TEXT | st.just(MISSING), max_size=8)), st.data())
def test_it_does_not_matter_how_trials_are_spread_over_pieces(values: list[Any], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    parts = [column(values[:cut]), column(values[cut:])]
    form = parts[0].form | parts[1].form
    whole = column(values)
    assert form == parts[1].form | parts[0].form
    if form.layout == "json":
        # How wide the text of JSON gets is known only once it is made.
        assert replace(form, width=1) == replace(whole.form, width=1)
        joined = [value for part in parts for value in raw_values(convert(part, form))]
        for found, value in zip(joined, raw_values(whole), strict=True):
            same(found, value)
        return
    assert form == whole.form
    with np.errstate(all="ignore"):
        assert_equal(concatenate([convert(part, form) for part in parts]), whole)


def test_a_text_that_only_json_can_hold_widens_the_others() -> None:
    parts = [column(["\x00"]), column(["0\x1f"])]
    form = parts[0].form | parts[1].form
    assert [raw_values(convert(part, form)) for part in parts] == [["\x00"], ["0\x1f"]]


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.data())
def test_rows_can_be_taken_in_any_order(values: list[Any], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=6))
    made = column(values)
    found = raw_values(take(made, np.array(rows, dtype=np.int64)))
    every = raw_values(made)
    for one, row in zip(found, rows, strict=True):
        same(one, every[row])


@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_mixed_values_are_kept_as_json(first: list[Any], second: list[Any]) -> None:
    parts = [column(first), column(second)]
    form = parts[0].form | parts[1].form
    if form.layout != "json":
        return
    joined = [value for part in parts for value in raw_values(convert(part, form))]
    for found, value in zip(joined, [*first, *second], strict=True):
        if isinstance(value, (str, list, type(None))) or value is MISSING:
            same(found, value)


def test_joining_forms_is_independent_of_the_order() -> None:
    forms = [column([value]).form for value in (np.int8([1]), np.uint8([1, 2]), np.float16(3.0), MISSING)]
    joined = {(a | b) | c | d for a, b, c, d in [forms, forms[::-1]]}
    assert len(joined) == 1
    assert Form() | forms[0] == forms[0]
