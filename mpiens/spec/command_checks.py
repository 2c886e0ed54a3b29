"""What can be said of a command before it runs."""

from __future__ import annotations

import re

from mpiens.arithmetic import Arithmetic
from mpiens.command import WORDS, placeholders
from mpiens.errors import SpecError
from mpiens.space import Space
from mpiens.space.values import nearest
from mpiens.spec.schema import Spec


def check_command(spec: Spec, space: Space) -> None:
    """Placeholders, ranks, pattern, and keys that do not go with a command.

    Raises:
        SpecError: Something of it is wrong.
    """
    model = spec.model
    if model.isolation == "process":
        raise SpecError("a command has a process of its own anyway; remove it", key="model.isolation")
    if model.mechanisms is not None:
        raise SpecError("mechanisms are loaded by python and netpyne models; remove it", key="model.mechanisms")
    known = [*space.names, *model.fixed]
    _check_placeholders(model.command or [], known)
    if model.ranks is not None:
        _check_ranks(model.ranks, known)
    for kind, text in (model.result or {}).items():
        if kind == "regex":
            _check_pattern(text)


def _check_placeholders(argv: list[str], known: list[str]) -> None:
    for template in argv:
        try:
            names = placeholders(template)
        except ValueError as error:
            raise SpecError(str(error), key="model.command") from None
        for name in names:
            if name not in known and name not in WORDS:
                raise SpecError(
                    f"{{{name}}} is no parameter{nearest(name, [*known, *WORDS])}; "
                    "write {{ and }} for braces that are meant",
                    key="model.command",
                )


def _check_ranks(ranks: int | str, known: list[str]) -> None:
    try:
        names = Arithmetic(str(ranks)).names
    except ValueError as error:
        raise SpecError(str(error), key="model.ranks") from None
    for name in names:
        if name not in known:
            raise SpecError(f"{ranks!r}: {name} is no parameter{nearest(name, known)}", key="model.ranks")


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise SpecError(f"{pattern!r} is no regular expression: {error}", key="model.result.regex") from None
