"""The answer to `trial.should_stop`, the same on every rank of a group: the root decides, the others ask it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from mpiens.messages import Assignment, Question

MARGIN = 0.1
"""Share of a trial's time limit that is left when it should stop."""

LISTEN_EVERY_S = 0.05
"""How often a root hears what the driver has to say during a trial."""

Shelter = Callable[[], contextlib.AbstractContextManager[None]]


class Consult(Protocol):
    """`mpiens.comm.group.GroupLink.consult`."""

    def __call__(self, question: Question, decide: Callable[[], bool], timeout_s: float, decide_s: float = 0.0) -> bool:
        """The root's answer."""


class SoftStop:
    """Answers for the trials of one rank, one after the other.

    Args:
        consult: Asks the group's root.
        limit_s: Time limit of a trial, or None.
        timeout_s: How long a rank may wait for the others to ask too.
        sheltered: Keeps the time limit's exception off while the root listens to the driver.

    Attributes:
        listen: As the root: hear what the driver has to say; it may call `hurry`.
    """

    def __init__(
        self,
        consult: Consult,
        limit_s: float | None,
        timeout_s: float,
        sheltered: Shelter = contextlib.nullcontext,
    ) -> None:
        self.listen: Callable[[], None] | None = None
        self._consult = consult
        self._limit_s = limit_s
        self._timeout_s = timeout_s
        self._sheltered = sheltered
        self._has_hurried = False
        self._listened_s = 0.0
        self._begin_s = 0.0
        self._trial = (0, 0)
        self._calls = 0

    def begin(self, assignment: Assignment) -> None:
        """A trial begins."""
        self._trial = assignment.number, assignment.attempt
        self._begin_s = time.monotonic()
        self._calls = 0

    def hurry(self) -> None:
        """From now on every trial should stop."""
        self._has_hurried = True

    def ask(self) -> bool:
        """Should the trial stop? To be called on every rank of the group alike."""
        self._calls += 1
        return self._consult(Question(*self._trial, self._calls, "trial.should_stop()"), self._decide, self._timeout_s)

    def _decide(self) -> bool:
        now_s = time.monotonic()
        if self._limit_s is not None and now_s - self._begin_s >= self._limit_s * (1 - MARGIN):
            return True
        if self.listen is not None and now_s - self._listened_s >= LISTEN_EVERY_S:
            with self._sheltered():
                self.listen()
            self._listened_s = time.monotonic()
        return self._has_hurried
