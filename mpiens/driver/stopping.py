"""When a run must end before its trials are done, and how long running trials may still take. Pure: time is numbers."""

from __future__ import annotations

from collections import deque

MOST_KEPT_S = 15.0
"""At most so much of the time before a deadline is kept for the last checkpoint and for leaving."""

_KEPT_SHARE = 0.25
_RECENT = 128
_QUICK = 0.1


def wind_down_s(drain_s: float, walltime_s: float) -> float:
    """How long before its deadline a run begins to stop.

    A tenth of the walltime, at least 5 s (of a walltime below 10 s, half of it), and never more than `drain_s`.
    """
    return min(drain_s, max(walltime_s / 10, min(5.0, walltime_s / 2)))


class Stopping:
    """Whether the run is stopping.

    Args:
        drain_s: How long running trials may take after somebody has asked the run to stop.
        deadline_s: When the job will be ended from outside, on the clock of the ticks; None: never.
        wind_down_s: How long before that it begins to stop.

    Attributes:
        reason: Why it stops; empty while it does not.
        until_s: When running trials are left; None while it does not stop.
        last_s: When they are left because of the deadline; None: there is none.
    """

    def __init__(self, drain_s: float, deadline_s: float | None, wind_down_s: float) -> None:
        self.reason = ""
        self.until_s: float | None = None
        self._drain_s = drain_s
        self._begin_s = None if deadline_s is None else deadline_s - wind_down_s
        self.last_s = None if deadline_s is None else deadline_s - min(MOST_KEPT_S, wind_down_s * _KEPT_SHARE)
        self._now_s = 0.0
        self._requests = 0
        self._hurry_s = 0.0
        self._has_hurried = False
        self._recent_s: deque[float] = deque(maxlen=_RECENT)

    @property
    def has_begun(self) -> bool:
        """No new trials."""
        return self.until_s is not None

    @property
    def is_over(self) -> bool:
        """Running trials are left."""
        return self._requests > 1 or (self.until_s is not None and self._now_s >= self.until_s)

    def took(self, elapsed_s: float) -> None:
        """A trial is complete."""
        if self.last_s is not None:
            self._recent_s.append(elapsed_s)

    def request(self, reason: str) -> None:
        """Somebody asks the run to stop; the second time, at once."""
        self._requests += 1
        until_s = self._now_s + self._drain_s
        self._stop(reason, until_s if self.last_s is None else min(until_s, self.last_s))

    def tick(self, now_s: float) -> None:
        """Time passes."""
        self._now_s = now_s
        if self.last_s is None or self._begin_s is None or self.has_begun:
            return
        left_s = self.last_s - now_s
        if now_s >= self._begin_s:
            self._stop("walltime", self.last_s)
        elif self._recent_s and (quick_s := self._quick_s()) > left_s:
            self._stop(f"walltime: {left_s:.3g} s are left for trials, and they take {quick_s:.3g} s", self.last_s)

    def must_hurry(self) -> bool:
        """True once, when running trials that ask are to end: when a tenth of their time is left."""
        if self.until_s is None or self._has_hurried or self._now_s < self._hurry_s:
            return False
        self._has_hurried = True
        return True

    def _stop(self, reason: str, until_s: float) -> None:
        if self.until_s is not None:
            until_s = min(until_s, self.until_s)
        self.reason = self.reason or reason
        self.until_s = until_s
        self._hurry_s = until_s - (until_s - self._now_s) / 10

    def _quick_s(self) -> float:
        # A trial is left out only if it surely cannot end. The shortest duration would not do: one trial that gave up
        # at once would stand for all. One in ten is shorter than this.
        return sorted(self._recent_s)[int(len(self._recent_s) * _QUICK)]
