"""What went wrong in the user's code, and where, in one line."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from pathlib import Path

from mpiens.errors import MpiensError

_PACKAGE_DIR = str(Path(__file__).resolve().parent) + os.sep
_STDLIB_DIRS = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) + os.sep
    for name in ("stdlib", "platstdlib")
    if sysconfig.get_path(name)
)
_MESSAGE_LIMIT = 400


def describe_exception(error: BaseException, folder: str) -> str:
    """One line about `error`: where in the user's code, type and text, such as ``model.py:12: ValueError: text``.

    Args:
        error: With its traceback, if it has been raised.
        folder: The user's folder. The deepest frame in it is named, relative to it; otherwise the deepest frame outside
            of mpiens and Python itself.
    """
    place = _place(error, folder)
    text = " ".join(_text(error).split())
    if len(text) > _MESSAGE_LIMIT:
        text = f"{text[: _MESSAGE_LIMIT - 40]} ... {text[-30:]}"
    if isinstance(error, MpiensError):
        # Written for people already; its class says nothing more.
        return f"{place}: {text}" if place and text else place or text or type(error).__name__
    kind = type(error).__name__
    if text:
        kind += f": {text}"
    elif place and (source := _source_line(error, folder)):
        kind += f" ({source})"
    return f"{place}: {kind}" if place else kind


def _place(error: BaseException, folder: str) -> str:
    frame = _deepest_frame(error, folder)
    return "" if frame is None else f"{_relative(frame[0], folder)}:{frame[1]}"


def _deepest_frame(error: BaseException, folder: str) -> tuple[str, int] | None:
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return error.filename, error.lineno
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    foreign = [frame for frame in frames if not _is_ours_or_pythons(frame[0])]
    inside = [frame for frame in foreign if is_within(frame[0], folder)]
    # An error that mpiens itself raises about a trial has no place, unless the user's code has called for it.
    chosen = inside or ([] if isinstance(error, MpiensError) else foreign)
    return chosen[-1] if chosen else None


def is_within(path: str, folder: str) -> bool:
    """True when `path` belongs to the user's `folder`: below it, and not in an environment that lies there."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return (
        path.startswith(folder.rstrip(os.sep) + os.sep)
        and "site-packages" not in path
        and not path.startswith(_PACKAGE_DIR)
        and not (sys.prefix != folder and path.startswith(os.path.realpath(sys.prefix) + os.sep))
    )


def _is_ours_or_pythons(filename: str) -> bool:
    if filename.startswith("<"):
        return True
    path = os.path.realpath(filename)
    return path.startswith(_PACKAGE_DIR) or (path.startswith(_STDLIB_DIRS) and "site-packages" not in path)


def _relative(filename: str, folder: str) -> str:
    path, base = os.path.realpath(filename), os.path.realpath(folder).rstrip(os.sep) + os.sep
    return path[len(base) :] if path.startswith(base) else filename


def _text(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg or ""
    if isinstance(error, KeyError) and len(error.args) == 1:
        return repr(error.args[0])
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"(its message cannot be formed: {type(broken).__name__})"
    # NEURON puts its own function's name before the reason.
    return text.removeprefix("hocobj_call error: ").removeprefix("hoc_execerror: ")


def _source_line(error: BaseException, folder: str) -> str:
    frame = _deepest_frame(error, folder)
    return "" if frame is None else linecache.getline(*frame).strip()[:120]
