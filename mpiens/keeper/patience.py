"""How long something that has no time limit may take before a person should hear of it."""

from __future__ import annotations

from collections import deque
from statistics import median

_REMEMBERED = 100
_ENOUGH = 3
_TIMES = 10


class Patience:
    """Learns from what has ended.

    Args:
        least_s: Nothing shorter is worth a word.
        at_first_s: What is, as long as too little has ended to compare with.
    """

    def __init__(self, least_s: float = 300.0, at_first_s: float = 3600.0) -> None:
        self._least_s = least_s
        self._at_first_s = at_first_s
        self._elapsed_s: deque[float] = deque(maxlen=_REMEMBERED)

    def note(self, elapsed_s: float) -> None:
        """Something has ended after so long."""
        self._elapsed_s.append(elapsed_s)

    @property
    def bound_s(self) -> float:
        """After how long to say that it is unusual."""
        if len(self._elapsed_s) < _ENOUGH:
            return self._at_first_s
        return max(self._least_s, _TIMES * median(self._elapsed_s))

    @property
    def usual(self) -> str:
        """What to compare with, in words."""
        if len(self._elapsed_s) < _ENOUGH:
            return "nothing to compare it with has ended yet"
        return f"half of those before it took no more than {median(self._elapsed_s):.3g} s"
