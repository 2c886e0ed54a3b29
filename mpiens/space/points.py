"""Points from a file: ``points: points.csv`` or ``.json``."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from mpiens.errors import SpecError
from mpiens.space.algebra import Param
from mpiens.space.sources import NAN
from mpiens.space.values import check_name, check_width, is_plain, shown, similar_files

SUFFIXES = (".csv", ".json")

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(inf|nan)", re.IGNORECASE)


def read_points(path: Path, key: str) -> Param:
    """The points in a file.

    A .csv file has the parameters' names in its first line and a point in each further one. Whole numbers stay
    whole numbers, ``007`` and whatever else is no number stays text, and an empty field is NaN. A .json file holds
    a list of objects, one a point, or one object of columns.

    Raises:
        SpecError: There is no such file (the error's key is `key`), or it is not of this form (the error names file
            and line).
    """
    try:
        if path.exists() and not path.is_file():
            raise SpecError(f"cannot read {path}: not a regular file", key=key)
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"no such file: {path}{similar_files(path)}", key=key) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not a text in UTF-8: {error.reason} at byte {error.start}", path, key=key) from None
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", key=key) from None
    rows = _csv_columns(text, path) if path.suffix.lower() == ".csv" else _json_columns(text, path)
    return Param(rows)


def _csv_columns(text: str, path: Path) -> dict[str, list[Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    names: list[str] = []
    columns: list[list[Any]] = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if not names:
                names = _header([field.strip() for field in fields], path, reader.line_num)
                columns = [[] for _ in names]
                continue
            if len(fields) != len(names):
                raise SpecError(
                    f"expected {len(names)} fields, as in the first line, found {len(fields)}", path, reader.line_num
                )
            for column, field in zip(columns, fields, strict=True):
                try:
                    column.append(check_width(_value(field.strip()), ""))
                except SpecError as error:
                    raise SpecError(error.problem, path, reader.line_num) from None
    except csv.Error as error:
        raise SpecError(f"not valid CSV: {error}", path, reader.line_num) from None
    if not names:
        raise SpecError("the file is empty; its first line must name the parameters", path)
    return dict(zip(names, columns, strict=True))


def _header(names: list[str], path: Path, line: int) -> list[str]:
    for index, name in enumerate(names):
        try:
            check_name(name, "")
        except SpecError as error:
            raise SpecError(error.problem, path, line) from None
        if name in names[:index]:
            raise SpecError(f"two columns are named {name!r}", path, line)
    if len(names) == 1 and re.search(r"[;\t]", names[0]):
        raise SpecError("fields must be separated by commas", path, line)
    return names


def _value(field: str) -> int | float | str:
    if not field:
        return NAN
    if _INTEGER.fullmatch(field):
        return int(field[:4000])  # Python reads no more digits; so many are refused in any case.
    # A number such as 007 is a label more often than a number.
    if _FLOAT.fullmatch(field) and not re.fullmatch(r"[-+]?0[0-9]+", field):
        return float(field)
    return field


def _json_columns(text: str, path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise SpecError(f"not valid JSON: {error.msg}", path, error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not valid JSON: {error}", path) from None
    if isinstance(content, list) and content and all(isinstance(point, dict) for point in content):
        names = dict.fromkeys(name for point in content for name in point)
        content = {name: [point.get(name, NAN) for point in content] for name in names}
    if not isinstance(content, dict) or not all(isinstance(column, list) for column in content.values()):
        raise SpecError("expected a list of objects, one for each point, or one object of lists", path)
    for name, column in content.items():
        try:
            check_name(name, "")
        except SpecError as error:
            raise SpecError(error.problem, path) from None
        for index, value in enumerate(column):
            if not is_plain(value):
                raise SpecError(f"point {index}, {name!r}: expected a plain value, found {shown(value)}", path)
            try:
                check_width(value, "")
            except SpecError as error:
                raise SpecError(f"point {index}, {name!r}: {error.problem}", path) from None
    lengths = {len(column) for column in content.values()}
    if len(lengths) > 1:
        raise SpecError(f"the columns differ in length: {sorted(lengths)}", path) from None
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the name {next(name for name in names if names.count(name) > 1)!r} stands twice in an object"
        )
    return found
