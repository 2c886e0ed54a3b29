"""How a rank waits: eagerly at first, then asleep."""

from __future__ import annotations

import os
import time


class Backoff:
    """Pauses that grow from a yield of the processor to a sleep of 2 ms, and in a long wait to one of 10 ms.

    A rank that spins steals a core from a simulation; a rank that sleeps long answers late. The first pauses only
    yield, so that a stream of messages is served at full speed. From the first fifth of a second on a pause may take a
    hundredth of what has been waited already, so that nothing is ever late by more than that share of its time.
    """

    _YIELDS = 100
    _FIRST_S = 20e-6
    _SHORT_WAIT_S = 2e-3
    _LONGEST_S = 10e-3
    _SHARE = 0.01

    def __init__(self) -> None:
        self._pauses = 0
        self._sleep_s = self._FIRST_S
        self._slept_s = 0.0

    def reset(self) -> None:
        """Something happened: be eager again."""
        self._pauses = 0
        self._sleep_s = self._FIRST_S
        self._slept_s = 0.0

    def pause(self) -> None:
        """Let others run."""
        self._pauses += 1
        if self._pauses <= self._YIELDS:
            os.sched_yield()
            return
        time.sleep(self._sleep_s)
        self._slept_s += self._sleep_s
        longest_s = min(max(self._SHORT_WAIT_S, self._SHARE * self._slept_s), self._LONGEST_S)
        self._sleep_s = min(self._sleep_s * 1.5, longest_s)
