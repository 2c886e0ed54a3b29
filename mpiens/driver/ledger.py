"""What is kept of a run's course: columns in memory, and entries for the driver's journal that rebuild them.

A finished trial takes a few bytes per column, and its point as MessagePack where the sampler needs it again. Replaying
the entries of a journal gives the same columns. All of it is data, never code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from mpiens.errors import StoreError
from mpiens.messages import Assignment
from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial
from mpiens.trial import TrialState

_ASKED, _SENT, _TOLD, _REPEATED = 0, 1, 2, 3
_FINISHED = (int(TrialState.COMPLETE), int(TrialState.PRUNED), int(TrialState.FAIL))


def asked_entry(first: int, points: Sequence[Params]) -> Any:
    """The sampler has given these points, numbered from `first`."""
    return (_ASKED, first, points)


def sent_entry(group: int, assignments: Sequence[Assignment]) -> Any:
    """These attempts are about to be sent to a group."""
    numbers, attempts, *_ = zip(*assignments, strict=True)
    return (_SENT, group, numbers, attempts)


def told_entry(trials: Sequence[FinishedTrial]) -> Any:
    """The sampler is about to be told, in this order."""
    numbers, states, values, *_ = zip(*trials, strict=True)
    return (_TOLD, numbers, states, values)


def repeated_entry(number: int, attempt: int, history: str) -> Any:
    """A trial waits again; so often was it sent, and this is its history now."""
    return (_REPEATED, number, history, attempt)


@dataclass(slots=True)
class Sent:
    """A trial that is not finished.

    Attributes:
        attempt: How often it was sent.
        group: To which group last; -1: it waits.
        params: Its point.
        history: Its attempts that have failed.
    """

    attempt: int
    group: int
    params: Params
    history: str = ""


class Ledger:
    """The course of a run so far.

    Args:
        objectives: How many there are.
        keeps_points: Points of finished trials are kept too.

    Attributes:
        asked: Points that the sampler has given.
        told: Trials that it has been told.
        open: Unfinished trials by number, the one that was sent last at the end. Only kept up by `replay`.
    """

    def __init__(self, objectives: int, keeps_points: bool) -> None:
        self.asked = 0
        self.told = 0
        self.open: dict[int, Sent] = {}
        self._keeps_points = keeps_points
        self._states = np.zeros(0, dtype=np.int8)
        self._values = np.zeros((0, objectives))
        self._order = np.zeros((0, 2), dtype=np.int64)
        self._points = bytearray()
        self._pack = msgpack.Packer().pack

    @property
    def states(self) -> np.ndarray:
        """State of every trial that was asked for, int8; 0 until the sampler is told."""
        return self._states[: self.asked]

    @property
    def values(self) -> np.ndarray:
        """Objectives of every trial, NaN where there are none, ``[asked, objectives]``."""
        return self._values[: self.asked]

    @property
    def order(self) -> np.ndarray:
        """What the sampler was told, in order: number, and how many points it had given; int64 ``[told, 2]``."""
        return self._order[: self.told]

    @property
    def packed_points(self) -> bytearray:
        """All points, one MessagePack object after the other; empty where they are not kept."""
        return self._points

    def ask(self, points: Sequence[Params]) -> None:
        """The sampler has given these."""
        if self._keeps_points:
            for point in points:
                self._points += self._pack(point)
        first, self.asked = self.asked, self.asked + len(points)
        if self.asked > len(self._states):
            room = max(1024, 2 * self.asked) - len(self._states)
            self._states = np.concatenate([self._states, np.zeros(room, dtype=np.int8)])
            self._values = np.concatenate([self._values, np.full((room, self._values.shape[1]), np.nan)])
        self._states[first : self.asked] = 0

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """The sampler has been told these."""
        if not trials:
            return
        end = self.told + len(trials)
        if end > len(self._order):
            self._order = np.concatenate([self._order, np.zeros((max(1024, end), 2), dtype=np.int64)])
        given, states, values, *_ = zip(*trials, strict=True)
        numbers = self._order[self.told : end, 0]
        numbers[:] = given
        self._order[self.told : end, 1] = self.asked
        self.told = end
        self._states[numbers] = states
        if self._values.shape[1]:
            nothing = (float("nan"),) * self._values.shape[1]
            self._values[numbers] = values if all(values) else [each or nothing for each in values]

    def take_back(self, numbers: np.ndarray) -> None:
        """As if the sampler had not been told these."""
        self._states[numbers] = 0
        self._values[numbers] = np.nan
        kept = self.order[~np.isin(self.order[:, 0], numbers)]
        self._order, self.told = kept.copy(), len(kept)

    def ending(self, number: int) -> FinishedTrial | None:
        """What the sampler was told of a trial."""
        state = int(self._states[number])
        if not state:
            return None
        values = tuple(self._values[number].tolist()) if state == TrialState.COMPLETE else ()
        return FinishedTrial(number, TrialState(state), values)

    def points(self) -> Iterator[Params]:
        """All points that are kept, in the order of their numbers."""
        unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=0)
        view = memoryview(self._points)
        for start in range(0, len(view), 2**20):
            unpacker.feed(view[start : start + 2**20])
            yield from unpacker

    def replay(self, payload: bytes) -> None:
        """Take in what a frame of the journal says.

        Raises:
            StoreError: It does not follow on what is here; the entries before the one in question count.
        """
        try:
            for kind, *content in msgpack.unpackb(payload, strict_map_key=False):
                if kind == _ASKED:
                    self._replay_asked(*content)
                elif kind == _SENT:
                    self._replay_sent(*content)
                elif kind == _TOLD:
                    self._replay_told(*content)
                elif kind == _REPEATED:
                    self._replay_repeated(*content)
                else:
                    raise ValueError(f"unknown entry {kind!r}")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, msgpack.UnpackException) as error:
            raise StoreError(f"not an entry that can follow here: {error}") from error

    def _replay_asked(self, first: int, points: list[Params]) -> None:
        if first != self.asked:
            raise ValueError(f"points from number {first} on, expected {self.asked}")
        if not all(isinstance(point, dict) for point in points):
            raise ValueError("a point is no mapping")
        self.ask(points)
        self.open.update((first + index, Sent(0, -1, point)) for index, point in enumerate(points))

    def _replay_sent(self, group: int, numbers: list[int], attempts: list[int]) -> None:
        for number, attempt in zip(numbers, attempts, strict=True):
            before = self.open.pop(number)  # it comes to stand at the end
            self.open[number] = Sent(int(attempt), int(group), before.params, before.history)

    def _replay_repeated(self, number: int, history: str, attempt: int | None = None) -> None:
        sent = self.open[number]
        sent.group, sent.history = -1, str(history)
        if attempt is not None:  # earlier versions did not say it
            sent.attempt = int(attempt)

    def _replay_told(self, numbers: list[int], states: list[int], values: list[list[float]]) -> None:
        count = self._values.shape[1]
        trials = []
        for number, state, row in zip(numbers, states, values, strict=True):
            is_open = 0 <= number < self.asked and not self._states[number]
            if not is_open or state not in _FINISHED or len(row) not in (0, count):
                raise ValueError(f"trial {number} is told, but is not open or not finished")
            trials.append(FinishedTrial(number, TrialState(state), tuple(map(float, row))))
        self.tell(trials)
        for number in numbers:
            self.open.pop(number, None)

    @classmethod
    def from_columns(
        cls, keeps_points: bool, states: np.ndarray, values: np.ndarray, order: np.ndarray, points: bytes
    ) -> Ledger:
        """A ledger as it was when these were its columns; `open` has yet to be filled."""
        ledger = cls(values.shape[1], keeps_points)
        ledger.asked, ledger.told = len(states), len(order)
        ledger._states, ledger._values, ledger._order = states.copy(), values.copy(), order.copy()
        ledger._points = bytearray(points)
        return ledger
