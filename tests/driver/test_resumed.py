"""The driver killed after any event and started again: the same trials, each told once."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiens.driver import Driver, DriverConfig, Pending, Start
from mpiens.driver.actions import Action, Ask, Dispatch, RecordFailure, Shutdown, Tell
from mpiens.driver.events import Asked, Event, GroupReady, Idle, Stored
from mpiens.driver.ledger import Ledger, Sent, asked_entry, repeated_entry, sent_entry, told_entry
from mpiens.driver.tally import Tally
from mpiens.errors import StoreError, UsageError
from mpiens.goals import Goals
from mpiens.messages import Assignment, Result
from mpiens.record import Params
from mpiens.runtime.recovery import recover
from mpiens.samplers import FinishedTrial, Past
from mpiens.store.outcomes import Outcomes
from mpiens.trial import TrialState
from simulated import result


class Disk:
    """What survives a kill: journal, checkpoint and records."""

    def __init__(self) -> None:
        self.records: dict[int, Result] = {}
        self.params: dict[int, Params] = {}
        self.frames: list[bytes] = []
        self.saved: tuple[np.ndarray, np.ndarray, np.ndarray, bytes, dict[int, Sent]] | None = None

    def outcomes(self) -> Outcomes:
        found = [self.records[number] for number in sorted(self.records)]
        return Outcomes(
            np.array([r.number for r in found], dtype=np.int64),
            np.array([r.attempt for r in found], dtype=np.int64),
            np.array([r.state for r in found], dtype=np.int8),
            np.array([r.values or (float("nan"),) for r in found], dtype=float).reshape(len(found), 1),
            {r.number: r.error for r in found if r.state is TrialState.FAIL},
        )

    def points(self, numbers: Collection[int]) -> dict[int, Params]:
        return {number: self.params[number] for number in numbers if number in self.records}


class History:
    """A sampler whose points tell what it knew: the number of the trial, and a digest of all it was told before."""

    def __init__(self, total: int, needs_history: bool) -> None:
        self.total = total
        self.needs_history = needs_history
        self.known: list[list[object]] = []
        self.told: list[int] = []

    def ask(self, n: int) -> list[Params]:
        points = []
        for _ in range(min(n, self.total - len(self.known))):
            seen = [row[1] for row in self.known] if self.needs_history else []
            point = {"x": len(self.known), "seen": hash(str(seen))}
            self.known.append([point, None])
            points.append(point)
        return points

    def tell(self, trials: tuple[FinishedTrial, ...]) -> None:
        for trial in trials:
            assert self.known[trial.number][1] is None, "told twice"
            self.known[trial.number][1] = trial.values
            self.told.append(trial.number)

    def restore(self, past: Past) -> dict[int, Params]:
        assert not past.lost
        if self.needs_history:
            self.known = [[params, None if end is None else end.values] for params, end in past.trials]
        else:
            self.known = [[None, None] for _ in range(past.asked)]
        return {}


class Killed(Exception):
    pass


class Life:
    """One process: a driver, its groups, and a kill after so many steps."""

    def __init__(self, disk: Disk, config: DriverConfig, chance: random.Random, adaptive: bool, steps: int) -> None:
        self.disk, self.config, self.chance, self.steps = disk, config, chance, steps
        self.sampler = History(config.total, adaptive)
        ledger = Ledger(1, adaptive)
        if disk.saved is not None:
            *columns, unfinished = disk.saved
            ledger = Ledger.from_columns(adaptive, *columns)
            ledger.open = dict(unfinished)
        for frame in disk.frames:
            ledger.replay(frame)
        recovered = recover(ledger, disk, self.sampler, config.max_attempts, Goals(("minimize",)))
        assert recovered.warnings == []
        self.ledger = recovered.ledger
        self.driver = Driver(config, recovered.start)
        self.queues: dict[int, deque[Assignment]] = {group: deque() for group in range(config.groups)}
        self.ended: Shutdown | None = None

    def checkpoint(self) -> None:
        ledger = self.ledger
        unfinished = {n: Sent(*sent) for n, *sent in self.driver.unfinished()}
        self.disk.saved = (
            ledger.states.copy(),
            ledger.values.copy(),
            ledger.order.copy(),
            bytes(ledger.packed_points),
            unfinished,
        )
        self.disk.frames = []

    def run(self) -> Shutdown:
        self.checkpoint()
        self._handle()
        starting = list(self.queues)
        while self.ended is None:
            self._step()
            busy = [group for group, queue in self.queues.items() if queue]
            if starting and (not busy or self.chance.random() < 0.5):
                self._handle(GroupReady(starting.pop()))
                continue
            if self.driver.wants_point and (not busy or self.chance.random() < 0.5):
                self._handle(Idle())
                continue
            assert busy, "nobody has work, and the run has not ended"
            group = self.chance.choice(busy)
            assignment = self.queues[group].popleft()
            self._store(group, result(assignment, elapsed_s=self.chance.choice([1e-4, 1.0])), assignment.params)
            if self.chance.random() < 0.1:
                self.checkpoint()
        return self.ended

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Killed

    def _store(self, group: int, ended: Result, params: Params) -> None:
        assert ended.number not in self.disk.records, "a trial with a record has run again"
        self.disk.records[ended.number] = ended
        self.disk.params[ended.number] = params
        self._step()
        self._handle(Stored(group, (ended,)))

    def _handle(self, *events: Event) -> None:
        actions: deque[Action] = deque(self.driver.handle(*events))
        entries: list[object] = []
        sending: list[Dispatch] = []
        while actions:
            action = actions.popleft()
            if isinstance(action, Ask):
                points = self.sampler.ask(action.count)
                entries.append(asked_entry(self.ledger.asked, points))
                self.ledger.ask(points)
                actions.extend(self.driver.handle(Asked(points)))
            elif isinstance(action, Tell):
                entries.append(told_entry(action.trials))
                self.ledger.tell(action.trials)
                self.sampler.tell(action.trials)
            elif isinstance(action, Dispatch):
                entries.append(sent_entry(action.group, action.assignments))
                sending.append(action)
            elif isinstance(action, RecordFailure):
                failed = Result(action.number, action.attempt, TrialState.FAIL, (), 0.0, 0.0, action.error, False, b"r")
                self.disk.records[action.number] = failed
                self.disk.params[action.number] = action.params
                actions.extend(self.driver.handle(Stored(action.group, (failed,))))
            elif isinstance(action, Shutdown):
                self.ended = action
            self.driver.check()
        self._step()
        if entries:
            self.disk.frames.append(msgpack.packb(entries))
        self._step()
        for dispatch in sending:
            self.queues[dispatch.group].extend(dispatch.assignments)


@given(
    seed=st.integers(0, 2**16),
    total=st.integers(1, 30),
    batch=st.integers(0, 7),
    adaptive=st.booleans(),
    kills=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), max_size=6),
)
def test_killed_after_any_event_the_run_ends_with_the_same_trials(
    seed: int, total: int, batch: int, adaptive: bool, kills: list[tuple[int, int]]
) -> None:
    def live(disk: Disk, groups: int, steps: int, chance: random.Random) -> Life:
        config = DriverConfig(total, groups, batch, max_attempts=100, is_adaptive=adaptive)
        return Life(disk, config, chance, adaptive, steps)

    undisturbed = Disk()
    assert live(undisturbed, 2, 10**6, random.Random(seed)).run() == Shutdown("complete")
    disk = Disk()
    chance = random.Random(seed + 1)
    for steps, groups in kills:
        try:
            if live(disk, groups, steps, chance).run() == Shutdown("complete"):
                break
        except Killed:
            continue
    last = live(disk, 3, 10**6, chance)
    assert last.run() == Shutdown("complete")
    assert sorted(disk.records) == list(range(total))
    assert sorted(last.ledger.order[:, 0].tolist()) == list(range(total)), "every trial is told exactly once"
    assert last.driver.tally.done == total
    if batch or not adaptive:
        assert disk.params == undisturbed.params
    if batch:
        assert last.ledger.order[:, 0].tolist() == list(range(total))


def started_from(pending: list[Pending], untold: tuple[FinishedTrial, ...] = (), **config: object) -> Driver:
    tally = Tally(10)
    asked = 1 + max((p.number for p in pending), default=-1)
    return Driver(DriverConfig(10, 1, **config), Start(asked, tally, tuple(pending), untold))  # type: ignore[arg-type]


def test_a_trial_that_has_cost_too_many_processes_fails() -> None:
    driver = started_from([Pending(0, 3, {"x": 0}, True), Pending(1, 2, {"x": 1}, True)], max_attempts=3)
    (failure,) = driver.handle()
    assert isinstance(failure, RecordFailure)
    assert (failure.number, failure.attempt) == (0, 3)
    assert "killed" in failure.error
    assert "3" in failure.error
    assert [row[0] for row in driver.unfinished()] == [0, 1]
    failed = Result(0, 3, TrialState.FAIL, (), 0.0, 0.0, failure.error, False, b"r")
    assert driver.handle(Stored(-1, (failed,))) == [Tell((FinishedTrial(0, TrialState.FAIL, ()),))]
    assert driver.handle(GroupReady(0)) == [Dispatch(0, (Assignment(1, 3, {"x": 1}),))]


def test_what_may_have_ended_the_process_runs_alone() -> None:
    pending = [Pending(n, 2, {"x": n}, True) for n in range(4)]
    driver = started_from(pending, max_attempts=4)
    actions = driver.handle(GroupReady(0))
    for number in range(4):
        sent = [action for action in actions if isinstance(action, Dispatch)]
        assert sent == [Dispatch(0, (Assignment(number, 3, {"x": number}),))]
        actions = driver.handle(Stored(0, (result(sent[0].assignments[0], elapsed_s=1e-6),)))
    assert any(isinstance(action, Ask) and action.count > 1 for action in actions)


def dispatched(actions: list[Action]) -> dict[int, list[int]]:
    """Trials by group."""
    return {a.group: [assigned.number for assigned in a.assignments] for a in actions if isinstance(a, Dispatch)}


def test_after_the_first_death_those_that_were_sent_run_beside_each_other() -> None:
    pending = tuple(Pending(n, 1 if n < 3 else 0, {"x": n}, True) for n in range(5))
    driver = Driver(DriverConfig(5, 3, max_attempts=3), Start(5, Tally(5), pending))
    assert dispatched(driver.handle(*map(GroupReady, range(3)))) == {0: [0], 1: [1], 2: [2]}
    quick = result(Assignment(0, 2, {"x": 0}), elapsed_s=1e-6)
    assert dispatched(driver.handle(Stored(0, (quick,)))) == {0: [3]}, "no group has two of them"
    driver.check()


@pytest.mark.parametrize(("spared", "most"), [((2, 2, 1, 0), 3), ((1, 1, 0, 0), 2), ((2, 2, 1, 1), 9)])
def test_those_that_were_there_twice_or_have_one_attempt_left_run_alone_first(
    spared: tuple[int, ...], most: int
) -> None:
    pending = tuple(Pending(n, times, {"x": n}, True, spared=times) for n, times in enumerate(spared))
    driver = Driver(DriverConfig(4, 3, max_attempts=most), Start(4, Tally(4), pending))
    assert dispatched(driver.handle(*map(GroupReady, range(3)))) == {0: [0]}
    assert driver.running == 1
    assert not driver.wants_point
    actions = driver.handle(Stored(0, (result(Assignment(0, spared[0] + 1, {"x": 0})),)))
    assert list(dispatched(actions).values()) == [[1]]
    (group,) = dispatched(actions)
    driver.check()
    actions = driver.handle(Stored(group, (result(Assignment(1, spared[1] + 1, {"x": 1})),)))
    assert sorted(dispatched(actions).values()) == [[2], [3]]
    driver.check()


def test_where_deaths_can_be_traced_the_others_go_on() -> None:
    pending = tuple(Pending(n, 2, {"x": n}, True, spared=2) for n in range(2))
    config = DriverConfig(3, 3, max_attempts=3, attributes_deaths=True)
    driver = Driver(config, Start(3, Tally(3), (*pending, Pending(2, 0, {"x": 2}))))
    assert dispatched(driver.handle(*map(GroupReady, range(3)))) == {0: [0], 1: [1], 2: [2]}


def test_of_many_an_eighth_runs_after_each_death() -> None:
    pending = tuple(Pending(n, n // 100 + 1, {"x": n}, True, spared=n // 100 + 1) for n in range(500))
    driver = Driver(DriverConfig(500, 1000, max_attempts=9), Start(500, Tally(500), pending))
    sent = dispatched(driver.handle(*map(GroupReady, range(1000))))
    assert list(sent.values()) == [[400]], "after five deaths, alone"
    widths = []
    while driver.tally.done < 500:
        widths.append(len(sent))
        stored = [
            Stored(group, (result(Assignment(number, number // 100 + 2, {"x": number})),))
            for group, (number,) in sent.items()
        ]
        sent = dispatched(driver.handle(*stored))
        driver.check()
    assert widths == [1] * 200 + [15] * 7 + [95, 100]


def test_results_that_were_never_told_are_told_first() -> None:
    untold = (FinishedTrial(0, TrialState.COMPLETE, (1.0,)), FinishedTrial(1, TrialState.FAIL, ()))
    driver = Driver(DriverConfig(10, 1), Start(2, Tally(10), (), untold))
    assert driver.handle() == [Tell(untold)]


def test_a_generation_waits_for_the_rest_of_it() -> None:
    untold = (FinishedTrial(1, TrialState.COMPLETE, (1.0,)),)
    driver = Driver(DriverConfig(10, 1, batch=2), Start(2, Tally(10), (Pending(0, 0, {"x": 0}),), untold))
    assert driver.handle(GroupReady(0)) == [Dispatch(0, (Assignment(0, 1, {"x": 0}),))]
    tell, ask = driver.handle(Stored(0, (result(Assignment(0, 1, {"x": 0})),)))
    assert isinstance(tell, Tell)
    assert [trial.number for trial in tell.trials] == [0, 1]
    assert ask == Ask(2)


def test_only_the_first_of_a_group_is_charged() -> None:
    ledger = Ledger(1, False)
    points = [{"x": n} for n in range(4)]
    assignments = [Assignment(n, 1, points[n]) for n in range(3)]
    ledger.replay(msgpack.packb([asked_entry(0, points), sent_entry(0, assignments)]))
    recovered = recover(ledger, Disk(), History(10, False), 3, Goals())
    assert [(p.number, p.attempt, p.was_sent) for p in recovered.start.pending] == [
        (0, 1, True),
        (1, 0, True),
        (2, 0, True),
        (3, 0, False),
    ]


def test_a_trial_with_a_record_is_not_charged() -> None:
    ledger, disk = Ledger(1, False), Disk()
    points = [{"x": n} for n in range(4)]
    assignments = [Assignment(n, 1, points[n]) for n in range(4)]
    ledger.replay(
        msgpack.packb([asked_entry(0, points), sent_entry(0, assignments[:2]), sent_entry(1, assignments[2:])])
    )
    # Stored, but not told: it is a generation.
    disk.records[0] = result(assignments[0])
    recovered = recover(ledger, disk, History(10, False), 3, Goals(), batch=4)
    assert [(p.number, p.attempt) for p in recovered.start.pending] == [(1, 1), (2, 1), (3, 0)]


def test_a_run_cannot_end_before_what_it_has() -> None:
    ledger = Ledger(1, False)
    ledger.replay(msgpack.packb([asked_entry(0, [{"x": n} for n in range(4)])]))
    with pytest.raises(UsageError, match="4 trials already"):
        recover(ledger, Disk(), History(3, False), 3, Goals())


@pytest.mark.parametrize(
    "entry",
    [
        [(0, 5, [{"x": 1}])],
        [(0, 0, [1])],
        [(1, 0, [9], [1])],
        [(2, [0], [1], [[1.0]])],
        [(7,)],
        [3],
        5,
        [(0,)],
        [(2, [-1], [1], [[1.0]])],
    ],
)
def test_an_entry_that_cannot_follow_is_refused(entry: object) -> None:
    with pytest.raises(StoreError, match="can follow here"):
        Ledger(1, False).replay(msgpack.packb(entry))


def test_a_finished_trial_takes_few_bytes() -> None:
    ledger = Ledger(1, True)
    count = 20_000
    for first in range(0, count, 100):
        ledger.ask([{"a_parameter": n / 7, "another": n} for n in range(first, first + 100)])
        ledger.tell([FinishedTrial(n, TrialState.COMPLETE, (n / 3,)) for n in range(first, first + 100)])
    held = ledger._states.nbytes + ledger._values.nbytes + ledger._order.nbytes + len(ledger.packed_points)
    assert held / count < 150
    assert ledger.ending(7) == FinishedTrial(7, TrialState.COMPLETE, (7 / 3,))
    assert list(ledger.points())[-1] == {"a_parameter": (count - 1) / 7, "another": count - 1}


def test_a_replay_knows_the_history_of_a_trial_that_waits() -> None:
    ledger = Ledger(1, False)
    first, second = [Assignment(0, 1, {"x": 0})], [Assignment(0, 2, {"x": 0}, "once\n")]
    ledger.replay(msgpack.packb([asked_entry(0, [{"x": 0}]), sent_entry(4, first), repeated_entry(0, 1, "once\n")]))
    assert ledger.open == {0: Sent(1, -1, {"x": 0}, "once\n")}
    ledger.replay(msgpack.packb([sent_entry(2, second)]))
    assert ledger.open == {0: Sent(2, 2, {"x": 0}, "once\n")}
    ledger.replay(msgpack.packb([repeated_entry(0, 1, "once\n")]))
    assert ledger.open[0].attempt == 1, "the second has never begun"
    ledger.replay(msgpack.packb([(3, 0, "twice\n")]))  # as earlier versions wrote it
    assert ledger.open == {0: Sent(1, -1, {"x": 0}, "twice\n")}
    with pytest.raises(StoreError, match="not an entry that can follow here"):
        ledger.replay(msgpack.packb([repeated_entry(9, 1, "")]))
