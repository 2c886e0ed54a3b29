"""Where a driver begins that takes over from an earlier process. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from mpiens.driver.tally import Tally
from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial


@dataclass(frozen=True, slots=True)
class Pending:
    """A trial that was asked for and has no record.

    Attributes:
        number: The trial.
        attempt: How many attempts it has cost: those that failed, and those that ended with their process.
        params: Its point.
        was_sent: It was handed to a group, so that it may be what ended the process.
        is_cleared: It is known that it was not.
        cause: What is known of how its last attempt ended the process; empty: nothing.
        history: Its attempts that have failed, that one included.
        spared: How many of them may have ended because of another trial.
        is_guilty: It is known to have ended the process.
    """

    number: int
    attempt: int
    params: Params
    was_sent: bool = False
    is_cleared: bool = False
    cause: str = ""
    history: str = ""
    spared: int = 0
    is_guilty: bool = False

    def has_failed(self, max_attempts: int) -> bool:
        """True when it is not to run again: it was to blame for the last end, and has no attempt left."""
        return (self.attempt if self.is_guilty else self.attempt - self.spared) >= max_attempts


@dataclass(frozen=True, slots=True)
class Start:
    """What earlier processes have left.

    Attributes:
        asked: Points that the sampler has given.
        tally: Counts of the trials with a record.
        pending: Trials without one, in the order in which they are to run.
        untold: Trials with one that the sampler has not been told, in the order of their numbers.
    """

    asked: int
    tally: Tally
    pending: tuple[Pending, ...] = ()
    untold: tuple[FinishedTrial, ...] = ()
