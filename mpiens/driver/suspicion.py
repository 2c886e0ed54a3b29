"""Trials that may have ended a process, and how many of them run beside each other until that is known. Pure.

When a process or a group has ended and nobody knows which of its trials did it, no trial must pay for another one. So
those that were there are watched: no group has two of them, and where the next death can be traced to a group, or
there was but one trial, it is known. A trial that was there again is confined: only so many run in the whole job as may
run after so many deaths, in the end one alone. Then its death is its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from mpiens.driver.live import LiveTrial

NARROWING = 8
"""After each death without an explanation only one in so many groups works: a thousand groups find the one trial after
four deaths, and neither those nor the waiting in between take long."""

_TWICE = 2


class Suspicion:
    """What is known of trials that may have ended a process.

    Args:
        groups: How many groups there are.
        max_attempts: How often a trial may be dispatched.
        attributes_deaths: It is usually known which group's trial has ended a process.
    """

    def __init__(self, groups: int, max_attempts: int, attributes_deaths: bool) -> None:
        self._groups = groups
        # Where the limit is low, it must be sure earlier which trial has reached it.
        self._confines_from = max(1, min(_TWICE, max_attempts - 1)) + attributes_deaths
        self._watched: set[int] = set()
        self._confined: dict[int, int] = {}
        self._held: list[LiveTrial] = []

    @property
    def is_active(self) -> bool:
        """No group may have two trials."""
        return bool(self._watched or self._confined)

    @property
    def is_confining(self) -> bool:
        """No trials may run but those that `release` gives."""
        return bool(self._confined)

    @property
    def held(self) -> list[LiveTrial]:
        """Trials that wait to be released, in that order."""
        return self._held

    def watch(self, numbers: Iterable[int]) -> None:
        """These were there when a process ended."""
        self._watched.update(numbers)

    def hold(self, trial: LiveTrial) -> bool:
        """Keep a trial that must be confined, until it is released; False for any other one."""
        steps = trial.spared - self._confines_from + 1
        if steps < 1 and trial.number not in self._confined:
            return False
        self._confined[trial.number] = max(steps, self._confined.get(trial.number, 0))
        self._held.append(trial)
        # The longer suspected, the sooner; `sort` keeps the order of equal ones.
        self._held.sort(key=lambda held: -self._confined[held.number])
        return True

    def release(self, running: int, most: int) -> list[LiveTrial]:
        """Confined trials that may run now besides so many that do, at most so many."""
        width = max(1, self._groups // NARROWING ** max(self._confined.values(), default=0))
        count = max(0, min(width - running, most))
        released, self._held = self._held[:count], self._held[count:]
        return released

    def clear(self, number: int) -> None:
        """This trial has ended, and nothing else with it; or it has failed."""
        self._watched.discard(number)
        self._confined.pop(number, None)
