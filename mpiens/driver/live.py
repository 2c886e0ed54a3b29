"""What the driver holds of trials that are not finished."""

from __future__ import annotations

from dataclasses import dataclass

from mpiens.messages import Assignment
from mpiens.record import Params
from mpiens.trial import TRANSITIONS, TrialEvent, TrialState, advance


@dataclass(slots=True)
class LiveTrial:
    """A trial that is not finished.

    Attributes:
        number: The trial.
        params: Its point.
        state: WAITING or RUNNING, until its end is stored.
        attempt: How often it was sent.
        group: To which group last.
        history: Its attempts that have failed.
        spared: How many of them may have ended because of another trial.
    """

    number: int
    params: Params
    state: TrialState = TrialState.WAITING
    attempt: int = 0
    group: int = -1
    history: str = ""
    spared: int = 0

    @property
    def own_attempts(self) -> int:
        """Attempts that count against it for certain."""
        return self.attempt - self.spared

    def advance(self, event: TrialEvent) -> None:
        """Something has happened to it.

        Raises:
            InvalidTransition: That is not possible in its state.
        """
        following = TRANSITIONS[self.state].get(event)
        self.state = advance(self.number, self.state, event) if following is None else following

    def dispatch(self, group: int) -> Assignment:
        """It is handed to a group: what that is told.

        Raises:
            InvalidTransition: It does not wait.
        """
        self.advance(TrialEvent.DISPATCHED)
        self.attempt += 1
        self.group = group
        return Assignment(self.number, self.attempt, self.params, self.history)

    def is_at(self, group: int, attempt: int) -> bool:
        """True while this group has this attempt; False when it has been given up meanwhile."""
        return self.attempt == attempt and self.group == group and self.state is TrialState.RUNNING
