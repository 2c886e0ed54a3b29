"""Evaluate a function at every point of a space, in this process or over the ranks of the job.

Under mpiexec rank 0 hands out points and the other ranks evaluate; all get the same columns, or the same error::

    rank n -> rank 0   ("ready", [], 0.0)           takes points
    rank 0 -> rank n   ("points", first, points)    evaluate these; the first has this index
    rank n -> rank 0   ("rows", rows, elapsed_s)    what came of them
    rank n -> rank 0   ("failed", text, elapsed_s)  why one of them has failed
    rank 0 -> all      ("alive",)                   nothing new; said now and then
    rank 0 -> all      ("end", error)               what follows is a broadcast of the columns, unless there is an error
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpiens.comm.backoff import Backoff
from mpiens.environment import rank_by_launcher
from mpiens.errors import EXIT_FAILED, MpiensError, UsageError, WaitTimeout
from mpiens.space import Param

if TYPE_CHECKING:
    from mpiens.comm.mpi import Exchange

Columns = dict[str, list[Any]]
Point = dict[str, Any]
Function = Callable[..., Mapping[str, Any]]

SILENCE_S = 600.0
"""A rank that has said nothing for so long, while something was due from it, is given up."""

_ALIVE_EVERY_S = 60.0
_CHUNK_S = 0.01
"""So much work is handed out at once."""
_LARGEST_CHUNK = 1000


class MapError(MpiensError):
    """The function failed at a point, on some rank; every rank raises it."""


def map_space(
    function: Function, space: Param, exclude: Collection[str] | None = None, *, timeout_s: float | None = None
) -> Columns:
    """Evaluate `function` at every point of `space`.

    Under mpiexec this is collective: call it on every rank. Rank 0 hands out points, the others evaluate, and every
    rank gets all columns.

    Args:
        function: Called with the parameters as keyword arguments; returns a mapping of results by name. A result takes
            the place of a parameter of the same name.
        space: The points.
        exclude: Parameters and results that the columns leave out.
        timeout_s: How long the ranks may take for one point; over it the whole job ends.

    Returns:
        Parameters and results as columns, in the order of the points. A result that a point lacks is None there.

    Raises:
        MapError: Under mpiexec: the function failed on some rank. In one process its own exception is raised.
    """
    if not isinstance(space, Param):
        raise UsageError(f"map_space needs a Param, such as Param(a=[1, 2]); found {type(space).__name__}")
    evaluate = functools.partial(_evaluate, function, frozenset(exclude or ()))
    names = [name for name in space.names if name not in (exclude or ())]
    if rank_by_launcher(os.environ) is None and "mpi4py.MPI" not in sys.modules:
        return _columns(names, map(evaluate, space.iterate()))
    from mpiens.comm.mpi import open_exchange

    exchange = open_exchange()
    if exchange.size == 1:
        return _columns(names, map(evaluate, space.iterate()))
    if exchange.rank:
        return _serve(exchange, evaluate)
    return _Leader(exchange, names, space, timeout_s).run()


def _evaluate(function: Function, exclude: frozenset[str], point: Point) -> Point:
    try:
        results = function(**point)
    except Exception as error:
        error.add_note(f"at the point {point}")
        raise
    if not isinstance(results, Mapping):
        raise UsageError(
            f"the function must return a mapping of results by name, it returned {type(results).__name__} at {point}"
        )
    return {name: value for name, value in {**point, **results}.items() if name not in exclude}


def _columns(names: Iterable[str], rows: Iterable[Point]) -> Columns:
    columns: Columns = {name: [] for name in names}
    count = 0
    for row in rows:
        for name, value in row.items():
            column = columns.setdefault(name, [])
            column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    return columns


def _serve(exchange: Exchange, evaluate: Callable[[Point], Point]) -> Columns:
    """As another rank: evaluate what comes."""
    exchange.send(0, ("ready", [], 0.0))
    heard_s, backoff = time.monotonic(), Backoff()
    while True:
        arrived = exchange.poll()
        if arrived is None:
            if time.monotonic() - heard_s > SILENCE_S:
                exchange.abort(
                    EXIT_FAILED, f"mpiens: rank {exchange.rank}: rank 0 has not been heard of for {SILENCE_S:g} s"
                )
            backoff.pause()
            continue
        kind, *content = arrived[1]
        if kind == "points":
            _work(exchange, evaluate, *content)
        elif kind == "end":
            if content[0]:
                raise MapError(content[0])
            columns: Columns = exchange.broadcast(None)
            return columns
        heard_s = time.monotonic()
        backoff.reset()


def _work(exchange: Exchange, evaluate: Callable[[Point], Point], points: list[Point]) -> None:
    rows: list[Point] = []
    start_s = time.monotonic()
    for point in points:
        try:
            rows.append(evaluate(point))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the function raises is told to all ranks
            traceback.print_exc()
            text = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            exchange.send(0, ("failed", f"rank {exchange.rank}: {text}, at the point {point}", 0.0))
            return
        except BaseException as error:  # noqa: BLE001 - see below
            # A rank that leaves alone would hang the others; so the whole job ends.
            exchange.abort(EXIT_FAILED, f"mpiens: rank {exchange.rank}: {type(error).__name__} at the point {point}")
    exchange.send(0, ("rows", rows, time.monotonic() - start_s))


@dataclass(slots=True)
class _Chunk:
    """Points that a rank is at."""

    first: int
    count: int
    since_s: float = field(default_factory=time.monotonic)


class _Leader:
    """Rank 0: hands out points, and puts what came of them in order."""

    def __init__(self, exchange: Exchange, names: list[str], space: Param, timeout_s: float | None) -> None:
        self._exchange = exchange
        self._names = names
        self._points = space.iterate()
        self._timeout_s = timeout_s
        self._rows: dict[int, Point] = {}
        self._busy: dict[int, _Chunk] = {}
        self._idle: list[int] = []
        self._unheard = set(range(1, exchange.size))
        self._given = 0
        self._chunk = 1
        self._is_over = False
        self._error = ""

    def run(self) -> Columns:
        """Until every point is evaluated, or one has failed, and every rank has come to the end."""
        backoff = Backoff()
        start_s = spoke_s = time.monotonic()
        while self._unheard or self._busy or not (self._is_over or self._error):
            arrived = self._exchange.poll()
            if arrived is not None:
                self._hear(*arrived)
                self._hand_out()
                backoff.reset()
                continue
            now_s = time.monotonic()
            self._check(now_s, start_s)
            if now_s - spoke_s > _ALIVE_EVERY_S:
                spoke_s = now_s
                self._tell_all(("alive",))
            backoff.pause()
        self._tell_all(("end", self._error))
        if self._error:
            self._exchange.flush(SILENCE_S)
            raise MapError(self._error)
        columns = _columns(self._names, (self._rows.pop(index) for index in range(self._given)))
        self._exchange.broadcast(columns)
        return columns

    def _hear(self, source: int, message: tuple[Any, ...]) -> None:
        kind, content, elapsed_s = message
        chunk = self._busy.pop(source, None)
        if kind == "ready":
            self._unheard.discard(source)
        elif kind == "failed":
            self._error = self._error or content
        elif chunk is not None:
            self._rows.update(enumerate(content, chunk.first))
            fitting = int(_CHUNK_S * chunk.count / max(elapsed_s, 1e-9))
            self._chunk = 1 if self._timeout_s else max(1, min(2 * self._chunk, fitting, _LARGEST_CHUNK))
        self._idle.append(source)

    def _hand_out(self) -> None:
        while self._idle and not (self._is_over or self._error):
            points = list(itertools.islice(self._points, self._chunk))
            if not points:
                self._is_over = True
                return
            rank = self._idle.pop()
            self._busy[rank] = _Chunk(self._given, len(points))
            self._given += len(points)
            self._exchange.send(rank, ("points", points))

    def _check(self, now_s: float, start_s: float) -> None:
        """End the job when a rank does not answer: nothing else frees ranks that are in the function."""
        if self._unheard and now_s - start_s > SILENCE_S:
            ranks = ", ".join(map(str, sorted(self._unheard)))
            self._exchange.abort(
                EXIT_FAILED, f"mpiens: ranks {ranks} have not come to map_space; call it on every rank"
            )
        for rank, chunk in self._busy.items():
            if self._timeout_s is not None and now_s - chunk.since_s > self._timeout_s:
                waited = WaitTimeout(rank, f"map_space at the point with index {chunk.first}", self._timeout_s)
                self._exchange.abort(EXIT_FAILED, f"mpiens: {waited}")

    def _tell_all(self, message: tuple[Any, ...]) -> None:
        for rank in range(1, self._exchange.size):
            self._exchange.send(rank, message)
