"""What a program has said about its trial: exit status, output, results."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpiens.errors import TrialError

_SHOWN_LINES = 3
_SHOWN_CHARACTERS = 300
_LOOKED_AT = 1 << 16

Output = Mapping[str, Any]


def describe_status(status: int) -> str:
    """How a process has ended, from what `os.waitpid` says; empty when all is well."""
    number = status & 0x7F
    if number:
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            return f"killed by signal {number}"
    code = status >> 8
    return f"exit status {code}" if code else ""


def last_words(path: Path) -> str:
    """The last lines of what a program has printed, in one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOOKED_AT))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = " | ".join(lines[-_SHOWN_LINES:])
    return words if len(words) <= _SHOWN_CHARACTERS else f"...{words[-_SHOWN_CHARACTERS:]}"


def read_result(
    result: tuple[str, str] | None, directory: Path, stdout: Output, objective: str | None
) -> dict[str, object]:
    """What the program gave.

    Args:
        result: Kind (marker, file, regex) and text of the spec's `model.result`; None: the last line printed, if there
            is an objective.
        directory: The trial's.
        stdout: What the keeper says about the output, which is in the file `stdout` there.
        objective: Name of a plain number.

    Raises:
        TrialError: There is no result, or it cannot be understood.
    """
    if result is None:
        return {} if objective is None else _from_last_line(directory, objective)
    kind, text = result
    if kind == "file":
        return _from_file(directory / text, objective)
    if kind == "marker":
        return _from_marker(text, directory, stdout, objective)
    return _from_regex(text, directory, stdout, objective)


def _from_last_line(directory: Path, objective: str) -> dict[str, object]:
    path = directory / "stdout"
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise TrialError("the command printed nothing; expected a result in the last line")
    return _understood(lines[-1], "the last line printed", objective)


def _from_marker(marker: str, directory: Path, stdout: Output, objective: str | None) -> dict[str, object]:
    found = None
    for text in _searched(directory, stdout):
        for line in text.splitlines():
            if marker in line:
                found = line.partition(marker)[2]
        if found is not None:
            # "DH-OUTPUT: 0.5" and "loss=0.5" are as clear as a space.
            return _understood(found.strip().lstrip(":=").strip(), f"what follows {marker!r}", objective)
    raise TrialError(_nothing(f"printed no line with {marker!r}", stdout))


def _from_regex(pattern: str, directory: Path, stdout: Output, objective: str | None) -> dict[str, object]:
    for text in _searched(directory, stdout):
        match = None
        for match in re.finditer(pattern, text, re.MULTILINE):  # noqa: B007 - the last one counts
            continue
        if match is None:
            continue
        if match.groupdict():
            return {name: _scalar(value) for name, value in match.groupdict().items() if value is not None}
        value = match[1] if match.re.groups else match[0]
        return _understood(value or "", f"what {pattern!r} matches", objective)
    raise TrialError(_nothing(f"printed nothing that {pattern!r} matches", stdout))


def _from_file(path: Path, objective: str | None) -> dict[str, object]:
    if not path.is_file():
        raise TrialError(f"the command made no file {path}")
    return _understood(_text(path), f"the file {path}", objective)


def _searched(directory: Path, stdout: Output) -> list[str]:
    """The output, or its end alone: where its middle was not kept, the last result may not be in its beginning."""
    return [_text(directory / "stdout", int(stdout["end_at"]))] if stdout["total"] else []


def _nothing(what: str, stdout: Output) -> str:
    if stdout["left_out"]:
        return f"the command {what} in the end of its output; {stdout['left_out']} bytes before that were not kept"
    return f"the command {what}" + ("" if stdout["total"] else ", and nothing else either")


def _text(path: Path, start: int = 0) -> str:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _understood(text: str, place: str, objective: str | None) -> dict[str, object]:
    value = _scalar(text.strip())
    if isinstance(value, dict):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {objective or "value": value}
    shown = text.strip()[:80]
    raise TrialError(f"{place} is {shown!r}; expected a number, or a JSON object of results by name")


def _scalar(text: str) -> Any:
    """JSON, a number in any usual form, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        pass
    # Fortran's exponent.
    try:
        return float(re.sub(r"(?<=[0-9.])[dD](?=[-+0-9])", "e", text))
    except ValueError:
        return text
