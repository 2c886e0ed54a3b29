"""Commands: what runs for a trial, and how a trial's values come into it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

WORDS = ("params_json", "params_file", "trial", "attempt", "seed", "directory", "ranks", "threads", "folder")
"""Placeholders besides the names of parameters."""


@dataclass(frozen=True)
class Command:
    """What to run for one trial; what `model.prepare` returns.

    Args:
        argv: Program and arguments. They reach the program as they are, never through a shell.
        env: Variables besides those of the job.
        cwd: Working directory; None: the trial's own.
        ranks: MPI ranks to start it on; None: as `model.ranks` says.
        threads: Threads of each rank, as OMP_NUM_THREADS; None: as `model.threads` says.
        stdin: What the program can read from its standard input; None: nothing.
    """

    argv: Sequence[str | Path]
    env: Mapping[str, str] | None = None
    cwd: str | Path | None = None
    ranks: int | None = None
    threads: int | None = None
    stdin: str | bytes | None = None


def placeholders(template: str) -> list[str]:
    """Names in braces.

    Raises:
        ValueError: A brace stands alone.
    """
    found = []
    for match in _PLACEHOLDER.finditer(template):
        if match[0] in "{}":
            raise ValueError(f"{template!r}: a single {match[0]!r}; write {match[0] * 2} for a brace")
        if match[1] is not None:
            found.append(match[1])
    return found


def fill(template: str, value_of: Callable[[str], str]) -> str:
    """The template with every ``{name}`` replaced by its value, and ``{{`` and ``}}`` by a brace."""
    return _PLACEHOLDER.sub(lambda match: match[0][0] if match[1] is None else value_of(match[1]), template)


def as_argument(value: object) -> str:
    """A parameter's value as text: numbers to their last digit, anything nested as JSON."""
    value = _plain(value)
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    return as_json(value)


def as_json(value: object) -> str:
    """`value` in JSON, with NumPy's types as numbers and lists, and NaN, which JSON does not have, as null.

    Raises:
        ValueError: It holds an infinite number.
    """
    return json.dumps(_without_nan(_plain(value)), allow_nan=False, ensure_ascii=False)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return _plain(value.tolist())
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    if isinstance(value, float) and math.isinf(value):
        raise ValueError("an infinite number cannot be written in JSON")
    return None if isinstance(value, float) and math.isnan(value) else value


def anchored(argv: Sequence[str], folder: Path) -> Iterator[str]:
    """Relative paths made absolute: arguments that name a file in the spec's folder, since programs run elsewhere.

    The program itself is a path where it has a slash; a bare name is looked up by the system.
    """
    for index, template in enumerate(argv):
        is_path = "/" in template if index == 0 else bool(template) and (folder / template).is_file()
        # Joined as text, because pathlib would tidy up what is in the braces.
        yield f"{folder}/{template.removeprefix('./')}" if is_path and not template.startswith(("/", "{")) else template
