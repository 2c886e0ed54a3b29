"""Writes the tables of the reference from the code, so that they cannot drift from it.

Before Sphinx reads the pages, ``spec.md`` and ``cli.md`` are written to ``_build/generated``; pages of the reference
include them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx

from mpiens.cli import PLANNED, verbs
from mpiens.spec import available, quantities
from mpiens.spec.algorithms import ALGORITHMS
from mpiens.spec.schema import ALIASES, Spec

_NAMED_TYPES = (
    (quantities.AutoDuration, "duration, or `auto`"),
    (quantities.Duration, "duration"),
    (quantities.Memory, "memory"),
    (quantities.Target, "function"),
    (quantities.Name, "name"),
)
_PLAIN_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
}
Schema = dict[str, Any]


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "_build" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("spec.md", _spec_page()), ("algorithms.md", _algorithms()), ("cli.md", _cli_page())):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _spec_page() -> Iterator[str]:
    parts: list[tuple[str, type[BaseModel]]] = []
    yield from _heading("Top level")
    for name, field in Spec.model_fields.items():
        part = _part_model(field)
        if part is not None:
            parts.append((name, part))
        yield _row(name, field, Spec, f"[`{name}`](#{name})" if part is not None or name == "space" else f"`{name}`")
    for name, part in parts:
        yield from ("", *_heading(f"`{name}`"))
        for field_name, field in part.model_fields.items():
            key = field.alias or field_name
            yield _row(f"{name}.{key}", field, part, f"`{key}`")


def _heading(title: str) -> Iterator[str]:
    yield from (f"### {title}", "", "| key | type | default | meaning |", "|---|---|---|---|")


def _row(path: str, field: FieldInfo, owner: type[BaseModel], label: str) -> str:
    meaning = field.description or ""
    note = _unavailable(path)
    cells = (label, _type(field, owner), _default(field), f"{meaning}{note}")
    return _table_row(cells)


def _table_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def _part_model(field: FieldInfo) -> type[BaseModel] | None:
    candidates = [field.annotation, *get_args(field.annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _type(field: FieldInfo, owner: type[BaseModel]) -> str:
    if _part_model(field) is not None:
        return "mapping"
    properties: Schema = owner.model_json_schema()["properties"]
    name = next(n for n, f in owner.model_fields.items() if f is field)
    return _words(properties[field.alias or name])


def _words(schema: Schema) -> str:
    """A JSON Schema in plain words."""
    if "anyOf" in schema:  # None may be the default, but is nothing to write into a spec
        schema = schema | {"anyOf": [option for option in schema["anyOf"] if option.get("type") != "null"]}
    for kind, words in _NAMED_TYPES:
        known: Schema = TypeAdapter(kind).json_schema()
        if all(schema.get(key) == value for key, value in known.items()):
            return words
    if "anyOf" in schema:
        found = [_words(option) for option in schema["anyOf"]]
        return " or ".join(dict.fromkeys(found))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    words = _PLAIN_TYPES.get(schema.get("type", ""), "any")
    if "minimum" in schema:
        words += f" ≥ {schema['minimum']}"
    items = schema.get("items") or schema.get("additionalProperties")
    if isinstance(items, dict) and items:
        words += f" of {_words(items)}"
    return words


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if default is None or default == "" or isinstance(default, BaseModel):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}s`"
    return f"`{default}`"


def _unavailable(path: str) -> str:
    """What this version does not do about a key."""
    python_path = path if path in available.UNAVAILABLE_KEYS else f"{path}_"
    if python_path in available.UNAVAILABLE_KEYS:
        return ". **Not yet**: refused"
    if path in available.UNAVAILABLE_VALUES:
        return f". **Partly not yet**: {available.UNAVAILABLE_VALUES[path][1]}"
    if path == "job" and "jobscript" in PLANNED:
        return ". **Not yet**: checked, and not used"
    return ""


def _algorithms() -> Iterator[str]:
    names = ", ".join(f"`{name}`" for name in ALGORITHMS)
    yield f"Algorithms: {names}, and a class of your own, `my_module.py:MySampler`."
    others = (f"`{name}` is `{_as_yaml(meaning)}`" for name, meaning in ALIASES.items())
    yield f"Other names: {', '.join(others)}."


def _as_yaml(meaning: Mapping[str, object]) -> str:
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in meaning.items()).replace('"', "")


def _cli_page() -> Iterator[str]:
    context = click.Context(verbs, info_name="mpiens")
    for name in verbs.list_commands(context):
        command = verbs.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(("mpiens", name, *command.collect_usage_pieces(inner)))
        yield from ("", f"## {name}", "", f"`{usage}`", "", command.help or "", "")
        yield from ("| parameter | values | meaning |", "|---|---|---|")
        for parameter in command.get_params(inner):
            yield _parameter(parameter, inner)
    yield from ("", "## Not there yet", "")
    listed = ", ".join(f"`{name}`" for name in PLANNED)
    yield f"These verbs belong to the interface; this version answers each with an error: {listed}."


def _parameter(parameter: click.Parameter, context: click.Context) -> str:
    values, meaning = "", "required" if parameter.required else "optional"
    if isinstance(parameter, click.Argument):
        label = f"`{parameter.human_readable_name}`"
    else:
        assert isinstance(parameter, click.Option)
        label = ", ".join(f"`{name}`" for name in parameter.opts)
        meaning = parameter.help or ""
        if not parameter.is_flag:
            values = f"`{parameter.make_metavar(context)}`"
    return _table_row((label, values, meaning))
