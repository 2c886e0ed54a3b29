"""When the driver stops before its trials are done: requests, the drain, the deadline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiens.driver import Driver, DriverConfig
from mpiens.driver.actions import Action, Ask, Checkpoint, Dispatch, Hurry, RecordFailure, Shutdown
from mpiens.driver.events import Asked, Event, Failed, GroupLost, GroupReady, StopRequested, Stored, Tick
from mpiens.driver.stopping import wind_down_s
from mpiens.messages import Assignment
from mpiens.trial import TrialState
from simulated import result


def started(groups: int = 2, **changes: object) -> Driver:
    """A driver whose groups have one trial each, at the time 100."""
    driver = Driver(DriverConfig(total=1000, groups=groups, checkpoint_every_s=1e9, **changes))  # type: ignore[arg-type]
    driver.handle(Tick(100.0))
    driver.handle(*map(GroupReady, range(groups)))
    driver.handle(Asked([{"x": number} for number in range(groups)]))
    return driver


def after(driver: Driver, *events: Event) -> list[Action]:
    """What is to be done, besides checkpoints."""
    return [action for action in driver.handle(*events) if not isinstance(action, Checkpoint)]


def done(number: int, elapsed_s: float = 1.0) -> Stored:
    return Stored(number % 2, (result(Assignment(number, 1, {"x": number}), elapsed_s=elapsed_s),))


def of(kind: type, actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


def test_a_drain_lets_running_trials_hurry_and_then_leaves_them() -> None:
    driver = started(drain_s=50.0, max_attempts=1)
    assert after(driver, StopRequested("SIGUSR1")) == []
    assert after(driver, Tick(144.0)) == []
    assert of(Hurry, after(driver, Tick(145.0))) == [Hurry()]
    assert after(driver, Tick(149.9)) == []
    assert after(driver, Tick(150.0)) == [Shutdown("stopped", "SIGUSR1")]
    driver.check()
    # As if they had never been sent: the next process charges nobody.
    assert driver.unfinished() == [(0, 0, -1, {"x": 0}, ""), (1, 0, -1, {"x": 1}, "")]
    assert driver.running == 0


def test_the_second_request_stops_at_once() -> None:
    driver = started()
    assert after(driver, StopRequested("SIGUSR1")) == []
    assert after(driver, StopRequested("SIGTERM")) == [Shutdown("stopped", "SIGUSR1")]
    assert [row[1:3] for row in driver.unfinished()] == [(0, -1), (0, -1)]


def test_attempts_count_when_a_rank_may_have_been_killed() -> None:
    driver = started()
    stop = StopRequested("SIGTERM", may_be_loss=True)
    assert after(driver, stop, stop) == [Shutdown("stopped", "SIGTERM")]
    assert [row[1:3] for row in driver.unfinished()] == [(1, 0), (1, 1)]


def test_the_deadline_is_no_request() -> None:
    driver = started(drain_s=50.0, deadline_s=200.0, wind_down_s=40.0)
    after(driver, done(0))
    after(driver, Asked([{"x": 2}]))
    assert after(driver, Tick(159.0)) == []
    assert after(driver, Tick(160.0)) == []
    assert not of(Dispatch, after(driver, done(1)))
    # The first signal adds nothing but its own bound; the second does.
    assert after(driver, StopRequested("SIGTERM")) == []
    assert after(driver, StopRequested("SIGTERM")) == [Shutdown("stopped", "walltime")]


def test_running_trials_have_until_shortly_before_the_deadline() -> None:
    driver = started(deadline_s=200.0, wind_down_s=40.0)
    after(driver, Tick(160.0))
    assert after(driver, Tick(186.0)) == []
    assert of(Hurry, after(driver, Tick(187.5))) == [Hurry()]
    assert after(driver, Tick(190.0)) == [Shutdown("stopped", "walltime")]


def test_a_request_never_lasts_beyond_the_deadline() -> None:
    driver = started(drain_s=1000.0, deadline_s=200.0, wind_down_s=40.0)
    after(driver, StopRequested("SIGUSR1"))
    assert of(Shutdown, after(driver, Tick(189.9))) == []
    assert of(Shutdown, after(driver, Tick(190.0))) == [Shutdown("stopped", "SIGUSR1")]


def test_no_trial_begins_that_surely_cannot_end() -> None:
    driver = started(groups=1, deadline_s=200.0, wind_down_s=20.0)
    for number in range(10):  # one in ten is shorter than 30 s, and must not mislead
        actions = after(
            driver, Stored(0, (result(Assignment(number, 1, {"x": number}), elapsed_s=30.0 if number else 0.1),))
        )
        assert of(Ask, actions)
        after(driver, Asked([{"x": number + 1}]))
    assert after(driver, Tick(165.0)) == []
    after(driver, Tick(165.1))
    (_told, end) = after(driver, Stored(0, (result(Assignment(10, 1, {"x": 10}), elapsed_s=30.0),)))
    assert end == Shutdown("stopped", "walltime: 29.9 s are left for trials, and they take 30 s")


def test_a_failure_that_is_being_recorded_is_waited_for() -> None:
    driver = started(groups=1, max_attempts=1)
    after(driver, StopRequested("SIGUSR1"))
    (record,) = after(driver, Failed(0, (result(Assignment(0, 1, {"x": 0}), TrialState.FAIL),)))
    assert isinstance(record, RecordFailure)
    failed = result(Assignment(0, 1, {"x": 0}), TrialState.FAIL)
    assert of(Shutdown, after(driver, Stored(0, (failed,)))) == [Shutdown("stopped", "SIGUSR1")]


@pytest.mark.parametrize("event", [StopRequested("again"), Tick(500.0), done(0), GroupReady(7), GroupLost(0, "killed")])
def test_nothing_happens_after_the_end(event: Event) -> None:
    driver = started()
    after(driver, StopRequested("a"), StopRequested("b"))
    before = driver.unfinished()
    assert after(driver, event) == []
    assert driver.unfinished() == before


def test_the_wind_down() -> None:
    hour_s = 3600.0
    assert [wind_down_s(300.0, s) for s in (4 * hour_s, 1200.0, 20.0, 6.0, 0.0)] == [300.0, 120.0, 5.0, 3.0, 0.0]
    assert wind_down_s(2.0, hour_s) == 2.0


EVENTS = st.one_of(
    st.tuples(st.just("tick"), st.floats(0, 40)),
    st.tuples(st.just("stop"), st.just(0.0)),
    st.tuples(st.sampled_from(["end", "fail", "lose"]), st.floats(0.01, 60)),
)


@given(
    script=st.lists(EVENTS, max_size=40),
    deadline_s=st.one_of(st.none(), st.floats(0, 300)),
    drain_s=st.floats(0, 100),
    batch=st.sampled_from([0, 3]),
)
def test_however_it_stops_it_ends_in_time_and_loses_no_trial(
    script: list[tuple[str, float]], deadline_s: float | None, drain_s: float, batch: int
) -> None:
    wind_s = 0.0 if deadline_s is None else min(drain_s, deadline_s)
    driver = Driver(DriverConfig(30, 3, batch, 2, drain_s=drain_s, deadline_s=deadline_s, wind_down_s=wind_s))
    flying: list[tuple[int, Assignment]] = []
    finished: set[int] = set()
    asked, now_s, requests, stop_s, ended = 0, 0.0, 0, None, None

    def handle(*events: Event) -> None:
        nonlocal asked, ended
        actions = driver.handle(*events)
        driver.check()
        for action in actions:
            if isinstance(action, Dispatch):
                assert stop_s is None, "a trial was sent while the run was stopping"
                flying.extend((action.group, a) for a in action.assignments)
            elif isinstance(action, Ask):
                asked += action.count
                handle(Asked([{"x": n} for n in range(action.count)]))
            elif isinstance(action, RecordFailure):
                finished.add(action.number)
                handle(
                    Stored(
                        action.group, (result(Assignment(action.number, action.attempt, {"x": 0}), TrialState.FAIL),)
                    )
                )
            elif isinstance(action, Shutdown):
                ended = action

    handle(Tick(0.0), *map(GroupReady, range(3)))
    for kind, amount in script:
        if ended is not None:
            break
        if kind == "tick":
            now_s += amount
            handle(Tick(now_s))
        elif kind == "stop":
            requests += 1
            stop_s = now_s if stop_s is None else stop_s
            handle(StopRequested("stop"))
            assert requests < 2 or ended is not None
        elif flying:
            group, assignment = flying.pop(0)
            if kind == "lose":
                handle(GroupLost(group, "killed", assignment.number))
                flying[:] = [item for item in flying if item[0] != group]
            elif kind == "fail":
                handle(Failed(group, (result(assignment, TrialState.FAIL, amount),)))
            else:
                finished.add(assignment.number)
                handle(Stored(group, (result(assignment, elapsed_s=amount),)))
        if ended is None and stop_s is not None and kind == "tick":
            assert now_s < stop_s + drain_s
        if ended is None and deadline_s is not None and kind == "tick":
            assert now_s < deadline_s
    left = {row[0] for row in driver.unfinished()}
    assert not left & finished
    assert left | finished == set(range(asked))
    if ended is not None and ended.outcome == "stopped":
        assert all(row[2] == -1 for row in driver.unfinished())
