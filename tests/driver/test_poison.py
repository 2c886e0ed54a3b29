"""Trials that kill what they run in: they fail, and no other trial does, whatever is known of the deaths."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import example, given
from hypothesis import strategies as st

from mpiens.driver import Driver, DriverConfig, Start
from mpiens.driver.actions import Action, Ask, Dispatch, NoteRetry, RecordFailure, Shutdown
from mpiens.driver.events import Asked, Failed, GroupLost, GroupReady, Stored
from mpiens.driver.ledger import Sent
from mpiens.driver.tally import Tally
from mpiens.guard import Death
from mpiens.messages import Assignment, Result
from mpiens.runtime.charges import pending
from mpiens.trial import TrialState
from simulated import result


class Job:
    """A run of several processes: each starts with what the one before has left."""

    def __init__(self, config: DriverConfig, chance: random.Random, poisonous: set[int], flaky: set[int]) -> None:
        self.config, self.chance, self.poisonous, self.flaky = config, chance, poisonous, flaky
        self.elapsed_s = chance.choice([1e-5, 1e-5, 1.0])  # short trials are queued
        self.ended: dict[int, TrialState] = {}
        self.kills: dict[int, int] = {}
        self.open: dict[int, Sent] = {}
        self.asked = 0
        self.deaths: list[Death] = []

    def live(self, takes_all: float, is_told: float) -> bool:
        """One process, until it is killed, no group is left, or the run is complete; then True.

        Args:
            takes_all: How likely a death ends the job, and not its group alone.
            is_told: How likely it is then known whose it was.
        """
        waiting = pending(self.open, sorted(self.open), self.config.max_attempts, self.deaths, {})
        self.deaths = []
        self.driver = Driver(self.config, Start(self.asked, Tally(self.config.total), tuple(waiting)))
        self.queues: dict[int, deque[Assignment]] = {group: deque() for group in range(self.config.groups)}
        self.sent: dict[int, None] = {}
        self.shutdown: Shutdown | None = None
        self._carry_out(self.driver.handle(*map(GroupReady, self.queues)))
        while self.shutdown is None:
            busy = [group for group, queue in self.queues.items() if queue]
            assert busy, "nobody has work, and the run has not ended"
            group = self.chance.choice(busy)
            done: list[Result] = []
            # Results of several trials leave together, so that a death takes those with it that had ended.
            for _ in range(self.chance.randint(1, 8)):
                if not self.queues[group]:
                    break
                assignment = self.queues[group].popleft()
                if assignment.number in self.poisonous:
                    if self._die(group, assignment, takes_all, is_told):
                        return False
                    done = []
                    break
                if assignment.number in self.flaky:
                    self.flaky.discard(assignment.number)
                    self._carry_out(self.driver.handle(Failed(group, (result(assignment, TrialState.FAIL),))))
                    break
                done.append(result(assignment, elapsed_s=self.elapsed_s))
            if done:
                self.ended.update((each.number, each.state) for each in done)
                self._carry_out(self.driver.handle(Stored(group, tuple(done))))
        self._leave()
        return self.shutdown == Shutdown("complete")

    def _die(self, group: int, assignment: Assignment, takes_all: float, is_told: float) -> bool:
        """True when the whole job has died."""
        self.kills[assignment.number] = self.kills.get(assignment.number, 0) + 1
        if self.chance.random() >= takes_all:
            self.queues[group] = deque()
            self._carry_out(self.driver.handle(GroupLost(group, "killed", is_death=True)))
            return False
        if self.chance.random() < is_told:
            self.deaths = [Death(1, "host", "SIGSEGV", True, assignment.number, assignment.attempt, 0.0)]
        self._leave()
        return True

    def _leave(self) -> None:
        rows = {number: Sent(*rest) for number, *rest in self.driver.unfinished()}
        self.open = {n: sent for n, sent in rows.items() if n not in self.ended}

    def _carry_out(self, first: list[Action]) -> None:
        actions = deque(first)
        while actions:
            action = actions.popleft()
            if isinstance(action, Ask):
                points = [{"x": self.asked + n} for n in range(min(action.count, self.config.total - self.asked))]
                self.asked += len(points)
                actions += self.driver.handle(Asked(points))
            elif isinstance(action, Dispatch):
                self.queues[action.group] += action.assignments
            elif isinstance(action, RecordFailure):
                self.ended[action.number] = TrialState.FAIL
                failed = Result(action.number, action.attempt, TrialState.FAIL, (), 0.0, 0.0, action.error, False, b"r")
                actions += self.driver.handle(Stored(action.group, (failed,)))
            elif isinstance(action, Shutdown):
                self.shutdown = action
            else:
                assert not isinstance(action, NoteRetry) or action.number not in self.ended
            self.driver.check()


@example(1, 40, 70, 0, 3, {3, 4, 30}, {5, 6}, 1.0, 0.0, False)
@example(1, 40, 70, 0, 2, {3, 4, 30}, {5, 6}, 1.0, 0.0, True)
@example(2, 40, 5, 0, 1, {10, 20, 30}, {5, 6}, 0.0, 0.0, True)
@given(
    seed=st.integers(0, 2**16),
    total=st.integers(1, 40),
    groups=st.integers(1, 70),
    batch=st.sampled_from([0, 0, 7]),
    max_attempts=st.integers(1, 4),
    poisonous=st.sets(st.integers(0, 39), max_size=6),
    flaky=st.sets(st.integers(0, 39), max_size=6),
    takes_all=st.sampled_from([0.0, 0.5, 1.0]),
    is_told=st.sampled_from([0.0, 0.5, 1.0]),
    attributes=st.booleans(),
)
def test_exactly_the_poisonous_trials_fail(
    seed: int,
    total: int,
    groups: int,
    batch: int,
    max_attempts: int,
    poisonous: set[int],
    flaky: set[int],
    takes_all: float,
    is_told: float,
    attributes: bool,
) -> None:
    config = DriverConfig(total, groups, batch, max_attempts, attributes_deaths=attributes)
    poisonous = {number for number in poisonous if number < total}
    flaky = flaky - poisonous if max_attempts > 1 else set()
    job = Job(config, random.Random(seed), poisonous, flaky)
    lives = 0
    while not job.live(takes_all, is_told):
        lives += 1
        assert lives <= 2 + len(poisonous) * 2 * (max_attempts + 5), "a poisonous trial runs again and again"
    assert {number for number, state in job.ended.items() if state is TrialState.FAIL} == poisonous
    assert sorted(job.ended) == list(range(total))
    if is_told == takes_all == 1.0:
        assert job.kills == dict.fromkeys(poisonous, max_attempts), "where all is known none runs too often"
