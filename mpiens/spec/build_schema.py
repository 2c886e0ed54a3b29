"""The JSON Schema of spec.yaml, and the build hook that puts it into the package as ``mpiens/spec.schema.json``.

Hatchling loads this file by its path, where nothing but hatchling and pydantic is installed. So nothing is imported
from mpiens at the top, and hatchling, which no user needs, only inside the hook.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

SCHEMA_FILE = Path("mpiens", "spec.schema.json")
_BUILD_PACKAGE = "_mpiens_spec_at_build"


def schema_text() -> str:
    """The JSON Schema (draft 2020-12) of spec.yaml."""
    from mpiens.spec import schema, space_schema

    return _schema_text(schema, space_schema)


def get_build_hook() -> type:
    """Hatchling's entry: the class of the hook."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class SchemaHook(BuildHookInterface[Any]):  # type: ignore[misc, unused-ignore]
        """Writes the schema before the files of a wheel or an editable install are gathered."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
            folder = Path(__file__).parent
            text = _schema_text(_sibling(folder, "schema"), _sibling(folder, "space_schema"))
            Path(self.root, SCHEMA_FILE).write_text(text, encoding="utf-8")

    return SchemaHook


def _schema_text(schema: ModuleType, space_schema: ModuleType) -> str:
    content: dict[str, Any] = schema.Spec.model_json_schema()
    content["$defs"] |= space_schema.DEFINITIONS
    content["properties"]["space"] |= {"$ref": "#/$defs/Space"}
    for keyword in ("type", "additionalProperties"):
        del content["properties"]["space"][keyword]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "spec.yaml of mpiens"}
    return json.dumps(head | {key: value for key, value in content.items() if key != "title"}, indent=1) + "\n"


def _sibling(folder: Path, name: str) -> ModuleType:
    """A module beside this one, of a package that stands for mpiens.spec but does not run its ``__init__``."""
    package = ModuleType(_BUILD_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules.setdefault(_BUILD_PACKAGE, package)
    return importlib.import_module(f"{_BUILD_PACKAGE}.{name}")
