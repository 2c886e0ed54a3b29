"""What psyrun's guide and tests show of its algebra holds here, but for what is better: whole rows are compared."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mpiens import AmbiguousOperationError, Param, map_space, missing


def test_scalars_and_strings_are_repeated() -> None:
    assert Param(a=[1, 2, 3], b=[4, 5, 6], c=7).build() == {"a": [1, 2, 3], "b": [4, 5, 6], "c": [7, 7, 7]}
    assert Param(a="item").build() == {"a": ["item"]}
    assert Param(a=1, b=2).build() == {"a": [1], "b": [2]}
    assert len(Param(a=[1, 2, 3], b=3)) == 3
    assert Param().build() == {}


def test_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="equally many"):
        Param(a=[1, 2], b=[3])


def test_types_are_kept() -> None:
    column = Param(a=[1], b=[2.0], c=[[1, 1]]).build()
    assert [type(values[0]) for values in column.values()] == [int, float, list]


def test_products() -> None:
    assert (Param(a=[1, 2, 3], b=[4, 5, 6]) * Param(c=[7, 8])).build() == {
        "a": [1, 1, 2, 2, 3, 3],
        "b": [4, 4, 5, 5, 6, 6],
        "c": [7, 8, 7, 8, 7, 8],
    }
    dotted = Param({"root.a": [1, 2], "b": [3, 4]}) * Param({"root.b": [5, 6]})
    assert dotted.build() == {"root.a": [1, 1, 2, 2], "b": [3, 3, 4, 4], "root.b": [5, 6, 5, 6]}
    nothing = Param(a=[1, 2, 3]) * Param(b=[])
    assert nothing.build() == {"a": [], "b": []}
    assert [len(space) for space in (nothing, Param(b=[]) * Param(a=[1]), Param(a=[1, 2]) * Param())] == [0, 0, 2]
    pairs = Param(a=[[1, 1], [2, 2]]) * Param(b=[1, 2])
    assert pairs.build() == {"a": [[1, 1], [1, 1], [2, 2], [2, 2]], "b": [1, 2, 1, 2]}


def test_a_product_with_a_shared_parameter_is_ambiguous() -> None:
    with pytest.raises(AmbiguousOperationError) as caught:
        Param(a=[1, 2]) * Param(a=[2, 3], b=[4, 5])
    assert isinstance(caught.value, RuntimeError)


def test_sums() -> None:
    both = (Param(a=[1, 2]) + Param(a=[2, 3], b=[4, 4])).build()
    assert both["a"] == [1, 2, 2, 3]
    assert [math.isnan(value) for value in both["b"]] == [True, True, False, False]
    with_nothing = (Param(a=[1]) + Param(b=[])).build()
    assert with_nothing["a"] == [1]
    assert math.isnan(with_nothing["b"][0])
    assert (Param(a=[[1, 1], [2, 2]]) + Param(a=[3])).build() == {"a": [[1, 1], [2, 2], 3]}


def test_differences() -> None:
    assert (Param(a=[1, 2, 3], b=[1, 2, 3]) - Param(a=[2])).build() == {"a": [1, 3], "b": [1, 3]}
    assert len(Param(a=[1, 2, 2], b=[4, 5, 6]) - Param(a=[2])) == 1
    assert (Param(a=[[1, 1], [2, 2]]) - Param(a=[[2, 2]])).build() == {"a": [[1, 1]]}
    rest = Param(a=[1, 2, 3]) - Param(a=[2])
    assert rest.build() == rest.build() == {"a": [1, 3]}
    with pytest.raises(AmbiguousOperationError, match="'c'"):
        Param(a=[1, 2, 3]) - Param(a=[2], c=[4])


def test_missing() -> None:
    assert missing(Param(a=[1, 2, 3]), Param(a=[2], c=[4])).build() == {"a": [1, 3]}
    assert missing(Param(a=[[1, 1], [2, 2]]), Param(a=[[1, 1]])).build() == {"a": [[2, 2]]}
    for nothing in (Param(), Param(c=[]), Param(a=[1]) - Param(a=[1])):
        assert missing(Param(a=[1, 2, 3], b=0), nothing).build() == {"a": [1, 2, 3], "b": [0, 0, 0]}
    with pytest.raises(AmbiguousOperationError, match="'b'"):
        missing(Param(a=[1, 2, 2], b=[4, 5, 6]), Param(a=[2]))


def test_whole_rows_and_nan_are_compared() -> None:
    square = Param(a=[1, 2]) * Param(b=[1, 2])
    assert (square - Param(a=[1, 2], b=[2, 1])).build() == {"a": [1, 2], "b": [1, 2]}
    assert missing(square, Param(a=[1, 2], b=[2, 1], result=[0, 0])).build() == {"a": [1, 2], "b": [1, 2]}
    assert (Param(a=[1, math.nan]) - Param(a=[float("nan")])).build() == {"a": [1]}


def test_the_map_of_the_overview() -> None:
    space = Param(a=np.arange(1, 5)) * Param(b=np.linspace(0, 1, 10)) * Param(c=[1.0, 1.5, 10.0, 10.5])
    results = map_space(lambda a, b, c: {"result": a * b + c}, space)
    assert len(results["result"]) == len(space) == 160
    assert results["result"][-1] == 14.5
