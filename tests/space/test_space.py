"""What a spec's `space` means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from mpiens.errors import SpecError
from mpiens.space import Choices, Fixed, Range, Space, parse_space, space_problems

HERE = Path()


def built(tree: Any, folder: Path = HERE) -> dict[str, list[Any]]:
    return parse_space(tree, folder).grid().build()


def problem(tree: Any, folder: Path = HERE) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse_space(tree, folder)
    return caught.value


def test_mapping() -> None:
    space = parse_space({"nmda.PYR->BC": {"low": 0.0, "high": 1.0}, "b": [1, 2], "c": 3}, HERE)
    assert space.domains == {"nmda.PYR->BC": Range(0.0, 1.0), "b": Choices((1, 2)), "c": Fixed(3)}
    assert space.expression is None
    assert space.names == ("nmda.PYR->BC", "b", "c")
    assert space.searchable() == space.domains
    assert not space.is_empty()


def test_grid_of_a_mapping() -> None:
    assert built({"a": {"low": 0, "high": 4, "step": 2}, "b": ["x", "y"], "c": [[1, 2]], "d": 3}) == {
        "a": [0, 0, 2, 2, 4, 4],
        "b": ["x", "y"] * 3,
        "c": [[1, 2]] * 6,
        "d": [3] * 6,
    }


def test_grid_wants_steps() -> None:
    space = parse_space({"a": [1], "b": {"low": 0.5, "high": 2}}, HERE)
    with pytest.raises(SpecError, match=r"add step.*linspace: \[0.5, 2.0, n\]") as caught:
        space.grid()
    assert caught.value.key == "space.b"


def test_a_billion_points_are_only_counted() -> None:
    space = parse_space({name: {"range": [0, 1000, 1]} for name in "abc"}, HERE)
    assert len(space.grid()) == 10**9
    assert next(space.grid().iterate(10**9 - 1)) == {"a": 999, "b": 999, "c": 999}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"product": [{"a": [1, 2]}, {"b": [3, 4]}]}, {"a": [1, 1, 2, 2], "b": [3, 4, 3, 4]}),
        ({"product": [{"a": [1, 2], "c": 5}]}, {"a": [1, 2], "c": [5, 5]}),
        ({"zip": {"a": [1, 2], "b": [3, 4], "c": "x"}}, {"a": [1, 2], "b": [3, 4], "c": ["x", "x"]}),
        ({"zip": {"values": [1, 2]}}, {"values": [1, 2]}),
        ({"concat": [{"a": [1]}, {"a": [2]}, {"zip": {"a": [3, 4]}}]}, {"a": [1, 2, 3, 4]}),
        ({"subtract": [{"a": [1, 2, 3], "b": [1]}, {"a": [2]}]}, {"a": [1, 3], "b": [1, 1]}),
        ({"missing": [{"a": [1, 2]}, {"a": [2], "extra": 1}]}, {"a": [1]}),
        (
            {"product": [{"a": [0]}, {"concat": [{"b": {"range": [0, 2, 1]}}, {"zip": {"b": [7]}}]}]},
            {"a": [0, 0, 0], "b": [0, 1, 7]},
        ),
    ],
)
def test_expressions(tree: Any, expected: dict[str, list[Any]]) -> None:
    space = parse_space(tree, HERE)
    assert space.domains is None
    assert space.grid().build() == expected
    assert set(space.names) == set(expected)
    assert not space.is_empty()


def test_concat_fills_with_nan() -> None:
    columns = built({"concat": [{"a": [1]}, {"b": [2]}]})
    assert columns["a"][0] == 1
    assert math.isnan(columns["a"][1])
    assert math.isnan(columns["b"][0])


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({"product": [1, 2]}, ("product",)),
        ({"zip": [1, 2]}, ("zip",)),
        ({"zip": {"low": 1, "high": 2, "step": 1}}, ("zip",)),
        ({"points": 3}, ("points",)),
        ({"points": "many"}, ("points",)),
        ({"points": ["points.csv"]}, ("points",)),
        ({"zip": {"zip": [1]}}, ("zip",)),
        ({"zip": {"values": [1]}, "a": 1}, ("zip", "a")),
        ({"product": [{"zip": [1, 2]}]}, ("zip",)),
    ],
)
def test_parameters_named_like_words(tree: Any, names: tuple[str, ...]) -> None:
    assert parse_space(tree, HERE).names == names


def test_samplers_need_domains() -> None:
    space = parse_space({"zip": {"a": [1, 2]}}, HERE)
    with pytest.raises(SpecError, match="ranges and choices") as caught:
        space.searchable()
    assert caught.value.key == "space"


@pytest.mark.parametrize(
    ("tree", "key", "words"),
    [
        ({}, "space", "the space is empty"),
        ([1], "space", "expected a mapping"),
        (None, "space", "found nothing"),
        ({"subtract": [{"a": [1]}, {"a": [1, 2]}]}, "space.subtract", "the space is empty"),
        ({"zip": {"a": []}}, "space.zip", "the space is empty"),
        ({"product": [{"a": [1]}, {"a": [2]}]}, "space.product", "both have 'a'"),
        ({"product": [{"a": [1]}, 3]}, "space.product.1", "expected a mapping"),
        ({"product": [{"a": [1]}, {}]}, "space.product.1", "operand is empty"),
        ({"product": [{"a": {"low": 0.0, "high": 1.0}}]}, "space.product.0.a", "add step"),
        ({"product": [{"a": {"low": 2, "high": 1}}]}, "space.product.0.a.low", "above high"),
        ({"product": [{"a/b": 1}]}, "space.product.0.a/b", "name"),
        ({"subtract": [{"a": [1]}]}, "space.subtract", "two operands, found 1"),
        ({"missing": [{"a": [1]}, {"b": [1]}]}, "space.missing", "lacks 'a'"),
        ({"subtract": [{"a": [1]}, {"b": [1]}]}, "space.subtract", "'b'"),
        ({"zip": {"a": [1, 2], "b": [1]}}, "space.zip", "equally many"),
        ({"zip": {"a": [1, {}]}}, "space.zip.a.1", "plain value"),
        ({"zip": {"a": [1], "b": {"range": [1, 2, 1]}}}, "space.zip.b", "plain value"),
        ({"zip": {"a": [1, 2**63]}}, "space.zip.a.1", "64 bits"),
        ({"zip": {"a/b": [1]}}, "space.zip.a/b", "name"),
        ({"prodct": [{"a": [1]}]}, "space.prodct", "did you mean 'product'"),
        (
            {"product": [{"a": [1]}], "b": 1},
            "space.product",
            "stands alone; with other parameters it is product: [..., {b: ...}]",
        ),
        ({"x": [1], "zip": {"a": [1], "b": [2]}}, "space.zip", "product: [{zip: ...}, {x: ...}]"),
        ({"product": {"a": [1, 2], "b": [3]}}, "space.product", "list of spaces such as product: [{a: ...}, {b"),
        ({"zip": [{"a": [1]}]}, "space.zip", "mapping of parameters"),
        ({"points": [{"a": 1}]}, "space.points", "csv or .json"),
        ({"sum": [{"a": [1]}, {"a": [2]}]}, "space.sum", "did you mean 'concat'?; expressions are product: [A, B, "),
        ({"difference": [{"a": [1]}, {"a": [2]}]}, "space.difference", "did you mean 'subtract'"),
        ({"product": [{"x": [1], "zip": {"a": [1]}}]}, "space.product.0.zip", "{zip: ...}, {x: ...}"),
        ({"zap": {"hgh": [1]}}, "space.zap.hgh", "did you mean 'high'"),
        ({"x": [1, {"a": 2}]}, "space.x.1", "expected a plain value"),
        ({"zap": {"a": 1}}, "space.zap.a", "known are low"),
        ({"points": "nowhere.csv"}, "space.points", "no such file"),
    ],
)
def test_errors(tree: Any, key: str, words: str) -> None:
    found = problem(tree)
    assert found.key == key
    assert words in found.problem


def test_all_problems_of_a_mapping() -> None:
    problems = space_problems({"a": {"low": 2, "high": 1}, "b": 1, "c": []})
    assert [found.key for found in problems] == ["space.a.low", "space.c"]
    assert space_problems({"zip": {"a": [1]}}) == space_problems(3) == []


def test_a_space_of_nothing() -> None:
    assert Space(domains={}).is_empty()
    with pytest.raises(ValueError, match="either"):
        Space().names  # noqa: B018 - the access is what raises


def test_points_from_csv(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_bytes(
        b'\xef\xbb\xbfa, nmda.PYR->BC ,label\r\n1,0.5,x\n-2,1e-3,"y, z"\n\n3,,007\n+4,inf,1_000\n'
    )
    space = parse_space({"points": "points.csv"}, tmp_path)
    columns = space.grid().build()
    assert columns["a"] == [1, -2, 3, 4]
    assert columns["label"] == ["x", "y, z", "007", "1_000"]
    first, second, third, fourth = columns["nmda.PYR->BC"]
    assert (first, second, fourth) == (0.5, 0.001, math.inf)
    assert math.isnan(third)
    assert all(type(value) is int for value in columns["a"])


@pytest.mark.parametrize("content", ['[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]', '{"a": [1, 2], "b": ["x", "y"]}'])
def test_points_from_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.json").write_text(content)
    assert built({"points": "p.json"}, tmp_path) == {"a": [1, 2], "b": ["x", "y"]}


def test_points_are_operands_too(tmp_path: Path) -> None:
    (tmp_path / "done.csv").write_text("a,loss\n1,0.5\n")
    assert built({"missing": [{"a": [1, 2]}, {"points": "done.csv"}]}, tmp_path) == {"a": [2]}


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", None, "empty"),
        (b"a,b\n1,2\n3\n", 3, "expected 2 fields"),
        (b"a,a\n1,2\n", 1, "two columns"),
        (b"a,\n1,2\n", 1, "name"),
        (b"a/b\n1\n", 1, "name"),
        (b"a;b\n1;2\n", 1, "commas"),
        (b'a\n"1\n', 2, "not valid CSV"),
        (b"a\n\xff\n", None, "UTF-8"),
        (b"a\n1\n9223372036854775808\n", 3, "64 bits"),
        (b"a\n" + 5000 * b"1" + b"\n", 2, "64 bits"),
        (b"a,b\n", None, "the space is empty"),
    ],
)
def test_bad_csv(tmp_path: Path, content: bytes, line: int | None, words: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    found = problem({"points": "p.csv"}, tmp_path)
    assert words in found.problem
    if "space is empty" not in words:
        assert (found.file, found.line) == (tmp_path / "p.csv", line)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("", 1, "not valid JSON"),
        ("[\n{]", 2, "not valid JSON"),
        ("[1]", None, "list of objects"),
        ("3", None, "list of objects"),
        ('{"a": 1}', None, "list of objects"),
        ('{"a": [1], "a": [2]}', None, "twice"),
        ('{"a": [1], "b": [2, 3]}', None, "differ in length"),
        ('{"a": [null]}', None, "plain value"),
        ('[{"a/b": 1}]', None, "name"),
        ('[{"a": 1}, {"a": -9223372036854775809}]', None, "point 1, 'a': "),
        ("[" * 100_000, None, "not valid JSON"),
    ],
)
def test_bad_json(tmp_path: Path, content: str, line: int | None, words: str) -> None:
    (tmp_path / "p.json").write_text(content)
    found = problem({"points": "p.json"}, tmp_path)
    assert words in found.problem
    assert (found.file, found.line) == (tmp_path / "p.json", line)


def test_missing_points_file_names_similar_ones(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("a\n1\n")
    found = problem({"points": "piont.csv"}, tmp_path)
    assert str(tmp_path / "piont.csv") in found.problem
    assert "similar there: points.csv" in found.problem
    assert "no folder" in problem({"points": "x/p.csv"}, tmp_path).problem
    (tmp_path / "folder.csv").mkdir()
    assert "cannot read" in problem({"points": "folder.csv"}, tmp_path).problem
