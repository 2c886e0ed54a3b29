"""What this version does not act on yet, as data: a part that is valid here is refused rather than ignored.

Whoever builds a feature removes its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import BaseModel

from mpiens.errors import SpecError, UnavailableError
from mpiens.spec.load import LoadedSpec, combined
from mpiens.spec.schema import Spec

UNAVAILABLE_KEYS: tuple[str, ...] = ()
"""Refused when they stand in the spec with anything but their default."""

UNAVAILABLE_VALUES: dict[str, tuple[Callable[[Spec], bool], str]] = {
    "job": (lambda spec: spec.job is not None, "remove it; it is for job scripts, which come later"),
}
"""Refused when the condition holds; and what to do instead."""


def check_available(loaded: LoadedSpec) -> None:
    """Refuse what is valid but not acted on.

    Raises:
        UnavailableError: There is such a part; the error lists them all.
    """
    problems = [loaded.located(problem) for problem in _problems(loaded.spec)]
    if problems:
        raise combined(problems)


def _problems(spec: Spec) -> Iterator[SpecError]:
    for path in UNAVAILABLE_KEYS:
        part_name, field = path.split(".")
        part: BaseModel = getattr(spec, part_name)
        if field in part.model_fields_set and getattr(part, field) != type(part).model_fields[field].default:
            yield _unavailable(path.removesuffix("_"), "remove it")
    for path, (applies, mend) in UNAVAILABLE_VALUES.items():
        if applies(spec):
            yield _unavailable(path, mend)


def _unavailable(key: str, mend: str) -> UnavailableError:
    return UnavailableError(f"valid, but this version of mpiens does not act on it yet; {mend}", key=key)
