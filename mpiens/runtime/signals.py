"""Signals that ask the run to stop: once, no new trials; twice, at once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

SAME_S = 1.0
"""Signals that come together are one: a scheduler signals all processes of a job, and the launcher forwards its own."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


_AGAIN_S = 0.5

Say = Callable[[str, float], None]
"""Tells a person why the run stops, and how many seconds the running trial has."""


class Interrupted(BaseException):
    """The second signal has come while this process simulates, or its time is up.

    Not an `Exception`, because models catch those.
    """


class StopWish(NamedTuple):
    """A signal, as `mpiens.driver.events.StopRequested` has it, which ranks other than 0 must not import."""

    reason: str
    may_be_loss: bool = False


class StopSignals:
    """What this process does on SIGINT, SIGTERM and SIGUSR1, from `install` to `release`.

    Rank 0 takes them; the other ranks, which launchers send them to as well, leave it to rank 0. Until the run has
    begun a signal ends the command; one that comes between `hold` and `let_go` does so then.

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
        self._is_holding = False
        self._was_held = False
        self._interrupts = False
        self._say: Say | None = None
        self._drain_s = 0.0
        self._ends_s: float | None = None
        self._is_overdue = False
        self._closing = threading.Event()

    def install(self) -> None:
        """Take the signals; in another than the main thread Python cannot."""
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                self._before[number] = signal.signal(number, signal.SIG_IGN if self._rank else self._handle)

    def release(self) -> None:
        """The run is over. Under a launcher the signals are ignored from here on, for it sends them to the last."""
        self._closing.set()
        for number, handler in self._before.items():
            signal.signal(number, handler if self._is_alone and handler is not None else signal.SIG_IGN)

    def hold(self) -> None:
        """From here on a signal has to wait: a rank that left alone while it joins the others would hang them."""
        self._is_holding = True

    def let_go(self) -> None:
        """From here on signals end the command again.

        Raises:
            KeyboardInterrupt: One has come meanwhile.
        """
        self._is_holding = False
        if self._was_held:
            raise KeyboardInterrupt

    def count(self) -> None:
        """From here on signals are counted, for `take`."""
        self._is_counting = True

    def bound(self, drain_s: float, ends_s: float | None, say: Say) -> None:
        """For a rank that simulates itself, and does nothing else meanwhile: end its trials when their time is up.

        What holds the interpreter lock cannot be ended so, nor by a second signal; only `limits.trial_timeout` can.

        Args:
            drain_s: How long a trial may take after the first signal.
            ends_s: When it must have ended in any case, on `time.monotonic`'s clock; None: never.
            say: Called at the first signal, while the model runs.
        """
        self._drain_s, self._ends_s, self._say = drain_s, ends_s, say
        if ends_s is not None:
            self._ring_in(ends_s - time.monotonic(), "")

    def take(self) -> list[StopWish]:
        """What has been asked for since the last time."""
        arrived, self._arrived = self._arrived, []
        return arrived

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """The second signal ends what runs inside, and so does the end of its time.

        Raises:
            Interrupted: It has come.
        """
        if self._is_overdue:
            raise Interrupted
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
        if self._count > 1 or self._is_overdue:
            raise Interrupted

    def _ring_in(self, wait_s: float, reason: str) -> None:
        """End the trial that runs in so many seconds, if one does; with a `reason` that counts as one more signal."""

        def ring() -> None:
            if self._closing.wait(max(0.0, wait_s)):
                return
            self._is_overdue = True
            if reason:
                self._arrived.append(StopWish(reason))
            main = threading.main_thread().ident
            assert main is not None
            # Again and again: a model may catch everything.
            while True:
                if self._interrupts:
                    signal.pthread_kill(main, signal.SIGUSR1)
                if self._closing.wait(_AGAIN_S):
                    return

        threading.Thread(target=ring, name="mpiens-drain", daemon=True).start()

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the form of a handler
        if self._is_holding:
            self._was_held = True
            return
        if not self._is_counting:
            raise KeyboardInterrupt
        if self._is_overdue:
            if self._interrupts:
                raise Interrupted
            return
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
        if self._say is not None and self._count == 1:
            left_s = self._drain_s if self._ends_s is None else min(self._drain_s, self._ends_s - now_s)
            self._ring_in(left_s, name)
            # Elsewhere rank 0 is about to take the signal, and may be writing to the terminal.
            if self._interrupts:
                self._say(name, left_s)
