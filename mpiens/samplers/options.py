"""The sampler's own keyword arguments, and libraries that may not be installed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any

from mpiens.errors import SpecError
from mpiens.space.values import nearest, shown

_SEEDS = ("seed", "random_state", "random_seed")


def arguments(function: Callable[..., Any], without: Collection[str] = ()) -> list[str]:
    """Names of the keyword arguments that a function takes."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in kinds and p.name not in ("self", *without)]


def check_options(
    algorithm: str, options: Mapping[str, Any], known: Collection[str], key: str = "search.options"
) -> None:
    """Accept options whose names the sampler knows; they stand in the spec below `key`.

    Raises:
        SpecError: It does not know one; the error names the nearest.
    """
    for name in options:
        if name not in known:
            hint = nearest(name, known) or f"; options: {', '.join(known) or 'none'}"
            if name in _SEEDS and key == "search.options":
                hint = ": its seed is made from `seed` of the spec, beside `name`"
            raise SpecError(f"{algorithm} has no such option{hint}", key=f"{key}.{name}")


def check_choice(value: object, known: Collection[str], option: str) -> str:
    """`value` of this option, if it is one of the known ones.

    Raises:
        SpecError: It is not; the error names the nearest.
    """
    if not isinstance(value, str) or value not in known:
        raise SpecError(
            f"expected one of {', '.join(known)}, found {shown(value)}{nearest(value, known)}",
            key=f"search.options.{option}",
        )
    return value


def check_count(value: object, least: int, option: str) -> int:
    """`value` of this option, if it is a whole number, and not below `least`.

    Raises:
        SpecError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(
            f"expected a whole number from {least} on, found {shown(value)}", key=f"search.options.{option}"
        )
    return value


def with_defaults(algorithm: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """All options of an algorithm whose options are those that `defaults` names.

    Raises:
        SpecError: One is not among them.
    """
    check_options(algorithm, options, defaults)
    return {**defaults, **options}


def library(module: str, algorithm: str, extra: str) -> ModuleType:
    """An optional library.

    Raises:
        SpecError: It is not installed; the error says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SpecError(
            f"{algorithm} needs a library that is not installed ({error}): pip install 'mpiens[{extra}]'",
            key="search.algorithm",
        ) from error


def refused(
    algorithm: str,
    error: Exception,
    options: Mapping[str, Any],
    key: str = "search.options",
    is_in_use: bool = False,
) -> SpecError:
    """What is to be raised when the library refuses these options with `error`.

    Args:
        algorithm: The sampler or pruner.
        error: The library's own.
        options: Those that were given; where there is one, it is to blame.
        key: Where they stand in the spec.
        is_in_use: The library has taken them, and failed when it used them.
    """
    given = ", ".join(f"{name}: {shown(value)}" for name, value in options.items())
    verb, cause = ("cannot work with", f"{type(error).__name__}: {error}") if is_in_use else ("refuses", str(error))
    place = f"{key}.{next(iter(options))}" if len(options) == 1 else key
    return SpecError(f"{algorithm} {verb} these options{f' ({given})' if given else ''}: {cause}", key=place)
