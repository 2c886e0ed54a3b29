"""How many trials a group holds, the running one included. Pure."""

from __future__ import annotations

SHORT_TRIAL_S = 0.05
"""Trials below this are queued ahead, because the way to the driver and back would leave the group idle. A longer
trial is never queued: it would wait behind another while a group may become free."""

QUEUED_WORK_S = 0.005
"""So much work is queued ahead per group when trials are very short."""

DEEPEST_QUEUE = 256


class Durations:
    """How long trials take, as far as queueing ahead depends on it."""

    def __init__(self) -> None:
        self._longest_s: float | None = None

    def took(self, elapsed_s: float) -> None:
        """An attempt has ended."""
        # A slow decay: one long trial among short ones must stop the queueing for a while.
        self._longest_s = max(elapsed_s, 0.95 * (self._longest_s or 0.0))

    def depth(self, is_adaptive: bool) -> int:
        """How many trials a group may hold."""
        longest_s = self._longest_s
        if longest_s is None or longest_s >= SHORT_TRIAL_S:
            return 1
        if is_adaptive:
            return 2
        return int(min(max(2.0, QUEUED_WORK_S / max(longest_s, 1e-9)), DEEPEST_QUEUE))
