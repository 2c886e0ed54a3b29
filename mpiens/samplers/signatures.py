"""Values of options against the signature of what takes them: libraries look at many of them late, or never."""

from __future__ import annotations

import collections.abc
import inspect
import json
import math
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from mpiens.errors import SpecError
from mpiens.space.values import nearest, shown

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "nothing",
    list: "a list",
    tuple: "a list",
    collections.abc.Sequence: "a list",
    dict: "a mapping",
    collections.abc.Mapping: "a mapping",
}
"""What can stand in a spec."""


def check_values(
    options: Mapping[str, Any],
    function: Callable[..., Any],
    key: str = "search.options",
    is_library: bool = True,
    positive: Collection[str] = (),
) -> None:
    """Accept options whose values are of the types that a function's signature gives to its arguments.

    Args:
        options: By name; those that are no arguments of the function are left alone.
        function: What takes them.
        key: Where they stand in the spec.
        is_library: An argument without a type has that of its default; whole numbers count something, and so are not
            negative.
        positive: Arguments that are above 0.

    Raises:
        SpecError: One has another type, or is not finite.
    """
    parameters = inspect.signature(function).parameters
    for name, value in options.items():
        place = f"{key}.{name}"
        if not all(map(math.isfinite, _floats(value))):
            raise SpecError(f"expected finite numbers, found {shown(value)}", key=place)
        if name not in parameters:
            continue
        default = parameters[name].default
        accepted = _types(parameters[name].annotation, function)
        if accepted is None and is_library and type(default) in (bool, int, float, str):
            accepted = [type(default)]
        if accepted is None or not (accepted or is_library):
            continue
        _check(value, accepted, place)
        if name in positive and value is not None and value <= 0:
            raise SpecError(f"expected a number above 0, found {value}", key=place)
        is_count = is_library and int in accepted and float not in accepted
        if is_count and isinstance(value, int) and value < 0 and value != default:
            raise SpecError(f"expected a whole number from 0 on, found {value}", key=place)


def _check(value: Any, accepted: list[Any], place: str) -> None:
    plain = [kind for kind in accepted if kind is Any or (get_origin(kind) or kind) in (*_WORDS, Literal)]
    if value is None and not plain:
        return
    if plain in ([], [type(None)]) and value is not None:
        raise SpecError(f"takes an object of Python, which a spec cannot hold, found {shown(value)}", key=place)
    kind: Any = Union[tuple(plain)]  # noqa: UP007 - made of what is known at run time only
    try:
        # As JSON: what a spec holds has no tuples, and a text is no number.
        TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError:
        words = [word for kind in plain if kind is not type(None) for word in _words(kind)]
        expected = " or ".join(dict.fromkeys(words))
        raise SpecError(f"expected {expected}, found {shown(value)}{nearest(value, words)}", key=place) from None


def _words(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    return [_WORDS[get_origin(kind) or kind]]


def _types(annotation: Any, function: Callable[..., Any]) -> list[Any] | None:
    """The types that an argument may have; none at all where they are imported for type checkers only, as classes are.

    None: the signature does not say.
    """
    if annotation is inspect.Parameter.empty:
        return None
    home = sys.modules.get(getattr(function, "__module__", None) or "", typing)
    names = {**vars(typing), **vars(collections.abc), **vars(home)}
    try:
        kind = typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
    except (NameError, AttributeError, TypeError, SyntaxError):
        return []
    return list(get_args(kind)) if get_origin(kind) in (Union, types.UnionType) else [kind]


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _floats(item)
    elif isinstance(value, list):
        for item in value:
            yield from _floats(item)
