"""The driver: which group runs which trial, and when the run has ended.

Rule 1: everything that decides about trials and groups lives here. Rule 2: this file knows no clock, no transport, no
file and no random number; all of that enters as an event and leaves as an action.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mpiens.driver.actions import (
    Action,
    Ask,
    Checkpoint,
    Dispatch,
    Hurry,
    Judge,
    NoteRetry,
    RecordFailure,
    Shutdown,
    Tell,
)
from mpiens.driver.config import DriverConfig, Phase
from mpiens.driver.events import (
    Asked,
    Event,
    Failed,
    GroupLost,
    GroupReady,
    Idle,
    Questioned,
    StopRequested,
    Stored,
    Tick,
)
from mpiens.driver.live import Group, LiveTrial
from mpiens.driver.queueing import DEEPEST_QUEUE, Durations
from mpiens.driver.start import Start
from mpiens.driver.stopping import Stopping
from mpiens.driver.tally import Tally
from mpiens.errors import ProtocolError
from mpiens.history import FailedAttempt, extended
from mpiens.messages import Result
from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial
from mpiens.trial import FINISHING, TrialEvent, TrialState

ASKED_AHEAD = 1 / 4
"""So many points per group wait for a free group when a sampler learns: none goes hungry while a point is chosen, and
no point is much older than those that run."""

LOST = "the run was killed in the midst of it, in every one of {} attempts"
"""Cause of a trial that has cost too many processes."""


TWICE = 2
"""A trial that has cost so many attempts when processes ended for unknown reasons runs alone from then on."""

FIRST_CHECKPOINT_S = 2.0
"""The first interval between checkpoints; the following ones double up to the one of the spec."""


class Driver:
    """Decides. See `handle`.

    Args:
        config: What it must know of the run.
        start: What earlier processes have left; None: this is a new run.

    Attributes:
        tally: Counts so far.
        phase: Where the run is.
        stopping: Why and until when it stops, if it does.
    """

    def __init__(self, config: DriverConfig, start: Start | None = None) -> None:
        self.config = config
        self.tally = Tally(config.total) if start is None else start.tally
        self.phase = Phase.RUNNING
        self._live: dict[int, LiveTrial] = {}
        self._waiting: deque[LiveTrial] = deque()
        self._groups: dict[int, Group] = {}
        self._hungry: dict[int, None] = {}
        self._unheard = dict.fromkeys(range(config.groups))
        self._start_s: float | None = None
        self._asked = 0
        self._asking = 0
        self._is_exhausted = False
        self._generation: list[FinishedTrial] = []
        self._durations = Durations()
        self._depth = 1
        self._checkpoint_due_s: float | None = None
        # Dense at first, so that the first results can be read soon.
        self._checkpoint_in_s = min(FIRST_CHECKPOINT_S, config.checkpoint_every_s)
        self._blame = GroupLost(-1, "")
        self._may_have_lost = False
        self.stopping = Stopping(config.drain_s, config.deadline_s, config.wind_down_s)
        self._handlers: dict[type[Any], Callable[[Any, list[Action]], None]] = {
            Stored: self._on_stored,
            Failed: self._on_failed,
            Questioned: self._on_questioned,
            Asked: self._on_asked,
            GroupReady: self._on_group_ready,
            GroupLost: self._on_group_lost,
            Tick: self._on_tick,
            StopRequested: self._on_stop,
            Idle: lambda event, actions: None,  # noqa: ARG005 - time to ask ahead, which `_feed` does
        }
        # Trials that may have ended a process or a group. They run one at a time, so that it is known if one does so
        # again; the others of them are held back.
        self._suspects: set[int] = set()
        self._held: deque[LiveTrial] = deque()
        # Trials that were sent when a process ended for the first time. They run beside each other, but no group has
        # two, so that it is known which it had if it happens again. While there are suspects they wait.
        self._watched: set[int] = set()
        self._later: deque[LiveTrial] = deque()
        self._opening: list[Action] = []
        if start is not None:
            self._take_over(start)

    @property
    def running(self) -> int:
        """Trials that have been dispatched and are not finished."""
        return len(self._live) - len(self._waiting) - len(self._held) - len(self._later)

    @property
    def busy_groups(self) -> int:
        """Groups that have a trial."""
        return sum(1 for group in self._groups.values() if group.in_flight)

    @property
    def ready_groups(self) -> int:
        """Groups that are set up."""
        return len(self._groups)

    def unfinished(self) -> list[tuple[int, int, int, Params, str]]:
        """Number, attempt, group, point and history of trials that are not finished; group -1: it waits.

        Each group's trials are in the order in which it runs them.
        """
        sent = {number: group for group in self._groups.values() for number in group.in_flight}
        others = [t for number, t in self._live.items() if number not in sent]
        rows = [(t.number, t.attempt, -1, t.params, t.history) for t in others]
        return rows + [(t.number, t.attempt, t.group, t.params, t.history) for t in map(self._live.__getitem__, sent)]

    def handle(self, *events: Event) -> list[Action]:
        """Take in what happened; what is to be done now.

        Raises:
            ProtocolError: An event that cannot happen now; nothing has changed by it.
        """
        actions: list[Action] = []
        if self.phase is Phase.STOPPED:
            return actions
        if self._opening:
            actions, self._opening = self._opening, []
        for event in events:
            self._handlers[type(event)](event, actions)
        self._feed(actions, has_asked=any(isinstance(event, Asked) for event in events))
        self._end(actions)
        return actions

    @property
    def wants_point(self) -> bool:
        """True when an `Idle` event would be used to ask for a point.

        Points of a sampler that learns are asked for one by one, because that may take a while and messages must not
        wait for long.
        """
        config = self.config
        if self.phase is not Phase.RUNNING or not config.is_adaptive or config.batch:
            return False
        if self._asking or self._is_exhausted or self._asked >= config.total:
            return False
        # Groups that are being set up will all want one at the same time.
        ahead = len(self._unheard) + int(ASKED_AHEAD * len(self._groups))
        return bool(self._hungry) or len(self._waiting) < ahead

    def _take_over(self, start: Start) -> None:
        self._asked = start.asked
        for past in start.pending:
            trial = self._live[past.number] = LiveTrial(
                past.number, past.params, attempt=past.attempt, history=past.history
            )
            if past.attempt >= self.config.max_attempts:
                trial.advance(TrialEvent.DISPATCHED)
                error = past.cause or LOST.format(past.attempt)
                self._opening.append(
                    RecordFailure(past.number, past.attempt, -1, past.params, 0.0, 0.0, error, past.history)
                )
                continue
            if past.was_sent and not past.is_cleared:
                # One at a time takes long: so only those that were there twice, or have but one attempt left.
                if past.attempt >= min(TWICE, self.config.max_attempts - 1):
                    self._suspects.add(past.number)
                    self._held.append(trial)
                else:
                    self._watched.add(past.number)
                    self._later.append(trial)
            else:
                self._waiting.append(trial)
        if self.config.batch and self._live:
            self._generation = list(start.untold)
        elif start.untold:
            self._opening.append(Tell(start.untold))

    # --- events -----------------------------------------------------------------------------------------------------

    def _on_group_ready(self, event: GroupReady, actions: list[Action]) -> None:  # noqa: ARG002
        if event.group in self._groups:
            raise ProtocolError(f"group {event.group} says twice that it is ready")
        if event.group in self.tally.lost_groups:
            return  # It was given up; what it has to say comes too late.
        self._unheard.pop(event.group, None)
        self._groups[event.group] = Group()
        self._hungry[event.group] = None

    def _on_group_lost(self, event: GroupLost, actions: list[Action]) -> None:
        if event.group in self.tally.lost_groups:
            return
        self.tally.lost_groups[event.group] = event.error
        self._blame = event
        group = self._groups.pop(event.group, None)
        self._hungry.pop(event.group, None)
        self._unheard.pop(event.group, None)
        if group is None:
            return
        blamed = next(iter(group.in_flight), None) if event.number is None else event.number
        for number in group.in_flight:
            trial = self._live[number]
            if number == blamed:
                self._give_up_attempt(trial, event.group, event.error, True, 0.0, 0.0, actions)
            else:  # It was queued behind the trial that was lost, and never began.
                trial.advance(TrialEvent.REQUEUED)
                trial.attempt -= 1
                self._waiting.append(trial)
        if event.number is None:
            self._suspect(group.in_flight)

    def _on_asked(self, event: Asked, actions: list[Action]) -> None:  # noqa: ARG002
        if len(event.points) > self._asking:
            raise ProtocolError(f"the sampler was asked for {self._asking} points and gave {len(event.points)}")
        if len(event.points) < self._asking:
            self._is_exhausted = True
        self._asking = 0
        trials = list(map(LiveTrial, itertools.count(self._asked), event.points))
        self._asked += len(trials)
        self._live.update((trial.number, trial) for trial in trials)
        self._waiting += trials

    def _on_stored(self, event: Stored, actions: list[Action]) -> None:
        told = []
        live, count, goals, took = self._live, self.tally.count, self.config.goals, self.stopping.took
        for result in event.results:
            number, state = result.number, result.state
            trial = live.get(number)
            if trial is None or not trial.is_at(event.group, result.attempt):
                continue
            trial.advance(FINISHING[state])
            del live[number]
            if self._suspects or self._watched:
                self._clear(number)
            count(result, trial.params, goals)
            if state is TrialState.COMPLETE:
                took(result.elapsed_s)
            told.append(FinishedTrial(number, state, result.values, reports=result.reports))
        self._release(event.group, event.results)
        if not told:
            return
        if not self.config.batch:
            actions.append(Tell(tuple(told)))
            return
        self._generation += told
        if not self._live:
            self._generation.sort(key=lambda trial: trial.number)
            actions.append(Tell(tuple(self._generation)))
            self._generation = []

    def _on_failed(self, event: Failed, actions: list[Action]) -> None:
        for result in event.results:
            trial = self._live.get(result.number)
            if trial is None or not trial.is_at(event.group, result.attempt):
                continue
            self._release(event.group, (result,))
            self._clear(result.number)  # it has failed, but ended nothing
            self._give_up_attempt(
                trial, event.group, result.error, result.retry, result.started_s, result.elapsed_s, actions
            )

    def _on_questioned(self, event: Questioned, actions: list[Action]) -> None:
        asked = event.question
        trial = self._live.get(asked.number)
        # Nobody waits for an answer about an attempt that has been given up.
        if trial is not None and trial.is_at(asked.group, asked.attempt):
            actions.append(Judge(asked))

    def _on_tick(self, event: Tick, actions: list[Action]) -> None:
        self._start_s = event.now_s if self._start_s is None else self._start_s
        self.stopping.tick(event.now_s)
        self._follow_stopping(actions)
        if self._unheard and event.now_s - self._start_s > self.config.start_timeout_s:
            for group in list(self._unheard):
                error = f"not set up after {self.config.start_timeout_s:g} s; its imports or its set-up hang"
                self._on_group_lost(GroupLost(group, error), actions)
        if self._checkpoint_due_s is None:
            self._checkpoint_due_s = event.now_s + self._checkpoint_in_s
        elif event.now_s >= self._checkpoint_due_s:
            self._checkpoint_in_s = min(2 * self._checkpoint_in_s, self.config.checkpoint_every_s)
            self._checkpoint_due_s = event.now_s + self._checkpoint_in_s
            actions.append(Checkpoint())

    def _on_stop(self, event: StopRequested, actions: list[Action]) -> None:
        self.stopping.request(event.reason)
        self._may_have_lost |= event.may_be_loss
        self._follow_stopping(actions)

    def _follow_stopping(self, actions: list[Action]) -> None:
        if self.stopping.has_begun:
            self.phase = Phase.DRAINING
        if self.stopping.must_hurry():
            actions.append(Hurry())

    def _suspect(self, numbers: Iterable[int]) -> None:
        """One of these has ended its group, and which one is not sure."""
        self._suspects.update(numbers)
        held = [trial for trial in self._waiting if trial.number in self._suspects]
        self._waiting = deque(trial for trial in self._waiting if trial.number not in self._suspects)
        self._held.extend(held)

    def _clear(self, number: int) -> None:
        """This trial has ended, and nothing else with it."""
        self._suspects.discard(number)
        self._watched.discard(number)

    # --- decisions --------------------------------------------------------------------------------------------------

    def _give_up_attempt(
        self,
        trial: LiveTrial,
        group: int,
        error: str,
        retry: bool,
        started_s: float,
        elapsed_s: float,
        actions: list[Action],
    ) -> None:
        """Try the trial again, or have its failure stored."""
        times_s = (started_s or None, elapsed_s if started_s else None)
        trial.history = extended(trial.history, FailedAttempt(trial.attempt, group, *times_s, error))
        if retry and trial.attempt < self.config.max_attempts:
            trial.advance(TrialEvent.REQUEUED)
            self.tally.repeat(error)
            self._waiting.appendleft(trial)
            actions.append(NoteRetry(trial.number, trial.history))
            return
        failed = (trial.number, trial.attempt, group, trial.params, started_s, elapsed_s, error, trial.history)
        actions.append(RecordFailure(*failed))

    def _release(self, index: int, results: Sequence[Result]) -> None:
        """These attempts no longer occupy their group."""
        group = self._groups.get(index)
        if group is None:
            return
        for result in results:
            group.in_flight.pop(result.number, None)
        self._durations.took([result.elapsed_s for result in results])
        if len(group.in_flight) * 2 <= self._depth:
            self._hungry[index] = None

    def _queue_depth(self) -> int:
        """How many trials a group may hold, the running one included."""
        # A trial that may have ended a process has its group alone, so that it is known if it does so again.
        depth = 1 if self._suspects or self._watched else self._durations.depth(self.config.is_adaptive)
        if depth == 1 or self.config.is_adaptive:
            return depth
        # Towards the end the groups share what is left.
        left = self.config.total - self.tally.done
        return min(depth, max(1, left // max(1, len(self._groups))))

    def _feed(self, actions: list[Action], has_asked: bool) -> None:
        """Give trials to the groups that have room; ask for points when there are too few."""
        if self.phase is not Phase.RUNNING:
            return
        if self._held and len(self._suspects) == len(self._held):
            self._waiting.appendleft(self._held.popleft())
        if self._later and not self._suspects:
            self._waiting.extendleft(reversed(self._later))
            self._later.clear()
        depth = self._queue_depth()
        if depth > self._depth:
            self._hungry.update(
                (index, None) for index, group in self._groups.items() if len(group.in_flight) * 2 <= depth
            )
        self._depth = depth
        if self._hungry:
            self._dispatch(actions)
        if self.wants_point:
            if not has_asked:
                self._asking = 1
                actions.append(Ask(1))
            return
        left = self.config.total - self._asked
        if self._asking or self._is_exhausted or not left or not self._hungry:
            return
        if self.config.batch:
            wanted = 0 if self._live or self._generation else self.config.batch
        elif self.config.is_adaptive:
            return
        else:
            wanted = sum(max(0, depth - len(self._groups[index].in_flight)) for index in self._hungry)
        self._asking = min(wanted, left)
        if self._asking:
            actions.append(Ask(self._asking))

    def _dispatch(self, actions: list[Action]) -> None:
        if not self._waiting:
            return
        hungry = sorted(self._hungry, key=lambda index: len(self._groups[index].in_flight))
        share = -(-len(self._waiting) // len(hungry))
        for index in hungry:
            group = self._groups[index]
            assignments = []
            for _ in range(min(max(0, self._depth - len(group.in_flight)), share, len(self._waiting))):
                trial = self._waiting.popleft()
                group.in_flight[trial.number] = None
                assignments.append(trial.dispatch(index))
            if assignments:
                actions.append(Dispatch(index, tuple(assignments)))
            if len(group.in_flight) >= self._depth:
                del self._hungry[index]

    def _end(self, actions: list[Action]) -> None:
        """Has the run ended?"""
        if any(isinstance(action, (Ask, RecordFailure)) for action in actions):
            return
        is_asked = self._is_exhausted or self._asked >= self.config.total
        if is_asked and not self._live:
            self._shut_down(Shutdown("complete"), actions)
        elif not self._groups and not self._unheard:
            last = self._blame
            if last.is_death:
                self._shut_down(Shutdown("stopped", f"no group is left; at last {last.error}"), actions)
            else:
                self._shut_down(Shutdown("failed", last.error, last.is_usage), actions)
        elif self.phase is Phase.DRAINING and (not self.running or self.stopping.is_over):
            if not self._may_have_lost:
                self._leave_running()
            self._shut_down(Shutdown("stopped", self.stopping.reason), actions)

    def _leave_running(self) -> None:
        """Attempts that are left at the end are no attempts: their trials run again, as if they had not been sent."""
        for group in self._groups.values():
            for number in group.in_flight:
                trial = self._live[number]
                trial.advance(TrialEvent.REQUEUED)
                trial.attempt -= 1
                self._waiting.append(trial)
            group.in_flight.clear()

    def _shut_down(self, action: Shutdown, actions: list[Action]) -> None:
        self.phase = Phase.STOPPED
        actions.append(action)

    def check(self) -> None:
        """Check the invariants; for tests.

        Raises:
            ProtocolError: One does not hold; the message names it.
        """
        in_flight = [number for group in self._groups.values() for number in group.in_flight]
        waiting = {trial.number for trial in self._waiting}
        held = {trial.number for trial in (*self._held, *self._later)}
        problems: Sequence[tuple[bool, str]] = (
            (len(in_flight) != len(set(in_flight)), "a trial is in flight in two groups"),
            (bool((waiting | held) & set(in_flight)), "a trial waits and is in flight"),
            (bool(waiting & held), "a trial waits and is held back"),
            (not waiting | held | set(in_flight) <= self._live.keys(), "a finished trial is waiting or in flight"),
            (len(self._suspects) > len(self._held) + 1, "two trials that may end a group run at once"),
            (any(t.state is not TrialState.WAITING for t in self._waiting), "a waiting trial is not WAITING"),
            (any(self._live[n].state is not TrialState.RUNNING for n in in_flight), "in flight, but not RUNNING"),
            (any(t.attempt > self.config.max_attempts for t in self._live.values()), "too many attempts"),
            (self._asked > self.config.total, "more points asked for than trials wanted"),
            (any(len(g.in_flight) > DEEPEST_QUEUE for g in self._groups.values()), "a queue is too deep"),
        )
        for is_broken, problem in problems:
            if is_broken:
                raise ProtocolError(problem)
