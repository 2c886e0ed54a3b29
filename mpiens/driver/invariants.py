"""What must hold in the driver after every event. Tests look after each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from mpiens.driver.config import DriverConfig
from mpiens.driver.live import LiveTrial
from mpiens.driver.queueing import DEEPEST_QUEUE
from mpiens.driver.roster import Roster
from mpiens.trial import TrialState


def broken(
    config: DriverConfig,
    asked: int,
    live: Mapping[int, LiveTrial],
    waiting: Iterable[LiveTrial],
    held: Iterable[LiveTrial],
    roster: Roster,
) -> str:
    """The first thing that does not hold; empty: all is well."""
    places = Counter(roster.in_flight())
    doubled = any(count > 1 for count in places.values())
    idle = [trial.number for trial in (*waiting, *held)]
    problems = (
        (doubled, "a trial is in flight in two groups"),
        (any(number in places for number in idle), "a trial waits and is in flight"),
        (len(idle) != len(set(idle)), "a trial waits twice"),
        (not {*idle, *places} <= live.keys(), "a finished trial is waiting or in flight"),
        (any(live[n].state is not TrialState.WAITING for n in idle if n in live), "a trial waits, but is not WAITING"),
        (any(live[n].state is not TrialState.RUNNING for n in places if n in live), "in flight, but not RUNNING"),
        (any(t.own_attempts > config.max_attempts for t in live.values()), "too many attempts"),
        (asked > config.total, "more points asked for than trials wanted"),
        (any(length > DEEPEST_QUEUE for length in roster.queues()), "a queue is too deep"),
    )
    return next((problem for is_broken, problem in problems if is_broken), "")
