"""The YAML reader: what plain texts mean, where things stand, and what is refused."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiens.errors import SpecError
from mpiens.spec.yaml_tree import MAX_DEPTH, read_scalar, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-12", -12),
        ("+3", 3),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("-.inf", -math.inf),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("04:00:00", "04:00:00"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        (".", "."),
        ("inf", "inf"),
    ],
)
def test_plain_texts(text: str, value: object) -> None:
    found = read_scalar(text)
    assert found == value
    assert type(found) is type(value)
    assert read_yaml(f"a: {text}\n", "f").data == {"a": value}


def test_nan() -> None:
    assert math.isnan(read_scalar(".nan"))


def test_quotes_tags_and_keys() -> None:
    text = "a: '1'\nb: \"true\"\nc: !!str 1\nd: !!float 1\n1: x\ntrue: y\n? z\n: ! 5\ne: |\n  two\n  lines\n"
    assert read_yaml(text, "f").data == {
        "a": "1",
        "b": "true",
        "c": "1",
        "d": 1.0,
        "1": "x",
        "true": "y",
        "z": "5",
        "e": "two\nlines\n",
    }


def test_lines() -> None:
    tree = read_yaml("---\na:\n  b.c: 1\n  d:\n  - x\n  - {y: 2}\n", "f")
    assert tree.lines == {"a": 2, "a.b.c": 3, "a.d": 4, "a.d.0": 5, "a.d.1": 6, "a.d.1.y": 6}


def test_anchors_and_merges() -> None:
    data = read_yaml(
        "base: &b {x: 1, y: 2}\nsame: *b\nmore: {<<: *b, y: 3}\nmany: {<<: [*b, {z: 4, x: 9}]}\n", "f"
    ).data
    assert data["same"] == {"x": 1, "y": 2}
    assert data["same"] is not data["base"]
    assert data["more"] == {"x": 1, "y": 3}
    assert data["many"] == {"x": 1, "y": 2, "z": 4}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\n\tb: 2\n", 2, "tab"),
        ("a: [1\n", 2, "not closed"),
        ("a: {b: 1\n", 2, "not closed"),
        ("a: 'x\n", 2, "inside a quoted text"),
        ("a: b: c\n", 1, "': ' is not possible here"),
        ("a: 1\nb\nc: 2\n", 3, "': '"),
        ("a:\n  b: 1\n c: 2\n", 3, "indentation"),
        ("a: @x\n", 1, "quoted"),
        ("a: 1\nb: 2\na: 3\n", 3, "stands twice; first in line 1"),
        ("a: {b: 1,\n b: 2}\n", 2, "stands twice"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: *x\n", 1, "no anchor &x"),
        ("a: &x [*x]\n", 1, "no anchor &x"),
        ("[1, 2]: 3\n", 1, "a key must be a plain text"),
        ("*a : 3\n", 1, "a key must be a plain text"),
        ("a: !!python/object:os.system x\n", 1, "python/object"),
        ("a: !thing [1]\n", 1, "!thing"),
        ("a: !!int x\n", 1, "!!int"),
        ("a: {<<: 3}\n", 1, "'<<'"),
        ("a: 1\nb: \x07\n", 2, "control character"),
        ("a: " + "9" * 5000 + "\n", 1, "5000 digits"),
        ("a: " + "[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5) + "\n", 1, "nested deeper"),
        ("a: " + "[" * 20_000 + "\n", 1, "nested deeper"),
    ],
)
def test_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_yaml(text, "f.yaml")
    assert words in caught.value.problem
    assert (caught.value.file, caught.value.line) == ("f.yaml", line)


def test_aliases_cannot_explode() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    start = time.monotonic()
    with pytest.raises(SpecError, match="aliases multiply"):
        read_yaml(text, "f")
    assert time.monotonic() - start < 10


plain = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
        st.sampled_from(["yes", "no", "1e-3", "0o7", "null", "", "12:30", "~", "1.", "- x", "a: b", "#", "=", "<<"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b.c", "no", "1", "->"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(plain)
def test_what_is_written_is_read(data: object) -> None:
    again = read_yaml(write_yaml({"x": data}), "f").data["x"]
    assert again == data
    assert repr(again) == repr(data)


@given(st.text(max_size=60))
def test_any_text_gives_data_or_an_error(text: str) -> None:
    try:
        read_yaml(text, "f")
    except SpecError as error:
        assert error.file == "f"
