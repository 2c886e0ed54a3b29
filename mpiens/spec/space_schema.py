"""The `space` part of the JSON Schema, which pydantic does not see: its form is checked by `mpiens.space`."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_NUMBER: Schema = {"type": "number"}
_SCALAR: Schema = {"type": ["number", "string", "boolean"]}
_PLAIN: Schema = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}
_CHOICES: Schema = {"type": "array", "items": _PLAIN, "minItems": 1}


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _three(description: str) -> Schema:
    return {"type": "array", "items": _NUMBER, "minItems": 3, "maxItems": 3, "description": description}


def _operands(description: str, count: int | None = None) -> Schema:
    content: Schema = {"type": "array", "items": {"$ref": "#/$defs/Space"}, "description": description, "minItems": 1}
    if count is not None:
        content |= {"minItems": count, "maxItems": count}
    return {"anyOf": [content, {"$ref": "#/$defs/Domain"}]}


_RANGE = _object(
    {
        "low": _NUMBER | {"description": "Lower bound, included"},
        "high": _NUMBER | {"description": "Upper bound, included"},
        "log": {"type": "boolean", "description": "Search by logarithm"},
        "step": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Distance of neighbours; makes it a grid axis",
        },
        "type": {"enum": ["int", "float"], "description": "int when both bounds are ints"},
    },
    "low",
    "high",
)
_LISTS = [
    _object({"range": _three("start, stop, step; without stop")}, "range"),
    _object({"linspace": _three("a, b, n: n values from a to b")}, "linspace"),
    _object({"logspace": _three("a, b, n: n values from 10**a to 10**b")}, "logspace"),
    _object({"values": _CHOICES}, "values"),
]

DEFINITIONS: dict[str, Schema] = {
    "Domain": {
        "description": "The values of one parameter: a range, a list, or one value",
        "anyOf": [_SCALAR, _CHOICES, _RANGE, *_LISTS],
    },
    "Space": {
        "description": "Parameters and their values, or an expression that gives points",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[^/]+$"},
        "properties": {
            "product": _operands("Every point of each with every point of the others"),
            "concat": _operands("The points of all, one after the other; missing values are NaN"),
            "subtract": _operands("The points of the first that are not in the second", 2),
            "missing": _operands("The same; parameters that only the second has are ignored", 2),
            "zip": {
                "anyOf": [
                    {
                        "type": "object",
                        "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _PLAIN}]},
                        "description": "Parameters that vary together",
                    },
                    {"$ref": "#/$defs/Domain"},
                ]
            },
            "points": {
                "anyOf": [
                    {"type": "string", "description": "A .csv or .json file of points"},
                    {"$ref": "#/$defs/Domain"},
                ]
            },
        },
        "additionalProperties": {"$ref": "#/$defs/Domain"},
    },
}
"""Go into the schema's ``$defs``."""
