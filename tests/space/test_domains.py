"""Every form of a domain, and every way to get one wrong."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiens.errors import SpecError
from mpiens.space import Choices, Fixed, Range, parse_domain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"low": 0.5, "high": 2}, Range(0.5, 2.0)),
        ({"low": 1, "high": 9}, Range(1, 9, is_int=True)),
        ({"low": 1, "high": 9, "type": "float"}, Range(1.0, 9.0)),
        ({"low": 1.0, "high": 9.0, "type": "int"}, Range(1, 9, is_int=True)),
        ({"low": 1e-3, "high": 1.0, "log": True}, Range(1e-3, 1.0, log=True)),
        ({"low": 1, "high": 9, "step": 2, "log": False}, Range(1, 9, step=2, is_int=True)),
        ({"low": 0.0, "high": 1, "step": 0.25}, Range(0.0, 1.0, step=0.25)),
        ([1, 2.5, "x", True], Choices((1, 2.5, "x", True))),
        ([[1, 2], [3]], Choices(([1, 2], [3]))),
        ({"values": [3, 1]}, Choices((3, 1))),
        ({"range": [0, 6, 2]}, Choices((0, 2, 4))),
        ({"range": [3, 0, -1]}, Choices((3, 2, 1))),
        ({"range": [1, 1.3, 0.1]}, Choices((1.0, 1.1, 1.2))),
        ({"linspace": [0, 1, 3]}, Choices((0.0, 0.5, 1.0))),
        ({"linspace": [2, 9, 1]}, Choices((2.0,))),
        ({"logspace": [-1, 1, 3]}, Choices((0.1, 1.0, 10.0))),
        (5, Fixed(5)),
        ("fast", Fixed("fast")),
        (False, Fixed(False)),
    ],
)
def test_forms(value: object, expected: object) -> None:
    domain = parse_domain("a", value)
    assert domain == expected
    if isinstance(domain, Range):
        assert {type(domain.low), type(domain.high)} == {int if domain.is_int else float}
    if isinstance(domain, Choices):
        assert [type(found) for found in domain.values] == [type(wanted) for wanted in expected.values]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ({"low": 2, "high": 1}, "space.a.low", "above high"),
        ({"low": 1, "high": 1}, "space.a", "write the value alone"),
        ({"low": 0.0, "high": 1.0, "log": True}, "space.a.low", "above 0"),
        ({"low": 1.0, "high": 2.0, "log": True, "step": 0.1}, "space.a.step", "exclude each other"),
        ({"low": float("nan"), "high": 1.0}, "space.a.low", "finite"),
        ({"low": 1.0, "high": float("inf")}, "space.a.high", "finite"),
        ({"low": 1}, "space.a", "'high' is missing"),
        ({"high": 1}, "space.a", "'low' is missing"),
        ({}, "space.a", "'low' is missing"),
        ({"low": True, "high": 2}, "space.a.low", "a number, found true"),
        ({"low": "1", "high": 2}, "space.a.low", "a number, found '1'"),
        ({"low": None, "high": 2}, "space.a.low", "found nothing"),
        ({"low": 0, "high": 2, "log": 1}, "space.a.log", "true or false"),
        ({"low": 0, "high": 2, "type": "real"}, "space.a.type", "int or float"),
        ({"low": 0, "high": 2, "type": ["int"]}, "space.a.type", "int or float"),
        ({"low": 0.5, "high": 2, "type": "int"}, "space.a.low", "whole number"),
        ({"low": 0, "high": 1, "step": 0.1}, "space.a.step", "type: float"),
        ({"low": 0, "high": 9, "step": 0}, "space.a.step", "above 0"),
        ({"low": 0, "high": 9, "step": -1}, "space.a.step", "above 0"),
        ({"low": 0, "high": 9, "step": 10}, "space.a.step", "longer than the range"),
        ({"low": 0.0, "high": 1.0, "step": 1e-12}, "space.a.step", "too many values"),
        ({"low": 0, "high": 10**400, "type": "float"}, "space.a.high", "too large"),
        ({"low": 0, "hihg": 1}, "space.a.hihg", "did you mean 'high'"),
        ({"lin_space": [0, 1, 3]}, "space.a.lin_space", "did you mean 'linspace'"),
        ({"q": 1}, "space.a.q", "known are low, high"),
        ({"range": [0, 1, 1], "low": 3}, "space.a", "only key"),
        ({"range": 3}, "space.a.range", "expected a list"),
        ({"range": [0, 1]}, "space.a.range", "three numbers"),
        ({"range": [0, 1, 0]}, "space.a.range.2", "must not be 0"),
        ({"range": [1, 0, 1]}, "space.a.range", "no value lies between"),
        ({"range": [0, "9", 1]}, "space.a.range.1", "expected a number"),
        ({"range": [0, 1, 1e-12]}, "space.a.range", "too many values"),
        ({"range": [0, 10**300, 1]}, "space.a.range", "too many values"),
        ({"range": [0, float("inf"), 1]}, "space.a.range.1", "finite"),
        ({"linspace": [0, 1, 0]}, "space.a.linspace.2", "from 1"),
        ({"linspace": [0, 1, 2.0]}, "space.a.linspace.2", "whole number"),
        ({"linspace": [0, 1, True]}, "space.a.linspace.2", "number"),
        ({"linspace": [0, 1, 10**9]}, "space.a.linspace", "too many values"),
        ({"linspace": [0, 10**400, 3]}, "space.a.linspace", "too large"),
        ({"logspace": [0, 400, 3]}, "space.a.logspace", "exponents"),
        ({"values": []}, "space.a.values", "empty"),
        ({"values": 3}, "space.a.values", "expected a list"),
        ([], "space.a", "empty"),
        ([1, {"b": 2}], "space.a.1", "plain value"),
        ([1, None], "space.a.1", "plain value"),
        ([[[1]]], "space.a.0", "plain value"),
        ([1.0, float("nan")], "space.a.1", "finite"),
        ([[float("inf")]], "space.a.0", "finite"),
        (float("-inf"), "space.a", "finite"),
        (2**63, "space.a", "64 bits"),
        ([1, [-(2**63) - 1]], "space.a.1", "64 bits"),
        ({"low": 0, "high": 2**63}, "space.a.high", "64 bits"),
        ({"low": -1e308, "high": 1e308}, "space.a", "wider than any float"),
        ({"low": -(2**63), "high": 0}, "space.a", "more than 2**63 values"),
        ({"range": [2**64, 2**64 + 5, 1]}, "space.a.range.0", "64 bits"),
        (None, "space.a", "found nothing"),
        (object(), "space.a", "expected a value"),
    ],
)
def test_errors(value: object, key: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_domain("a", value)
    assert caught.value.key == key
    assert words in caught.value.problem


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0", 3, None])
def test_impossible_names(name: object) -> None:
    with pytest.raises(SpecError, match="name"):
        parse_domain(name, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["nmda.PYR->BC", "xn.0", "...", "größe", "a b"])
def test_possible_names(name: str) -> None:
    assert parse_domain(name, 1) == Fixed(1)


def test_numpy_names_mean_numpy() -> None:
    assert parse_domain("a", {"linspace": [0, 1, 11]}) == Choices(tuple(np.linspace(0, 1, 11).tolist()))
    assert parse_domain("a", {"logspace": [-3, 0, 7]}) == Choices(tuple(np.logspace(-3, 0, 7).tolist()))


def test_very_many_whole_numbers_cost_nothing() -> None:
    domain = parse_domain("a", {"range": [0, 10**12, 1]})
    assert isinstance(domain, Choices)
    assert len(domain.values) == 10**12
    assert domain.values[-1] == 10**12 - 1


@given(st.integers(-200, 200), st.integers(1, 50), st.integers(1, 60), st.sampled_from([1, 10, 100, 1000]))
def test_decimal_steps_do_not_drift(start: int, step: int, count: int, scale: int) -> None:
    first, width = start / scale, step / scale
    stop = (start + step * count) / scale
    domain = parse_domain("a", {"range": [float(first), float(stop), float(width)]})
    wanted = tuple(float(Fraction(start + index * step, scale)) for index in range(count))
    assert domain == Choices(wanted)
    stepped = parse_domain("a", {"low": float(first), "high": float(stop), "step": float(width)})
    assert isinstance(stepped, Range)
    assert tuple(stepped.values()) == (*wanted, float(stop))


def test_stepped_range_ends_below_high_when_not_hit() -> None:
    domain = parse_domain("a", {"low": 0, "high": 10, "step": 4})
    assert isinstance(domain, Range)
    assert list(domain.values()) == [0, 4, 8]
    with pytest.raises(ValueError, match="step"):
        Range(0, 1).values()
