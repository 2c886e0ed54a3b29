"""A world for the driver without MPI: groups that answer in any order, die, or fail."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mpiens.driver import Driver, DriverConfig
from mpiens.driver.actions import Action, Ask, Dispatch, NoteRetry, RecordFailure, Shutdown, Tell
from mpiens.driver.events import Asked, Event, Failed, GroupLost, GroupReady, Idle, Stored
from mpiens.messages import Assignment, Result
from mpiens.samplers.base import FinishedTrial
from mpiens.trial import TrialState


def result(assignment: Assignment, state: TrialState = TrialState.COMPLETE, elapsed_s: float = 1.0) -> Result:
    values = (float(assignment.params["x"]),) if state is TrialState.COMPLETE else ()
    error = "boom" if state is TrialState.FAIL else ""
    return Result(assignment.number, assignment.attempt, state, values, 0.0, elapsed_s, error, True, b"r")


@dataclass
class World:
    """Carries out what the driver wants, with the order of things drawn from a seed.

    Attributes:
        told: What the sampler was told, in order.
        batches: Sizes of the tells.
        runs: Attempts that groups have ended, by trial.
        records: Numbers of the trials whose failure was recorded.
        retries: The history of trials that were repeated.
    """

    config: DriverConfig
    points: int
    seed: int = 0
    fail: Callable[[Assignment], bool] = lambda _: False
    lose: Callable[[int], bool] = lambda _: False
    elapsed_s: Callable[[Assignment], float] = lambda _: 1.0
    told: list[FinishedTrial] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    runs: dict[int, int] = field(default_factory=dict)
    records: list[int] = field(default_factory=list)
    retries: dict[int, str] = field(default_factory=dict)
    deepest: int = 0
    check_invariants: bool = True
    ended: Shutdown | None = None

    def run(self) -> Driver:
        chance = random.Random(self.seed)
        self.driver = Driver(self.config)
        self.queues: dict[int, list[Assignment]] = {group: [] for group in range(self.config.groups)}
        self._busy: list[int] = []
        self._asked = 0
        starting = list(self.queues)
        chance.shuffle(starting)
        while self.ended is None:
            if self.driver.wants_point and (not (starting or self._busy) or chance.random() < 0.5):
                self._handle(Idle())
                continue
            assert starting or self._busy, "nobody has work, and the run has not ended"
            if starting and (not self._busy or chance.random() < 0.3):
                self._handle(GroupReady(starting.pop()))
                continue
            position = chance.randrange(len(self._busy))
            group = self._busy[position]
            if self.lose(group):
                self._idle(position)
                self._handle(GroupLost(group, "killed", self.queues.pop(group)[0].number))
                continue
            assignment = self.queues[group].pop(0)
            if not self.queues[group]:
                self._idle(position)
            self.runs[assignment.number] = self.runs.get(assignment.number, 0) + 1
            if self.fail(assignment):
                self._handle(Failed(group, (result(assignment, TrialState.FAIL, self.elapsed_s(assignment)),)))
            else:
                self._handle(Stored(group, (result(assignment, elapsed_s=self.elapsed_s(assignment)),)))
        return self.driver

    def _idle(self, position: int) -> None:
        self._busy[position] = self._busy[-1]
        self._busy.pop()

    def _handle(self, event: Event) -> None:
        actions = deque(self.driver.handle(event))
        while actions:
            actions.extend(self._carry_out(actions.popleft()))
            if self.check_invariants:
                self.driver.check()

    def _carry_out(self, action: Action) -> list[Action]:
        if isinstance(action, Ask):
            assert action.count > 0
            count = min(action.count, self.points - self._asked)
            self._asked += count
            return self.driver.handle(Asked([{"x": self._asked - count + i} for i in range(count)]))
        if isinstance(action, Dispatch):
            if not self.queues[action.group]:
                self._busy.append(action.group)
            self.queues[action.group] += action.assignments
            self.deepest = max(self.deepest, len(self.queues[action.group]))
        elif isinstance(action, Tell):
            self.told += action.trials
            self.batches.append(len(action.trials))
        elif isinstance(action, NoteRetry):
            self.retries[action.number] = action.history
        elif isinstance(action, RecordFailure):
            self.records.append(action.number)
            failed = Result(action.number, action.attempt, TrialState.FAIL, (), 0.0, 0.0, action.error, False, b"r")
            return self.driver.handle(Stored(action.group, (failed,)))
        elif isinstance(action, Shutdown):
            self.ended = action
        return []
