"""The driver's decisions, event by event."""

from __future__ import annotations

from collections import deque

import pytest

from mpiens.driver import Driver, DriverConfig
from mpiens.driver.actions import Ask, Checkpoint, Dispatch, NoteRetry, RecordFailure, Shutdown, Tell
from mpiens.driver.events import Asked, Event, Failed, GroupLost, GroupReady, Idle, StopRequested, Stored, Tick
from mpiens.driver.queueing import DEEPEST_QUEUE, SHORT_TRIAL_S
from mpiens.errors import ProtocolError
from mpiens.messages import Assignment, Result
from mpiens.samplers.base import FinishedTrial
from mpiens.trial import TrialState
from simulated import result


def first_of(number: int, attempt: int = 1) -> Assignment:
    return Assignment(number, attempt, {"x": number})


def started(groups: int = 1, **changes: object) -> Driver:
    """A driver whose groups have one trial each."""
    driver = Driver(DriverConfig(total=1000, groups=groups, **changes))  # type: ignore[arg-type]
    assert driver.handle(*map(GroupReady, range(groups))) == [Ask(groups)]
    actions = driver.handle(Asked([{"x": number} for number in range(groups)]))
    assert actions == [Dispatch(number, (first_of(number),)) for number in range(groups)]
    return driver


def test_a_ready_group_makes_the_driver_ask_and_dispatch() -> None:
    driver = started(2)
    assert driver.running == 2
    assert driver.busy_groups == 2


def test_a_stored_result_is_told_and_the_group_gets_the_next_trial() -> None:
    driver = started()
    actions = driver.handle(Stored(0, (result(first_of(0)),)))
    assert actions == [Tell((FinishedTrial(0, TrialState.COMPLETE, (0.0,)),)), Ask(1)]
    assert driver.handle(Asked([{"x": 1}])) == [Dispatch(0, (first_of(1),))]


def test_a_busy_group_with_long_trials_gets_no_second_one() -> None:
    driver = started()
    driver.handle(Stored(0, (result(first_of(0), elapsed_s=SHORT_TRIAL_S),)))
    assert driver.handle(Asked([{"x": 1}])) == [Dispatch(0, (first_of(1),))]
    assert driver.handle(Tick(1.0)) == []


@pytest.mark.parametrize(("elapsed_s", "depth"), [(0.04, 2), (0.001, 5), (1e-6, DEEPEST_QUEUE)])
def test_short_trials_are_queued_ahead(elapsed_s: float, depth: int) -> None:
    driver = started()
    _, ask = driver.handle(Stored(0, (result(first_of(0), elapsed_s=elapsed_s),)))
    assert ask == Ask(depth)


def test_an_adaptive_sampler_is_asked_point_by_point_and_one_ahead_in_a_group_at_most() -> None:
    driver = started(is_adaptive=True)
    _, ask = driver.handle(Stored(0, (result(first_of(0), elapsed_s=1e-6),)))
    assert ask == Ask(1)
    assert driver.handle(Asked([{"x": 1}])) == [Dispatch(0, (first_of(1),))]
    assert driver.wants_point
    assert driver.handle(Idle()) == [Ask(1)]
    assert driver.handle(Asked([{"x": 2}])) == [Dispatch(0, (first_of(2),))]
    assert not driver.wants_point
    assert driver.handle(Idle()) == []


def test_points_of_an_adaptive_sampler_wait_for_groups_that_become_free() -> None:
    driver = Driver(DriverConfig(total=100, groups=16, is_adaptive=True))
    actions = driver.handle(*map(GroupReady, range(16)))
    asked = 0
    while driver.wants_point or actions:
        assert all(isinstance(action, Dispatch) or action == Ask(1) for action in actions)
        if Ask(1) in actions:
            actions = driver.handle(Asked([{"x": asked}]))
            asked += 1
        else:
            actions = driver.handle(Idle())
    assert asked == 16 + 4
    told, dispatch = driver.handle(Stored(3, (result(first_of(3)),)))
    assert isinstance(told, Tell)
    assert dispatch == Dispatch(3, (first_of(16),)), "sent before the next point is chosen"
    assert driver.handle(Idle()) == [Ask(1)]


def test_a_long_trial_among_short_ones_stops_the_queueing() -> None:
    driver = started()
    driver.handle(Stored(0, (result(first_of(0), elapsed_s=0.001),)))
    driver.handle(Asked([{"x": number} for number in range(1, 6)]))
    driver.handle(Stored(0, (result(first_of(1), elapsed_s=2.0),)))
    for number in range(2, 5):
        (told,) = driver.handle(Stored(0, (result(first_of(number), elapsed_s=0.001),)))
        assert isinstance(told, Tell)
    assert driver.handle(Stored(0, (result(first_of(5), elapsed_s=0.001),)))[1] == Ask(1)


def test_a_failed_attempt_is_tried_again_and_recorded_in_the_end() -> None:
    driver = started(max_attempts=2)
    failed = result(first_of(0), TrialState.FAIL)._replace(started_s=1000.1234)
    note, dispatch = driver.handle(Failed(0, (failed,)))
    once = '{"attempt": 1, "group": 0, "started_s": 1000.123, "elapsed_s": 1.0, "error": "boom"}\n'
    assert note == NoteRetry(0, 1, once)
    assert dispatch == Dispatch(0, (Assignment(0, 2, {"x": 0}, once),))
    (record,) = driver.handle(Failed(0, (result(first_of(0, 2), TrialState.FAIL),)))[:1]
    twice = once + '{"attempt": 2, "group": 0, "started_s": null, "elapsed_s": null, "error": "boom"}\n'
    assert record == RecordFailure(0, 2, 0, {"x": 0}, 0.0, 0.0, "boom", twice)
    stored = result(first_of(0, 2), TrialState.FAIL)
    assert driver.handle(Stored(0, (stored,)))[0] == Tell((FinishedTrial(0, TrialState.FAIL, ()),))
    assert driver.tally.causes == {"boom": 1}
    assert driver.tally.retried == 1
    assert driver.tally.repeated == {"boom": 1}


def test_a_failure_that_cannot_pass_is_not_tried_again() -> None:
    driver = started(max_attempts=3)
    failed = result(first_of(0), TrialState.FAIL)._replace(retry=False)
    assert isinstance(driver.handle(Failed(0, (failed,)))[0], RecordFailure)


def test_a_result_of_an_attempt_that_was_given_up_is_dropped() -> None:
    driver = started(2, max_attempts=2)
    driver.handle(GroupLost(0, "killed", 0))
    driver.handle(Stored(1, (result(first_of(1)),)))
    assert driver.handle(Stored(0, (result(first_of(0)),))) == []
    assert driver.tally.done == 1


def test_a_generation_is_told_in_the_order_of_its_numbers() -> None:
    driver = Driver(DriverConfig(total=100, groups=2, batch=3))
    assert driver.handle(GroupReady(0), GroupReady(1)) == [Ask(3)]
    driver.handle(Asked([{"x": number} for number in range(3)]))
    assert driver.handle(Stored(1, (result(first_of(1)),))) == [Dispatch(1, (first_of(2),))]
    assert driver.handle(Stored(1, (result(first_of(2)),))) == []
    tell, ask = driver.handle(Stored(0, (result(first_of(0)),)))
    assert isinstance(tell, Tell)
    assert [trial.number for trial in tell.trials] == [0, 1, 2]
    assert ask == Ask(3)


def test_a_lost_group_gives_its_trial_to_another_and_its_queue_back() -> None:
    driver = started(2, max_attempts=2)
    driver.handle(Stored(0, (result(first_of(0), elapsed_s=0.04),)))
    driver.handle(Asked([{"x": number} for number in range(2, 5)]))
    note, *queued = driver.handle(GroupLost(0, "killed", 2))
    assert isinstance(note, NoteRetry)
    assert '"error": "killed"' in note.history
    assert queued == [NoteRetry(3, 0, "")], "it never began"
    driver.check()
    actions = driver.handle(Stored(1, (result(first_of(1), elapsed_s=0.04),)))
    again = Assignment(2, 2, {"x": 2}, note.history)
    assert any(isinstance(action, Dispatch) and again in action.assignments for action in actions)


def test_when_no_group_is_left_the_run_has_failed() -> None:
    driver = Driver(DriverConfig(total=10, groups=2))
    assert driver.handle(GroupLost(0, "rank 1: no such file", is_usage=True)) == []
    assert driver.handle(GroupLost(1, "rank 2: no such file", is_usage=True)) == [
        Shutdown("failed", "rank 2: no such file", is_usage=True)
    ]


def test_the_run_is_complete_when_the_sampler_has_no_more_points() -> None:
    driver = started()
    _, ask = driver.handle(Stored(0, (result(first_of(0)),)))
    assert ask == Ask(1)
    assert driver.handle(Asked([])) == [Shutdown("complete")]
    assert driver.handle(GroupReady(5)) == []


def test_a_stop_lets_running_trials_end() -> None:
    driver = started(2)
    assert driver.handle(StopRequested("SIGTERM")) == []
    (tell,) = driver.handle(Stored(0, (result(first_of(0)),)))
    assert isinstance(tell, Tell)
    assert driver.handle(Stored(1, (result(first_of(1)),)))[1] == Shutdown("stopped", "SIGTERM")


def test_checkpoints_come_at_their_time() -> None:
    driver = started(checkpoint_every_s=10.0)
    times = [now_s / 10 for now_s in range(1000, 1500)]
    came = [now_s for now_s in times if driver.handle(Tick(now_s)) == [Checkpoint()]]
    assert came == [102.0, 106.0, 114.0, 124.0, 134.0, 144.0]


@pytest.mark.parametrize("event", [GroupReady(0), Asked([{"x": 9}])])
def test_an_event_that_cannot_happen_raises_and_changes_nothing(event: GroupReady | Asked) -> None:
    driver = started()
    before = (driver.running, driver.busy_groups, driver.tally.done)
    with pytest.raises(ProtocolError):
        driver.handle(event)
    driver.check()
    assert (driver.running, driver.busy_groups, driver.tally.done) == before


def test_a_group_that_is_never_set_up_is_given_up() -> None:
    driver = Driver(DriverConfig(total=10, groups=2, start_timeout_s=100.0))
    driver.handle(Tick(0.0), GroupReady(0))
    assert not driver.tally.lost_groups
    driver.handle(Tick(100.5))
    assert "not set up after 100 s" in driver.tally.lost_groups[1]
    assert driver.handle(GroupReady(1)) == []
    assert driver.ready_groups == 1


def test_no_group_has_two_of_those_that_were_queued_in_a_dead_one() -> None:
    driver = Driver(DriverConfig(total=50, groups=3, max_attempts=3))
    waiting: dict[int, list[Assignment]] = {group: [] for group in range(3)}

    def handle(*events: Event) -> None:
        todo = deque(driver.handle(*events))
        while todo:
            action = todo.popleft()
            driver.check()
            if isinstance(action, Ask):
                todo.extend(driver.handle(Asked([{"x": 0} for _ in range(action.count)])))
            elif isinstance(action, Dispatch):
                waiting[action.group] += action.assignments

    handle(*map(GroupReady, range(3)))
    for group in range(3):
        done, waiting[group] = waiting[group], []
        handle(Stored(group, tuple(result(assignment, elapsed_s=1e-6) for assignment in done)))
    lost = waiting.pop(0)
    assert len(lost) > 1
    handle(GroupLost(0, "killed", is_death=True))
    # Which one it was is not known: the first has cost an attempt, and from now on it would be known.
    first, others = lost[0].number, {assignment.number for assignment in lost}
    attempts = {}
    while any(waiting.values()):
        running = [queue[0] for queue in waiting.values() if queue]
        assert all(len(queue) == 1 for queue in waiting.values() if {a.number for a in queue} & others)
        for group, queue in waiting.items():
            if queue:
                assignment = queue.pop(0)
                attempts[assignment.number] = assignment.attempt
                handle(Stored(group, (result(assignment, elapsed_s=1e-6),)))
        assert running
    assert {number: attempts[number] for number in others} == {n: 2 if n == first else 1 for n in others}
    assert driver.tally.done == 50


def test_without_a_group_the_run_can_be_resumed() -> None:
    driver = Driver(DriverConfig(total=3, groups=1))
    driver.handle(GroupReady(0))
    driver.handle(Asked([{"x": 0}]))
    actions = driver.handle(GroupLost(0, "rank 1 was killed", is_death=True))
    (failure,) = [action for action in actions if isinstance(action, RecordFailure)]
    assert (failure.number, failure.error) == (0, "rank 1 was killed")
    failed = Result(0, 1, TrialState.FAIL, (), 0.0, 0.0, failure.error, False, b"r")
    end = driver.handle(Stored(0, (failed,)))[-1]
    assert end == Shutdown("stopped", "no group is left; at last rank 1 was killed")


def test_a_generation_of_a_sampler_that_learns_begins_before_all_of_it_is_chosen() -> None:
    driver = Driver(DriverConfig(total=7, groups=2, batch=4, is_adaptive=True))
    assert driver.handle(GroupReady(0), GroupReady(1)) == [Ask(1)]
    assert driver.handle(Asked([{"x": 0}])) == [Dispatch(0, (first_of(0),))]
    assert driver.wants_point
    assert driver.handle(Idle()) == [Ask(1)]
    assert driver.handle(Asked([{"x": 1}])) == [Dispatch(1, (first_of(1),))]
    assert driver.handle(Stored(0, (result(first_of(0)),)), Stored(1, (result(first_of(1)),))) == [Ask(1)]
    driver.handle(Asked([{"x": 2}]))
    assert driver.handle(Stored(0, (result(first_of(2)),))) == [Ask(1)], "not told: the generation has not ended"
    driver.handle(Asked([{"x": 3}]))
    assert not driver.wants_point
    told, ask = driver.handle(Stored(1, (result(first_of(3)),)))
    assert isinstance(told, Tell)
    assert [trial.number for trial in told.trials] == [0, 1, 2, 3]
    assert ask == Ask(1)


def test_the_rest_of_a_generation_is_told_when_a_sampler_has_no_more_points() -> None:
    driver = Driver(DriverConfig(total=7, groups=1, batch=4, is_adaptive=True))
    driver.handle(GroupReady(0))
    driver.handle(Asked([{"x": 0}]))
    assert driver.handle(Stored(0, (result(first_of(0)),))) == [Ask(1)]
    ended = driver.handle(Asked([]))
    assert ended == [Tell((FinishedTrial(0, TrialState.COMPLETE, (0.0,)),)), Shutdown("complete")]
