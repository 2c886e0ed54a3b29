"""Whatever is done to a valid spec, the outcome is a spec or a `SpecError`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiens.errors import SpecError, UsageError
from mpiens.spec import LoadedSpec, check_available, parse_spec
from mpiens.spec.yaml_tree import read_yaml, write_yaml

FULL, SMALL = (Path(__file__).with_name(name).read_text() for name in ("full.yaml", "small.yaml"))
EXPRESSION = """\
name: e
model: {netpyne: init.py}
space:
  product:
  - zip: {a: [1, 2], b: x}
  - concat: [{c: [1]}, {c: {range: [2, 4, 1]}}]
  - subtract: [{d: {linspace: [0, 1, 3]}}, {d: [0.5]}]
search: {algorithm: grid}
"""

TREES = {text: read_yaml(text, "spec.yaml").data for text in (FULL, SMALL, EXPRESSION)}

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.just(10**30),
    st.floats(),
    st.sampled_from(["", "x", "..", "a/b", "5m", "grid", "auto", "points.csv", "-1", "\0x"]),
    st.just([]),
    st.just({}),
    st.lists(st.integers(-2, 2), max_size=4),
    st.dictionaries(
        st.sampled_from(
            ["low", "high", "step", "log", "type", "range", "linspace", "logspace", "values", "zip", "product"]
        ),
        st.one_of(st.integers(-5, 5), st.booleans(), st.lists(st.integers(-9, 9), max_size=3), st.just([{"a": [1]}])),
        max_size=3,
    ),
)


def places(data: Any) -> list[tuple[Any, Any]]:
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found = []
    for key, value in pairs:
        found += [(data, key), *places(value)]
    return found


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from([FULL, SMALL, EXPRESSION]), st.integers(1, 3))
def test_mutated_data(data: st.DataObject, text: str, count: int) -> None:
    tree = copy.deepcopy(TREES[text])
    for _ in range(count):
        parent, key = data.draw(st.sampled_from(places(tree) or [(tree, "name")]))
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "remove" and isinstance(parent, dict):
            parent.pop(key)
        elif action == "add" and isinstance(parent, dict):
            parent[data.draw(st.sampled_from(["", "x", "size", "a.b", "low", "zip"]))] = copy.deepcopy(data.draw(odd))
        else:
            parent[key] = copy.deepcopy(data.draw(odd))
    attempt(write_yaml(tree))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([FULL, SMALL, EXPRESSION]), st.integers(0, 2000), st.integers(0, 30), st.text(max_size=5))
def test_mutated_text(text: str, start: int, length: int, inserted: str) -> None:
    start %= len(text)
    attempt(text[:start] + inserted + text[start + length :])


@settings(max_examples=100, deadline=None)
@given(st.text(":.=[]{}ab1 ", max_size=12), st.sampled_from(["groups.size=", "space.a=", "search.", "", "space."]))
def test_any_override(override: str, prefix: str) -> None:
    try:
        parse_spec(SMALL, "spec.yaml", [prefix + override])
    except UsageError as error:
        assert str(error)


def attempt(text: str) -> None:
    try:
        loaded = parse_spec(text, "spec.yaml")
        assert isinstance(loaded, LoadedSpec)
        assert loaded.space.names
        check_available(loaded)
    except SpecError as error:
        assert str(error).startswith("spec.yaml") or error.file is not None
        assert "Input should" not in str(error)
