"""YAML as plain Python data, with the line of everything in it.

The reader follows the core schema of YAML 1.2, where ``1e-3`` is a number and ``no`` and ``12:30`` are texts. It builds
the data from PyYAML's events itself: so it can refuse a key that stands twice, knows every line, and stops at aliases
that multiply without end. Keys are always texts, just as they are written.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from mpiens.errors import SpecError

MAX_DEPTH = 60
MAX_COPIES = 200_000
"""Most values that aliases may add."""

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")
_PREFIX = "tag:yaml.org,2002:"
_MAX_DIGITS = 1000

_PLAIN_WORDS = (
    ("'\\t'", "a tab is used here; YAML wants spaces"),
    ("mapping values are not allowed", "': ' is not possible here: check the indentation, or quote the text"),
    ("could not find expected ':'", "a key without ': ' and a value, or a wrong indentation"),
    ("expected <block end>", "the indentation does not match the lines above"),
    ("expected ',' or ']'", "a list that is opened with '[' is not closed, or a ',' is missing"),
    ("expected ',' or '}'", "a mapping that is opened with '{' is not closed, or a ',' is missing"),
    ("found unexpected end of stream", "the file ends inside a quoted text"),
    ("cannot start any token", "this character must be quoted"),
)


@dataclass(frozen=True, slots=True)
class YamlTree:
    """A YAML document.

    Attributes:
        data: Mappings with text keys, lists, and scalars.
        lines: Line of each value by its dotted path, from 1.
    """

    data: Any
    lines: dict[str, int] = field(default_factory=dict)


def read_yaml(text: str, file: str) -> YamlTree:
    """The only document in `text`.

    Raises:
        SpecError: It is no YAML, empty, or more than a plain tree; the error has `file` and a line.
    """
    try:
        return _Reader(text, file).read()
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1 if isinstance(error.position, int) else None
        raise SpecError(f"not valid YAML: a control character, {error.character!r}", file, line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(f"not valid YAML: {_plain(error)}", file, mark.line + 1 if mark else None) from None


def read_scalar(text: str) -> Any:
    """What a plain, unquoted text means.

    Raises:
        ValueError: It is a number that is too long to be meant.
    """
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"a number of {len(text)} digits")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL.fullmatch(text)
    return float(special[1] + special[2].lower()) if special else text


def write_yaml(data: Any) -> str:
    """YAML that `read_yaml` reads as the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Quoted unless it reads as text in YAML 1.1 (PyYAML's own rule) and in 1.2 (this module's).
    try:
        is_text = isinstance(read_scalar(text), str)
    except ValueError:
        is_text = False
    return dumper.represent_scalar(_PREFIX + "str", text, style=None if is_text else "'")


_Dumper.add_representer(str, _represent_text)


def _plain(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(part for part in (error.problem, error.context) if part)
    return next((words for sign, words in _PLAIN_WORDS if sign in problem), problem)


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._file = file
        self._lines: dict[str, int] = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._copies = 0
        self._count = 0

    def read(self) -> YamlTree:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise SpecError("the file is empty", self._file)
        data = self._value(next(self._events), "", 0)
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error("a second document begins here; only one is possible", after)
        return YamlTree(data, self._lines)

    def _error(self, problem: str, event: yaml.Event, path: str | None = None) -> SpecError:
        return SpecError(problem, self._file, _line(event), path or None)

    def _value(self, event: yaml.Event, path: str, depth: int) -> Any:
        if path and path not in self._lines:
            self._lines[path] = _line(event)
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        before = self._count
        self._count += 1
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, "seq", path)
            value = self._sequence(path, depth)
        else:
            self._check_tag(event, "map", path)
            value = self._mapping(path, depth)
        anchor = getattr(event, "anchor", None)
        if anchor:
            self._anchors[anchor] = (value, self._count - before)
        return value

    def _alias(self, event: yaml.AliasEvent, path: str) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(f"no anchor &{event.anchor} is complete before this *{event.anchor}", event, path)
        value, size = self._anchors[event.anchor]
        self._copies += size
        self._count += size
        if self._copies > MAX_COPIES:
            raise self._error(f"aliases multiply this file to more than {MAX_COPIES:,} values", event, path)
        return copy.deepcopy(value)

    def _sequence(self, path: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, _join(path, str(len(items))), depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error("a key must be a plain text", event, path)
            key, line = event.value, _line(event)
            here = _join(path, key)
            if key in seen:
                raise self._error(f"stands twice; first in line {seen[key]}", event, here)
            seen[key] = self._lines[here] = line
            value = self._value(next(self._events), here, depth + 1)
            if key == "<<" and event.style is None:
                merged = self._merged(value, event, path)
            else:
                found[key] = value
        return merged | found if merged else found

    def _merged(self, value: Any, event: yaml.Event, path: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise self._error("'<<' takes a mapping or a list of mappings", event, path)
            merged = source | merged
        return merged

    def _scalar(self, event: yaml.ScalarEvent, path: str) -> Any:
        tag = (event.tag or "").removeprefix(_PREFIX)
        if event.tag == "!":
            return event.value
        if event.tag is None:
            if not event.implicit[0]:
                return event.value
            try:
                return read_scalar(event.value)
            except ValueError as error:
                raise self._error(str(error), event, path) from None
        if tag == "str":
            return event.value
        try:
            value = read_scalar(event.value)
        except ValueError as error:
            raise self._error(str(error), event, path) from None
        if tag == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        types = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if type(value) is not types.get(tag):
            raise self._error(f"the tag !!{tag} is unknown, or does not fit {event.value!r}", event, path)
        return value

    def _check_tag(self, event: Any, expected: str, path: str) -> None:
        if event.tag not in (None, "!", _PREFIX + expected):
            raise self._error(f"the tag {event.tag!r} is not possible here", event, path)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
