"""What the driver holds of trials that are not finished, and of groups that take them."""

from __future__ import annotations

from dataclasses import dataclass, field

from mpiens.record import Params
from mpiens.trial import TrialEvent, TrialState, advance


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
    """

    number: int
    params: Params
    state: TrialState = TrialState.WAITING
    attempt: int = 0
    group: int = -1
    history: str = ""

    def advance(self, event: TrialEvent) -> None:
        """Something has happened to it.

        Raises:
            InvalidTransition: That is not possible in its state.
        """
        self.state = advance(self.number, self.state, event)


@dataclass(slots=True)
class Group:
    """A group that takes trials.

    Attributes:
        in_flight: Trials that it has, in the order in which it runs them.
    """

    in_flight: dict[int, None] = field(default_factory=dict)
