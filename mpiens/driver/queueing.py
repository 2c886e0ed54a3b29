"""How many trials a group holds, the running one included. Pure."""

from __future__ import annotations

from collections.abc import Iterable

SHORT_TRIAL_S = 0.05
"""Trials below this are queued ahead, because the way to the driver and back would leave the group idle. A longer
trial is never queued: it would wait behind another while a group may become free."""

QUEUED_WORK_S = 0.005
"""So much work is queued ahead per group when trials are very short."""

DEEPEST_QUEUE = 256

_DECAY = 0.95


class Durations:
    """How long trials take, as far as queueing ahead depends on it."""

    def __init__(self) -> None:
        self._longest_s: float | None = None

    def took(self, elapsed_s: Iterable[float]) -> None:
        """Attempts have ended, in this order."""
        longest_s = self._longest_s or 0.0
        for each_s in elapsed_s:
            # A slow decay: one long trial among short ones must stop the queueing for a while.
            longest_s *= _DECAY
            longest_s = max(longest_s, each_s)
        self._longest_s = longest_s

    def depth(self, is_adaptive: bool) -> int:
        """How many trials a group may hold."""
        longest_s = self._longest_s
        if longest_s is None or longest_s >= SHORT_TRIAL_S:
            return 1
        if is_adaptive:
            return 2
        return int(min(max(2.0, QUEUED_WORK_S / max(longest_s, 1e-9)), DEEPEST_QUEUE))
