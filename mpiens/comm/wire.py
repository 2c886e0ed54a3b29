"""Messages as plain tuples, which pickle several times faster than dataclasses do.

Assignments and results go column by column: a message has up to hundreds, and rows become columns without a step in
Python for each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from mpiens.messages import (
    Alive,
    Assign,
    Assignment,
    Fence,
    Fenced,
    Finish,
    Finished,
    GroupStuck,
    Hurry,
    Left,
    Message,
    Ready,
    Reported,
    Result,
    Results,
    Seal,
    Sealed,
    Setup,
    SetupFailed,
    Shutdown,
    Verdict,
    WriterFailed,
    WriterSetup,
    Written,
)
from mpiens.trial import TrialState

_STATES = {int(state): state for state in TrialState}
_STATE = Result._fields.index("state")
# A named tuple's own way of making one is a function in Python.
_new_assignment = functools.partial(tuple.__new__, Assignment)
_new_result = functools.partial(tuple.__new__, Result)


def _pack_assign(message: Assign) -> tuple[Any, ...]:
    return tuple(zip(*message.assignments, strict=True))


def _unpack_assign(*columns: tuple[Any, ...]) -> Assign:
    return Assign(tuple(map(_new_assignment, zip(*columns, strict=True))))


def _pack_results(message: Results | Written) -> tuple[Any, ...]:
    columns = list(zip(*message.results, strict=True))
    if columns:
        columns[_STATE] = tuple(map(int, columns[_STATE]))
    return (message.group, *columns)


def _unpack_rows(*columns: tuple[Any, ...]) -> tuple[Result, ...]:
    if not columns:
        return ()
    states = map(_STATES.__getitem__, columns[_STATE])
    rows = zip(*columns[:_STATE], states, *columns[_STATE + 1 :], strict=True)
    return tuple(map(_new_result, rows))


def _unpack_results(group: int, *columns: tuple[Any, ...]) -> Results:
    return Results(group, _unpack_rows(*columns))


def _unpack_written(group: int, *columns: tuple[Any, ...]) -> Written:
    return Written(group, _unpack_rows(*columns))


def _fields(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    names = tuple(kind.__dataclass_fields__)
    if not names:
        return lambda _: ()
    if len(names) == 1:
        return lambda message: (getattr(message, names[0]),)
    return attrgetter(*names)


_PLAIN: tuple[type[Any], ...] = (
    Setup,
    Ready,
    SetupFailed,
    Reported,
    Verdict,
    GroupStuck,
    Alive,
    Hurry,
    Shutdown,
    Left,
    WriterSetup,
    Fence,
    Fenced,
    Seal,
    Sealed,
    Finish,
    Finished,
    WriterFailed,
)
_PACK: dict[type[Any], tuple[str, Callable[[Any], tuple[Any, ...]]]] = {
    Assign: ("Assign", _pack_assign),
    Results: ("Results", _pack_results),
    Written: ("Written", _pack_results),
    **{kind: (kind.__name__, _fields(kind)) for kind in _PLAIN},
}
_UNPACK: dict[str, Callable[..., Message]] = {
    "Assign": _unpack_assign,
    "Results": _unpack_results,
    "Written": _unpack_written,
    **{kind.__name__: kind for kind in _PLAIN},
}


def to_wire(message: Message) -> tuple[Any, ...]:
    """The message as a tuple of its name and its fields."""
    name, pack = _PACK[type(message)]
    return (name, *pack(message))


def from_wire(data: tuple[Any, ...]) -> Message:
    """The message that `to_wire` made this of."""
    return _UNPACK[data[0]](*data[1:])
