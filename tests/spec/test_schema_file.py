"""The JSON Schema, and the build hook that writes it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mpiens.spec
from mpiens.spec.build_schema import schema_text
from mpiens.spec.yaml_tree import read_yaml


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_full_and_small_example(validator: jsonschema.Draft202012Validator, full: str, small: str) -> None:
    for text in (full, small):
        assert list(validator.iter_errors(read_yaml(text, "f").data)) == []


@pytest.mark.parametrize("part", ["", "model", "search", "groups", "store", "checkpoint", "limits", "job"])
def test_unknown_keys(validator: jsonschema.Draft202012Validator, full: str, part: str) -> None:
    data = read_yaml(full, "f").data
    (data[part] if part else data)["unknown"] = 1
    assert not validator.is_valid(data)


@pytest.mark.parametrize(
    "change",
    [
        {"name": None}, {"name": "a/b"}, {"seed": "1"}, {"model": {}}, {"space": {}}, {"space": {"a": {"lo": 1}}},
        {"model": {"python": "a.py:f", "netpyne": "b.py"}}, {"groups": {"size": 0}}, {"space": {"a/b": 1}},
        {"search": {"trials": "10"}}, {"checkpoint": {"every": "soon"}}, {"checkpoint": {"every": 0}},
        {"limits": {"walltime": "manual"}}, {"space": {"product": [{"a": {"lo": 1}}]}}, {"space": {"a": []}},
    ],
)  # fmt: skip
def test_refused(validator: jsonschema.Draft202012Validator, full: str, change: dict[str, Any]) -> None:
    assert not validator.is_valid(copy.deepcopy(read_yaml(full, "f").data) | change)


@pytest.mark.parametrize(
    "space",
    [
        {"a": [1, "x", True, [1, 2]], "b": 3, "c": {"range": [0, 1, 0.1]}, "d": {"values": [1]}},
        {"a": {"low": 1, "high": 2, "log": True}, "b": {"low": 1, "high": 2, "step": 1, "type": "float"}},
        {"product": [{"a": [1]}, {"zip": {"b": [1], "c": 2}}]},
        {"subtract": [{"a": [1]}, {"points": "p.csv"}]},
        {"concat": [{"a": [1]}]},
        {"product": [1, 2], "zip": 3, "points": 4},
    ],
)
def test_spaces(validator: jsonschema.Draft202012Validator, full: str, space: dict[str, Any]) -> None:
    assert list(validator.iter_errors(read_yaml(full, "f").data | {"space": space})) == []


@pytest.mark.parametrize(
    "change",
    [{"checkpoint": {"every": every}} for every in (5, 0.5, "1h30m", "04:00:00", "2D", "1h 30m")]
    + [{"limits": {"walltime": "auto"}}, {"job": {"memory": "1.5 GiB"}}, {"output": None}],
)
def test_quantities(validator: jsonschema.Draft202012Validator, full: str, change: dict[str, Any]) -> None:
    assert list(validator.iter_errors(read_yaml(full, "f").data | change)) == []


def test_every_key_is_described() -> None:
    schema = json.loads(schema_text())
    parts = [schema, *(part for name, part in schema["$defs"].items() if name.endswith("Spec"))]
    assert len(parts) == 8
    for part in parts:
        assert [name for name, content in part["properties"].items() if not content.get("description")] == []


HOOK = """
import importlib.util, sys, types
from pathlib import Path
class Base:
    def __init__(self, root): self.root = root
    def __class_getitem__(cls, item): return cls
for name in ("hatchling", "builders", "hooks", "plugin", "interface"):
    path = name if name == "hatchling" else f"{path}.{name}"
    sys.modules[path] = types.ModuleType(path)
sys.modules[path].BuildHookInterface = Base
sys.modules["mpiens"] = None
sys.modules["yaml"] = sys.modules["numpy"] = None
spec = importlib.util.spec_from_file_location("hook", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.get_build_hook()(sys.argv[2]).initialize("standard", {})
"""


def test_the_hook_needs_neither_mpiens_nor_its_other_dependencies(tmp_path: Path) -> None:
    (tmp_path / "mpiens").mkdir()
    script = Path(mpiens.spec.__path__[0]) / "build_schema.py"
    subprocess.run([sys.executable, "-c", HOOK, str(script), str(tmp_path)], check=True, timeout=120)
    assert (tmp_path / "mpiens" / "spec.schema.json").read_text() == schema_text()


def test_reading_specs_does_not_import_the_builder() -> None:
    code = "import sys, mpiens.spec, mpiens.spec.build_schema; sys.exit('hatchling' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
