"""What pydantic finds wrong, in plain words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from mpiens.errors import SpecError
from mpiens.space.values import nearest, shown
from mpiens.spec.schema import Spec

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing",
}


def plain_problems(error: ValidationError) -> list[SpecError]:
    """One `SpecError` for each problem, without file and line."""
    return [_plain(dict(item)) for item in error.errors(include_url=False)]


def _plain(item: dict[str, Any]) -> SpecError:
    location = [str(part) for part in item["loc"] if part != "[key]"]
    kind, found, context = item["type"], item.get("input"), item.get("ctx") or {}
    if kind == "extra_forbidden":
        return SpecError(_unknown_key(location), key=".".join(location))
    if kind == "value_error":
        text = str(context["error"])
        if text.startswith("expected") and not isinstance(found, BaseModel | dict):
            text += f", found {shown(found)}"
        return SpecError(text, key=".".join(location))
    if kind == "missing":
        problem = "is missing"
        field = Spec.model_fields.get(location[-1]) if len(location) == 1 else None
        if field is not None and field.description:
            problem += f": {field.description[0].lower()}{field.description[1:]}"
    elif kind == "literal_error":
        expected = context["expected"].replace("'", "")
        hint = nearest(found, expected.replace(" or ", ", ").split(", ")) if isinstance(found, str) else ""
        problem = f"expected {expected}, found {shown(found)}{hint}"
    elif kind in ("greater_than_equal", "less_than_equal"):
        word, bound = ("at least", context.get("ge")) if "ge" in context else ("at most", context.get("le"))
        problem = f"must be {word} {bound}, found {shown(found)}"
    elif kind in ("too_short", "string_too_short"):
        problem = "must not be empty"
    elif kind in _EXPECTED:
        problem = f"expected {_EXPECTED[kind]}, found {shown(found)}"
    else:
        problem = f"{item['msg']}, found {shown(found)}"
    return SpecError(problem, key=".".join(location))


def _unknown_key(location: list[str]) -> str:
    model: type[BaseModel] = Spec
    for part in location[:-1]:
        inner = _part_model(model, part)
        if inner is None:
            return "unknown key"
        model = inner
    valid = [field.alias or name for name, field in model.model_fields.items()]
    hint = nearest(location[-1], valid)
    if not hint:
        homes = [name for name in Spec.model_fields if location[-1] in _keys(_part_model(Spec, name))]
        hint = f"; did you mean '{homes[0]}.{location[-1]}'?" if homes else f"; known here: {', '.join(valid)}"
    return f"unknown key{hint}"


def _part_model(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    annotation: Any = None if field is None else field.annotation
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((found for found in candidates if isinstance(found, type) and issubclass(found, BaseModel)), None)


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else list(model.model_fields)
