"""Signals that ask the run to stop: once, no new trials; twice, at once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

SAME_S = 1.0
"""Signals that come together are one: a scheduler signals all processes of a job, and the launcher forwards its own."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(BaseException):
    """The second signal has come while this process simulates. Not an `Exception`, because models catch those."""


class StopWish(NamedTuple):
    """A signal, as `mpiens.driver.events.StopRequested` has it, which ranks other than 0 must not import."""

    reason: str
    may_be_loss: bool = False


class StopSignals:
    """What this process does on SIGINT, SIGTERM and SIGUSR1, from `install` to `release`.

    Rank 0 takes them; the other ranks, which launchers send them to as well, leave it to rank 0. Until the run has
    begun a signal ends the command.

    Args:
        rank: World rank of this process.
        size: Ranks in the world.
        is_hasty: The launcher kills all ranks right after SIGINT and SIGTERM, so that these stop the run at once.
    """

    def __init__(self, rank: int, size: int, is_hasty: bool = False) -> None:
        self._rank = rank
        self._is_alone = size == 1
        self._is_hasty = is_hasty
        self._before: dict[signal.Signals, Any] = {}
        self._arrived: list[StopWish] = []
        self._count = 0
        self._first_s = 0.0
        self._is_counting = False
        self._interrupts = False

    def install(self) -> None:
        """Take the signals; in another than the main thread Python cannot."""
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                self._before[number] = signal.signal(number, signal.SIG_IGN if self._rank else self._handle)

    def release(self) -> None:
        """The run is over. Under a launcher the signals are ignored from here on, for it sends them to the last."""
        for number, handler in self._before.items():
            signal.signal(number, handler if self._is_alone and handler is not None else signal.SIG_IGN)

    def count(self) -> None:
        """From here on signals are counted, for `take`."""
        self._is_counting = True

    def take(self) -> list[StopWish]:
        """What has been asked for since the last time."""
        arrived, self._arrived = self._arrived, []
        return arrived

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """The second signal ends what runs inside.

        Raises:
            Interrupted: It has come.
        """
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside of `interrupting`: a part that must not be ended."""
        self._interrupts = False
        yield
        self._interrupts = True
        if self._count > 1:
            raise Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the form of a handler
        if not self._is_counting:
            raise KeyboardInterrupt
        now_s = time.monotonic()
        if self._count == 1 and not self._is_alone and now_s - self._first_s < SAME_S:
            return
        self._first_s = now_s
        name = signal.Signals(number).name
        if self._is_hasty and number != signal.SIGUSR1:
            reason = f"{name} from the launcher, which has been stopped or has lost a rank"
            asked = [StopWish(reason, may_be_loss=True)] * 2
        else:
            asked = [StopWish(name)]
        self._count += len(asked)
        self._arrived += asked
        if self._interrupts and self._count > 1:
            raise Interrupted
