"""Messages as plain tuples, which pickle several times faster than dataclasses do."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from mpiens.messages import (
    Alive,
    Assign,
    Assignment,
    GroupStuck,
    Hurry,
    Left,
    Message,
    Ready,
    Result,
    Results,
    Setup,
    SetupFailed,
    Shutdown,
)
from mpiens.trial import TrialState

_STATES = {int(state): state for state in TrialState}


def _pack_assign(message: Assign) -> tuple[Any, ...]:
    return tuple(map(tuple, message.assignments))


def _unpack_assign(*assignments: tuple[Any, ...]) -> Assign:
    return Assign(tuple(map(Assignment._make, assignments)))


def _pack_results(message: Results) -> tuple[Any, ...]:
    return (message.group, [(r[0], r[1], int(r[2]), *r[3:]) for r in message.results])


def _unpack_results(group: int, results: list[tuple[Any, ...]]) -> Results:
    return Results(group, tuple([Result(r[0], r[1], _STATES[r[2]], *r[3:]) for r in results]))


def _fields(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    names = tuple(kind.__dataclass_fields__)
    if not names:
        return lambda _: ()
    if len(names) == 1:
        return lambda message: (getattr(message, names[0]),)
    return attrgetter(*names)


_PLAIN: tuple[type[Any], ...] = (Setup, Ready, SetupFailed, GroupStuck, Alive, Hurry, Shutdown, Left)
_PACK: dict[type[Any], tuple[str, Callable[[Any], tuple[Any, ...]]]] = {
    Assign: ("Assign", _pack_assign),
    Results: ("Results", _pack_results),
    **{kind: (kind.__name__, _fields(kind)) for kind in _PLAIN},
}
_UNPACK: dict[str, Callable[..., Message]] = {
    "Assign": _unpack_assign,
    "Results": _unpack_results,
    **{kind.__name__: kind for kind in _PLAIN},
}


def to_wire(message: Message) -> tuple[Any, ...]:
    """The message as a tuple of its name and its fields."""
    name, pack = _PACK[type(message)]
    return (name, *pack(message))


def from_wire(data: tuple[Any, ...]) -> Message:
    """The message that `to_wire` made this of."""
    return _UNPACK[data[0]](*data[1:])
