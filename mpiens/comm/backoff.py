"""How a rank waits: eagerly at first, then asleep."""

from __future__ import annotations

import os
import time


class Backoff:
    """Pauses that grow from a yield of the processor to a sleep of 2 ms.

    A rank that spins steals a core from a simulation; a rank that sleeps long answers late. The first pauses only
    yield, so that a stream of messages is served at full speed; an idle rank ends at 500 wake-ups a second, which
    cost it about one percent of a core.
    """

    _YIELDS = 300
    _FIRST_S = 20e-6
    _LONGEST_S = 2e-3

    def __init__(self) -> None:
        self._pauses = 0
        self._sleep_s = self._FIRST_S

    def reset(self) -> None:
        """Something happened: be eager again."""
        self._pauses = 0
        self._sleep_s = self._FIRST_S

    def pause(self) -> None:
        """Let others run."""
        self._pauses += 1
        if self._pauses <= self._YIELDS:
            os.sched_yield()
            return
        time.sleep(self._sleep_s)
        self._sleep_s = min(self._sleep_s * 1.5, self._LONGEST_S)
