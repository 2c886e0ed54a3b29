"""The algebra against an oracle that lists every point."""

from __future__ import annotations

import itertools
import math
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiens.errors import UsageError
from mpiens.space import AmbiguousOperationError, Param, UnequalLengthsError, missing

Rows = list[dict[str, Any]]

values = st.one_of(st.integers(0, 2), st.sampled_from([0.5, 1.0, float("nan")]), st.sampled_from(["x", "y"]))


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)


def same_rows(left: Rows, right: Rows) -> bool:
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(same(a[name], b[name]) for name in a) for a, b in zip(left, right, strict=True)
    )


@st.composite
def columns(draw: st.DrawFn) -> tuple[Param, Rows]:
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=3))
    length = draw(st.integers(0, 3))
    content = {name: draw(st.lists(values, min_size=length, max_size=length)) for name in names}
    rows = [{name: content[name][index] for name in names} for index in range(length)] if names else []
    return Param(content), rows


def names_of(space: Param) -> set[str]:
    return set(space.names)


def oracle(operation: str, left: tuple[Param, Rows], right: tuple[Param, Rows]) -> Rows | None:
    """The rows that the operation must give; None where it is ambiguous."""
    (a, rows_a), (b, rows_b) = left, right
    if operation == "*":
        if names_of(a) & names_of(b):
            return None
        if not a.names or not b.names:
            return rows_a if a.names else rows_b
        return [one | other for one, other in itertools.product(rows_a, rows_b)]
    if operation == "+":
        names = list(dict.fromkeys(a.names + b.names))
        return [{name: row.get(name, float("nan")) for name in names} for row in rows_a + rows_b]
    if operation == "-":
        if names_of(b) - names_of(a):
            return None
        compared = b.names
    else:
        if rows_b and names_of(a) - names_of(b):
            return None
        compared = a.names
    if not rows_b:
        return rows_a
    return [row for row in rows_a if not any(all(same(row[n], other[n]) for n in compared) for other in rows_b)]


def apply(operation: str, a: Param, b: Param) -> Param:
    if operation == "*":
        return a * b
    if operation == "+":
        return a + b
    return a - b if operation == "-" else missing(a, b)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> tuple[Param, Rows]:
    if depth == 0 or draw(st.booleans()):
        return draw(columns())
    left, right = draw(trees(depth - 1)), draw(trees(depth - 1))
    operation = draw(st.sampled_from(["*", "+", "-", "missing"]))
    rows = oracle(operation, left, right)
    if rows is None:
        with pytest.raises(AmbiguousOperationError):
            apply(operation, left[0], right[0])
        return left
    return apply(operation, left[0], right[0]), rows


@settings(max_examples=400, deadline=None)
@given(trees(), st.integers(0, 6))
def test_against_the_oracle(tree: tuple[Param, Rows], start: int) -> None:
    space, rows = tree
    assert same_rows(list(space.iterate()), rows)
    assert len(space) == space.count() == len(rows)
    assert bool(space) == bool(rows)
    assert same_rows(list(space.iterate(start)), rows[start:])
    built = space.build()
    assert list(built) == list(space.names) == space.keys()
    for name, column in built.items():
        assert all(same(found, row[name]) for found, row in zip(column, rows, strict=True))


@settings(max_examples=200, deadline=None)
@given(trees(), trees())
def test_missing_and_present_share_out_the_points(left: tuple[Param, Rows], right: tuple[Param, Rows]) -> None:
    if not left[0].names or names_of(left[0]) - names_of(right[0]):
        return
    rest = missing(left[0], right[0])
    assert not missing(rest, left[0])
    assert same_rows(list(missing(left[0], rest).iterate()), [r for r in left[1] if not _among(r, list(rest))])


def _among(row: dict[str, Any], rows: Rows) -> bool:
    return any(all(same(row[name], other[name]) for name in row) for other in rows)


def test_last_parameter_is_fastest() -> None:
    assert (Param(a=[1, 2]) * Param(b=[3, 4])).build() == {"a": [1, 1, 2, 2], "b": [3, 4, 3, 4]}


def test_scalars_and_strings_are_repeated() -> None:
    assert Param(a=[1, 2], b=0, c="text", d=None).build() == {
        "a": [1, 2],
        "b": [0, 0],
        "c": ["text", "text"],
        "d": [None, None],
    }
    assert Param(a=1, b="x").build() == {"a": [1], "b": ["x"]}


def test_names_that_are_no_identifiers() -> None:
    space = Param({"nmda.PYR->BC": [1, 2]}, b=3) * Param({"columns": [4]})
    assert space.names == ("nmda.PYR->BC", "b", "columns")
    assert Param(columns=[1]).build() == {"columns": [1]}


def test_numpy_columns_give_plain_values() -> None:
    space = Param(a=np.arange(3), b=np.array([[1, 2], [3, 4], [5, 6]]), c=np.float64(0.5), d=np.array(7))
    points = list(space.iterate())
    assert points[1] == {"a": 1, "b": [3, 4], "c": 0.5, "d": 7}
    assert [type(value) for value in points[0].values()] == [int, list, float, int]


def test_table_columns_are_read_by_position() -> None:
    table = pd.DataFrame({"a": [1, 2, 3]})[1:]
    assert Param(a=table["a"]).build() == {"a": [2, 3]}


def test_iterators_are_read_once() -> None:
    space = Param(a=iter([1, 2]), b=dict.fromkeys("xy").keys().__iter__())
    assert list(space) == list(space) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_columns_of_unequal_length() -> None:
    with pytest.raises(UnequalLengthsError, match="'a' has 2, 'b' has 1") as caught:
        Param(a=[1, 2], b=[3])
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, ValueError)


def test_sets_have_no_order() -> None:
    with pytest.raises(UsageError, match="order"):
        Param(a={1, 2})


def test_ambiguous_operations_name_the_parameters() -> None:
    with pytest.raises(AmbiguousOperationError, match="'a'"):
        Param(a=[1]) * Param(a=[2])
    with pytest.raises(AmbiguousOperationError, match=r"'b'.*missing"):
        Param(a=[1]) - Param(a=[1], b=[2])
    with pytest.raises(AmbiguousOperationError, match="'b'"):
        missing(Param(a=[1], b=[2]), Param(a=[1]))
    error = AmbiguousOperationError("text")
    assert str(pickle.loads(pickle.dumps(error))) == "text"  # noqa: S301 - made a line above


@pytest.mark.parametrize("operation", ["__mul__", "__add__", "__sub__"])
def test_other_operands_are_type_errors(operation: str) -> None:
    assert getattr(Param(a=[1]), operation)([1]) is NotImplemented


def test_whole_rows_are_compared() -> None:
    space = Param(a=[1, 1, 2], b=[1, 2, 1]) - Param(a=[1, 2], b=[2, 2])
    assert space.build() == {"a": [1, 2], "b": [1, 1]}


def test_equality_of_values() -> None:
    assert len(Param(a=[1, 2]) - Param(a=[1.0])) == 1
    assert len(Param(a=[True, 1]) - Param(a=[1])) == 1
    assert len(Param(a=[[1, float("nan")], [2, 3]]) - Param(a=[(1, float("nan"))])) == 1
    assert len(Param(a=[{"x": 1}, {"x": 2}]) - Param(a=[{"x": 1}])) == 1
    assert len(Param(a=[1, 2]) - Param(a=np.array([2], np.int8))) == 1
    with pytest.raises(UsageError, match="bytearray"):
        len(Param(a=[bytearray(b"x")]) - Param(a=[1]))


def test_neutral_element() -> None:
    space = Param(a=[1, 2])
    for result in (space * Param(), Param() * space, space + Param(), Param() + space, space - Param()):
        assert result.build() == {"a": [1, 2]}
    assert Param().build() == {}
    assert len(Param()) == 0
    assert list(missing(Param(), space)) == []


def test_operands_do_not_change() -> None:
    left, right = Param(a=[1, 2]), Param(b=[3])
    assert len(left * right + left - left) == 0
    assert left.build() == {"a": [1, 2]}
    assert right.build() == {"b": [3]}


def test_points_belong_to_the_caller() -> None:
    space = Param(a=[1, 2]) * Param(b=[1])
    for point in space.iterate():
        point["a"] = "changed"
    assert space.build()["a"] == [1, 2]


def test_a_billion_points_cost_no_memory() -> None:
    tracemalloc.start()
    try:
        thousand = range(1000)
        space = Param(a=thousand) * Param(b=thousand) * Param(c=thousand) + Param(a=range(10**9))
        assert len(space) == 2 * 10**9
        assert sum(1 for _ in itertools.islice(space.iterate(), 20_000)) == 20_000
        assert next(space.iterate(123_456_789)) == {"a": 123, "b": 456, "c": 789}
        assert next(space.iterate(2 * 10**9 - 1))["a"] == 10**9 - 1
        rest = space - Param(a=[0]) * Param(b=[0, 1])
        assert next(rest.iterate()) == {"a": 0, "b": 2, "c": 0}
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_difference_of_billions_is_counted_by_its_axes() -> None:
    thousand = range(1000)
    cube = Param(a=thousand) * Param(b=list(thousand)) * Param(c=thousand)
    tracemalloc.start()
    try:
        inner = Param(a=range(10, 20)) * Param(c=[5.0, 6, 6, -1]) * Param(b=thousand)
        for rest in (cube - inner, missing(cube, inner * Param(result=[1, 2]))):
            assert len(rest) == 10**9 - 10 * 2 * 1000
            assert next(rest.iterate()) == {"a": 0, "b": 0, "c": 0}
            assert next(rest.iterate(10)) == {"a": 0, "b": 0, "c": 10}
        assert len(Param(d=range(9), e=1) * cube - Param(d=[1, 2], e=[1, 2])) == 8 * 10**9
        # What a run has done are rows, not a product.
        done = Param(a=[1, 1.0, 2, 5000], b=[3, 3, 4, 1], c=[7, 7, 8, 1])
        assert len(missing(cube, done + done)) == len(cube - done) == 10**9 - 2
        assert len(cube - Param(a=[1, 2, 1], c=[3, 4, 3])) == 10**9 - 2 * 1000
        assert len(Param(a=[1, 1, 2]) * Param(b=[1, math.nan]) - Param(a=[1, 1], b=[math.nan, math.nan])) == 4
        more = cube + Param(a=[-1], e=[1])
        assert len(more - Param(b=[0])) == 999 * 10**6 + 1
        assert len(missing(more, cube * Param(e=[math.nan])) - Param(e=[2])) == 1
        assert (
            len(cube - Param(a=[1, 2]) - Param(b=[1]) - Param(a=[1, 5, 6], c=[1, 1, 2])) == 998 * 999 * 1000 - 2 * 999
        )
        assert len((cube - Param(a=[1]) + more) - Param(b=[1]) - Param(c=[2])) == (999 + 1000) * 999**2 + 1
        assert len(Param(a=range(10**9)) - Param(a=[1, 2]) - Param(a=[2, 3, 3])) == 10**9 - 3
        pairs = Param(a=range(10**9), b=range(0, 2 * 10**9, 2))
        assert (Param(a=[1, 2, 2.0, -1, True], b=[2, 4, 5, -2, 2]) - pairs).build() == {
            "a": [2.0, -1, True],
            "b": [5, -2, 2],
        }
        line = Param(a=range(10**9), b="x")
        assert len(Param(a=range(10**9)) - Param(a=[5, 5.0, -1, 0.5, True, "x"])) == 10**9 - 1
        assert next((Param(a=[1, 10**9], b=["x", "x"]) - line).iterate())["a"] == 10**9
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_differences_of_products_are_counted_right(data: st.DataObject) -> None:
    few = st.lists(st.integers(0, 3), max_size=4)
    left = Param(a=data.draw(few)) * Param(b=range(data.draw(st.integers(0, 5)))) * Param(c=data.draw(few), d=1)
    operands = [Param(a=data.draw(few)), Param(b=range(3)) * Param(d=data.draw(few)), Param({"b": data.draw(few)})]
    pairs = data.draw(st.lists(few, min_size=2, max_size=2))
    pairs = [column[: min(map(len, pairs))] for column in pairs]
    operands += [Param(a=pairs[0], b=pairs[1]) * Param(c=data.draw(few)), Param(a=pairs[0], b=pairs[1], c=1)]
    rest = left - data.draw(st.sampled_from(operands))
    assert len(rest) == sum(1 for _ in rest.iterate())
    twice = rest - data.draw(st.sampled_from(operands))
    assert len(twice) == sum(1 for _ in twice.iterate())
    again = missing(twice + left, data.draw(st.sampled_from([twice, rest, left])) + Param(d=[1])) + Param(a=[1], e=[1])
    for _ in range(data.draw(st.integers(0, 5))):
        again -= data.draw(st.sampled_from(operands))
    assert len(again) == sum(1 for _ in again.iterate())


def test_thousands_of_operands() -> None:
    space, rest = Param(), Param(a=range(3000), b=1)
    for value in range(2000):
        space += Param(a=[value]) if value % 2 else Param(a=[value], b=1)
        rest -= Param(a=[value])
    assert len(space) == sum(1 for _ in space) == 2000
    assert next(space.iterate(1999))["a"] == 1999
    assert rest.build() == {"a": list(range(2000, 3000)), "b": [1] * 1000}
    assert len(missing(Param(a=range(2000), b=1), space)) == 1000


def test_a_large_right_operand_is_not_listed() -> None:
    thousand = range(1000)
    cube = Param(a=thousand) * Param(b=thousand) * Param(c=thousand)
    rest = (Param(a=[5, -1]) * Param(b=[5, 7]) * Param(c=[5])) - cube
    assert rest.build() == {"a": [-1, -1], "b": [5, 7], "c": [5, 5]}


def test_more_points_than_len_can_say() -> None:
    space = Param(a=range(10**12)) * Param(b=range(10**12))
    assert space.count() == 10**24
    with pytest.raises(OverflowError):
        len(space)


def test_start_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="start"):
        Param(a=[1]).iterate(-1)


def test_repr_visits_no_point() -> None:
    assert repr(Param(a=range(10**9)) * Param(b=[1])) == "<Param of 'a', 'b'>"
    assert repr(Param()) == "Param()"
