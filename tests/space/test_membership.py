"""Points that are not in a space, and what they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpiens.space import parse_space
from mpiens.space.membership import misfit


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        ({"low": 0.0, "high": 100.0}, 250, "a number from 0.0 to 100.0"),
        ({"low": 0.0, "high": 1.0, "step": 0.25}, 0.3, "a number from 0.0 to 1.0 in steps of 0.25"),
        ({"low": 1, "high": 9}, 1.5, "a whole number from 1 to 9"),
        ({"low": 1, "high": 9, "step": 2}, 2, "a whole number from 1 to 9 in steps of 2"),
        (["PYR", "BC"], "OLM", "one of 'PYR', 'BC'"),
        ({"range": [0, 10**9, 1]}, -1, "one of 0, 1, 2, 3, 4, 5, 6, 7, ... (1000000000 values)"),
        (3, 4, "3"),
    ],
)
def test_what_is_admitted_is_said(domain: Any, value: Any, expected: str) -> None:
    space = parse_space({"b_pA": domain, "other": [1, 2]}, Path())
    assert misfit({"b_pA": value, "other": 1}, space) == ("b_pA", f"{value!r} is not in the space: expected {expected}")
