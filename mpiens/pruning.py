"""The answer to `trial.should_prune`, the same on every rank of a group: the driver gives it to the group's root."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from mpiens.comm.backoff import Backoff
from mpiens.errors import WaitTimeout
from mpiens.messages import Assignment, Question, Reported, Verdict
from mpiens.reports import Report, Reports
from mpiens.softstop import Consult, Shelter

ANSWER_TIMEOUT_S = 600.0
"""How long a root waits for the driver's answer. The driver may be choosing points, which takes long for some."""

_TOPIC = "trial.should_prune()"


class Pruning:
    """Answers for the trials of one rank, one after the other.

    Args:
        group: The group's index.
        world_rank: This rank, for messages.
        consult: Asks the group's root.
        timeout_s: How long a rank may wait for the others to ask too.
        sheltered: Keeps the time limit's exception off while the root talks with the driver.
        answer_s: How long the driver may take to answer.

    Attributes:
        say: As the root: tells the driver.
        listen: As the root: hear what the driver has to say; it may call `deliver` and `give_up`.
    """

    def __init__(
        self,
        group: int,
        world_rank: int,
        consult: Consult,
        timeout_s: float,
        sheltered: Shelter = contextlib.nullcontext,
        answer_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.say: Callable[[Reported], None] | None = None
        self.listen: Callable[[], None] | None = None
        self._group = group
        self._world_rank = world_rank
        self._consult = consult
        self._timeout_s = timeout_s
        self._answer_s = answer_s
        self._sheltered = sheltered
        self._trial = (0, 0)
        self._reports = Reports()
        self._calls = 0
        self._told = 0
        self._verdict: Verdict | None = None
        self._must_end = False
        self._is_over = False

    @property
    def made(self) -> tuple[Report, ...]:
        """What the trial has reported here."""
        return tuple(self._reports.made)

    def begin(self, assignment: Assignment) -> Reports:
        """A trial begins; where it reports to."""
        self._trial = assignment.number, assignment.attempt
        self._calls = self._told = 0
        self._verdict, self._must_end = None, False
        self._reports = Reports()
        return self._reports

    def deliver(self, verdict: Verdict) -> None:
        """The driver has answered. An answer to a question that nobody waits for any more is dropped."""
        if (verdict.number, verdict.attempt, verdict.call) == (*self._trial, self._calls):
            self._verdict = verdict

    def give_up(self) -> None:
        """The driver answers no more: the run has ended, and whatever still runs had better end too."""
        self._is_over = True

    def ask(self) -> bool:
        """Should the trial be given up? To be called on every rank of the group alike."""
        self._calls += 1
        question = Question(*self._trial, self._calls, _TOPIC)
        return self._consult(question, self._decide, self._timeout_s, self._answer_s)

    def ask_alone(self) -> bool:
        """The same, as the root of members that take no part in the trial."""
        self._calls += 1
        return self._decide()

    def _decide(self) -> bool:
        new = self._reports.made[self._told :]
        # Once a trial is to end it stays so; and without anything new the answer would be the same.
        if self._must_end or not new or self.say is None or self.listen is None:
            return self._must_end
        self._told += len(new)
        with self._sheltered():
            self.say(Reported(self._group, *self._trial, self._calls, tuple(new)))
        end_s, backoff = time.monotonic() + self._answer_s, Backoff()
        while self._verdict is None and not self._is_over:
            with self._sheltered():
                self.listen()
            if self._verdict is None and time.monotonic() > end_s:
                phase = f"waiting for the driver to answer {_TOPIC}"
                raise WaitTimeout(self._world_rank, phase, self._answer_s, self._trial[0])
            if self._verdict is None:
                backoff.pause()
        self._must_end = self._verdict is None or self._verdict.is_pruned
        self._verdict = None
        return self._must_end
