"""What a model may return, and the bytes of a record."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mpiens.errors import StoreError, TrialError
from mpiens.record import TrialRecord, decode, encode, objective_values, plain_results
from mpiens.trial import TrialState


def record(**changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "number": 3,
        "state": TrialState.COMPLETE,
        "attempt": 1,
        "group": 0,
        "seed": 2**32 - 1,
        "started_s": 1.5,
        "elapsed_s": 0.25,
        "error": "",
        "params": {"a": 1, "b": "x", "c": [1, 2.5]},
        "values": {"loss": 0.5},
        "results": {},
    }
    return TrialRecord(**(fields | changes))


def same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    return type(left) is type(right) and (left == right or (left != left and right != right))


DTYPES = npst.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufcU" and dtype.itemsize <= 64)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1).filter(
            lambda name: name not in (".", "..")
        ),
        st.integers(-(2**63), 2**63 - 1)
        | st.floats()
        | st.booleans()
        | st.text()
        | npst.arrays(DTYPES.map(lambda d: d.newbyteorder("=")), npst.array_shapes(min_dims=0, min_side=0)),
        max_size=4,
    )
)
def test_results_travel_unchanged(results: dict[str, Any]) -> None:
    plain = plain_results(results)
    back = decode(encode(record(results=plain))).results
    assert list(back) == list(plain)
    for name, value in plain.items():
        assert same(back[name], value), name


def test_mappings_are_flattened_and_lists_become_arrays() -> None:
    plain = plain_results({"rates": {"E": 5.0, "I": np.float32(2.0)}, "t": [1, 2.5], "empty": []})
    assert plain["rates.E"] == 5.0
    assert plain["rates.I"] == 2.0
    assert plain["t"].tolist() == [1.0, 2.5]  # type: ignore[union-attr]
    assert plain["empty"].shape == (0,)  # type: ignore[union-attr]


def test_views_and_foreign_byte_orders_are_made_plain() -> None:
    big = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]
    back = decode(encode(record(results=plain_results({"x": big})))).results["x"]
    assert isinstance(back, np.ndarray)
    assert back.tolist() == big.tolist()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "result 'x' cannot be stored: .* found None"),
        (object(), "result 'x' cannot be stored"),
        ([[1, 2], [3]], "result 'x' is not an array of one shape"),
        ({1, 2}, "result 'x' cannot be stored"),
        (np.array([None]), "found an array of object"),
    ],
)
def test_what_cannot_be_stored_is_named(value: object, found: str) -> None:
    with pytest.raises(TrialError, match=found):
        plain_results({"x": value})


def test_names_must_not_contain_a_slash() -> None:
    with pytest.raises(TrialError, match="must not be empty or contain '/'"):
        plain_results({"a/b": 1})


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "objective 'loss' is missing; the model returned nothing"),
        ({"los": 1.0}, "objective 'loss' is missing; the model returned 'los'"),
        ({"loss": math.nan}, "objective 'loss' is not finite: nan"),
        ({"loss": -math.inf}, "objective 'loss' is not finite: -inf"),
        ({"loss": "low"}, "objective 'loss' must be one number, the model returned a string"),
        ({"loss": np.zeros(3)}, r"must be one number, the model returned an array of shape \(3,\)"),
    ],
)
def test_bad_objectives_are_named(results: dict[str, Any], message: str) -> None:
    with pytest.raises(TrialError, match=message):
        objective_values(("loss",), results)


def test_objectives_are_taken_out_of_the_results() -> None:
    results: dict[str, Any] = {"loss": np.array([2]), "rate": 3.0}
    assert objective_values(("loss",), results) == {"loss": 2.0}
    assert results == {"rate": 3.0}


@given(st.binary(max_size=200))
def test_other_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(StoreError, match="not a trial record"):
        decode(data)


@given(st.integers(0, 300), st.integers(0, 255))
def test_changed_bytes_never_raise_anything_else(position: int, byte: int) -> None:
    data = bytearray(encode(record(results={"x": np.arange(5.0), "s": "text"})))
    data[position % len(data)] = byte
    try:
        decode(bytes(data))
    except StoreError as error:
        assert "not a trial record" in str(error)
