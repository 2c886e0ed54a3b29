"""Durations, memory and functions' names."""

from __future__ import annotations

import pytest

from mpiens.spec.quantities import duration_or_auto, memory_bytes, parse_duration, parse_memory
from mpiens.spec.schema import ModelSpec


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("60s", 60),
        ("20m", 1200),
        ("4h", 14400),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("2d", 172800),
        ("1.5h", 5400),
        ("04:00:00", 14400),
        ("100:00:01", 360001),
        ("2H", 7200),
        (5, 5),
        (0.5, 0.5),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value) == duration_or_auto(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "", "s", "5", "5x", "30m1h", "04:00", "1:60:00", "-5s", "1e3s", True, None, [1],
        -1, 0, "0s", float("nan"), float("inf"), 10**400, "9" * 200 + "s",
    ],
)  # fmt: skip
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected a duration|longer than nothing"):
        parse_duration(value)
    with pytest.raises(ValueError, match="or auto"):
        duration_or_auto(value)


@pytest.mark.parametrize(
    ("value", "canonical", "size"),
    [
        ("4G", "4G", 4 * 2**30),
        ("512M", "512M", 512 * 2**20),
        ("1.5 GiB", "1536M", 1536 * 2**20),
        ("2048m", "2G", 2**31),
        ("64KB", "64K", 2**16),
        ("1T", "1T", 2**40),
    ],
)
def test_memory(value: str, canonical: str, size: int) -> None:
    assert parse_memory(value) == canonical
    assert memory_bytes(canonical) == size


@pytest.mark.parametrize("value", ["4", "G", "4X", "-4G", "0G", 4, None, "", "9" * 200 + "G"])
def test_what_is_no_memory(value: object) -> None:
    with pytest.raises(ValueError, match="unit"):
        parse_memory(value)


@pytest.mark.parametrize(
    "target",
    ["model.py:simulate", "sub dir/my-model.py:run", "/abs/m.py:f", "package.module:function", "m:Class.method"],
)
def test_functions(target: str) -> None:
    assert ModelSpec(python=target).python == target


@pytest.mark.parametrize("target", ["model.py", "model.py:", ":f", "a b:f", "m.py:f()", "m.py:1", "a..b:f", "m:f:g"])
def test_what_is_no_function(target: str) -> None:
    with pytest.raises(ValueError, match=r"path\.py:function"):
        ModelSpec(python=target)
