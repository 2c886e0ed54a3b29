"""The driver: which group runs which trial, and when the run has ended.

Rule 1: everything that decides about trials and groups lives here. Rule 2: this file knows no clock, no transport, no
file and no random number; all of that enters as an event and leaves as an action.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from mpiens.driver.actions import (
    Action,
    Ask,
    Checkpoint,
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
from mpiens.driver.invariants import broken
from mpiens.driver.live import LiveTrial
from mpiens.driver.roster import Roster
from mpiens.driver.start import Start
from mpiens.driver.stopping import Stopping
from mpiens.driver.supply import ASKED_AHEAD, Supply
from mpiens.driver.suspicion import Suspicion
from mpiens.driver.tally import Tally
from mpiens.errors import ProtocolError
from mpiens.history import FailedAttempt, extended
from mpiens.record import Params
from mpiens.reports import Report
from mpiens.samplers.base import FinishedTrial
from mpiens.trial import FINISHING, TrialEvent, TrialState

LOST = "the run was killed in the midst of it, in every one of {} attempts"
"""Cause of a trial that has cost too many processes."""

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
        self._roster = Roster(config.is_adaptive)
        self._unheard = dict.fromkeys(range(config.groups))
        self._start_s: float | None = None
        self._supply = Supply(config)
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
        self._suspicion = Suspicion(config.groups, config.max_attempts, config.attributes_deaths)
        self._opening: list[Action] = []
        if start is not None:
            self._take_over(start)

    @property
    def running(self) -> int:
        """Trials that have been dispatched and are not finished."""
        return len(self._live) - len(self._waiting) - len(self._suspicion.held)

    @property
    def busy_groups(self) -> int:
        """Groups that have a trial."""
        return self._roster.busy

    @property
    def ready_groups(self) -> int:
        """Groups that are set up."""
        return len(self._roster)

    def unfinished(self) -> list[tuple[int, int, int, Params, str]]:
        """Number, attempt, group, point and history of trials that are not finished; group -1: it waits.

        Each group's trials are in the order in which it runs them.
        """
        sent = dict.fromkeys(self._roster.in_flight())
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
        """True when an `Idle` event would be used to ask for a point."""
        if self.phase is not Phase.RUNNING or not self.config.is_adaptive or self._suspicion.is_confining:
            return False
        # Groups that are being set up will all want one at the same time.
        ahead = len(self._unheard) + int(ASKED_AHEAD * len(self._roster))
        return self._supply.wants_point(len(self._waiting), ahead, self._roster.is_hungry)

    def _take_over(self, start: Start) -> None:
        watched = []
        for past in start.pending:
            trial = self._live[past.number] = LiveTrial(
                past.number, past.params, attempt=past.attempt, history=past.history, spared=past.spared
            )
            if past.has_failed(self.config.max_attempts):
                trial.advance(TrialEvent.DISPATCHED)
                error = past.cause or LOST.format(past.attempt)
                self._opening.append(
                    RecordFailure(past.number, past.attempt, -1, past.params, 0.0, 0.0, error, past.history)
                )
                continue
            if past.was_sent and not past.is_cleared:
                self._suspicion.watch((past.number,))
                watched.append(trial)
            elif not self._suspicion.hold(trial):
                self._waiting.append(trial)
        free = [trial for trial in watched if not self._suspicion.hold(trial)]
        self._waiting.extendleft(reversed(free))
        untold = self._supply.take_over(start.asked, start.untold, bool(self._live))
        if untold:
            self._opening.append(Tell(untold))

    # --- events -----------------------------------------------------------------------------------------------------

    def _on_group_ready(self, event: GroupReady, actions: list[Action]) -> None:  # noqa: ARG002
        if event.group in self._roster:
            raise ProtocolError(f"group {event.group} says twice that it is ready")
        if event.group in self.tally.lost_groups:
            return  # It was given up; what it has to say comes too late.
        self._unheard.pop(event.group, None)
        self._roster.join(event.group)

    def _on_group_lost(self, event: GroupLost, actions: list[Action]) -> None:
        if event.group in self.tally.lost_groups:
            return
        self.tally.lost_groups[event.group] = event.error
        self._blame = event
        self._unheard.pop(event.group, None)
        had = self._roster.leave(event.group)
        blamed = next(iter(had), None) if event.number is None else event.number
        # Results of short trials come together: it may have been any of those that the group had.
        is_sure = event.number is not None or len(had) == 1
        if not is_sure:
            self._suspicion.watch(had)
        for number in had:
            trial = self._live[number]
            if number == blamed:
                failed = FailedAttempt(trial.attempt, event.group, None, None, event.error, is_sure)
                self._give_up_attempt(trial, failed, is_sure and trial.attempt >= self.config.max_attempts, actions)
            else:  # It was queued behind the trial that was lost, and never began.
                trial.advance(TrialEvent.REQUEUED)
                trial.attempt -= 1
                actions.append(NoteRetry(trial.number, trial.attempt, trial.history))
                if not self._suspicion.hold(trial):
                    self._waiting.append(trial)

    def _on_asked(self, event: Asked, actions: list[Action]) -> None:
        trials = self._supply.take(event.points)
        self._live.update((trial.number, trial) for trial in trials)
        self._waiting += trials
        self._end_generation(actions)

    def _on_stored(self, event: Stored, actions: list[Action]) -> None:
        told = []
        live, count, goals, took = self._live, self.tally.count, self.config.goals, self.stopping.took
        is_suspicious = self._suspicion.is_active
        for result in event.results:
            number, state = result.number, result.state
            trial = live.get(number)
            if trial is None or not trial.is_at(event.group, result.attempt):
                continue
            trial.advance(FINISHING[state])
            del live[number]
            if is_suspicious:
                self._suspicion.clear(number)
            count(result, trial.params, goals)
            if state is TrialState.COMPLETE:
                took(result.elapsed_s)
            told.append(FinishedTrial(number, state, result.values, reports=result.reports))
        self._roster.release(event.group, event.results)
        if not told:
            return
        if not self.config.batch:
            actions.append(Tell(tuple(told)))
            return
        self._supply.gather(told)
        self._end_generation(actions)

    def _end_generation(self, actions: list[Action]) -> None:
        """Tell the generation's results once there are all of them."""
        if told := self._supply.generation(bool(self._live)):
            actions.append(Tell(told))

    def _on_failed(self, event: Failed, actions: list[Action]) -> None:
        for result in event.results:
            trial = self._live.get(result.number)
            if trial is None or not trial.is_at(event.group, result.attempt):
                continue
            self._roster.release(event.group, (result,))
            self._suspicion.clear(result.number)  # it has failed, but ended nothing
            is_last = not result.retry or trial.own_attempts >= self.config.max_attempts
            times_s = (result.started_s or None, result.elapsed_s if result.started_s else None)
            failed = FailedAttempt(trial.attempt, event.group, *times_s, result.error)
            self._give_up_attempt(trial, failed, is_last, actions, result.reports)

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

    # --- decisions --------------------------------------------------------------------------------------------------

    def _give_up_attempt(
        self,
        trial: LiveTrial,
        failed: FailedAttempt,
        is_last: bool,
        actions: list[Action],
        reports: tuple[Report, ...] = (),
    ) -> None:
        """Try the trial again, or have its failure stored."""
        trial.history = extended(trial.history, failed)
        if is_last:
            started_s, elapsed_s = failed.started_s or 0.0, failed.elapsed_s or 0.0
            about = (trial.number, trial.attempt, failed.group, trial.params, started_s, elapsed_s)
            actions.append(RecordFailure(*about, failed.error, trial.history, reports))
            return
        trial.advance(TrialEvent.REQUEUED)
        trial.spared += not failed.is_own
        self.tally.repeat(failed.error)
        actions.append(NoteRetry(trial.number, trial.attempt, trial.history))
        if not self._suspicion.hold(trial):
            self._waiting.appendleft(trial)

    def _feed(self, actions: list[Action], has_asked: bool) -> None:
        """Give trials to the groups that have room; ask for points when there are too few."""
        if self.phase is not Phase.RUNNING:
            return
        roster = self._roster
        roster.set_depth(self._suspicion.is_active, self.config.total - self.tally.done)
        if self._suspicion.is_confining:
            free = roster.free
            confined = self._suspicion.release(self.running, len(free))
            actions += map(roster.hand_one, free, confined)
            return
        handed = list(roster.hand_out(self._waiting)) if roster.is_hungry else []
        actions += handed
        if self.wants_point:
            # Choosing a point takes a while: what is to be sent goes first, then there is time, or another event.
            if not has_asked and not handed:
                self._supply.asking = 1
                actions.append(Ask(1))
            return
        if self._supply.asking or not self._supply.left or not roster.is_hungry:
            return
        self._supply.asking = self._supply.wanted(roster.room, bool(self._live))
        if self._supply.asking:
            actions.append(Ask(self._supply.asking))

    def _end(self, actions: list[Action]) -> None:
        """Has the run ended?"""
        if any(isinstance(action, (Ask, RecordFailure)) for action in actions):
            return
        if not self._supply.left and not self._live:
            self._shut_down(Shutdown("complete"), actions)
        elif not self._roster and not self._unheard:
            last = self._blame
            if last.is_death:
                self._shut_down(Shutdown("stopped", f"no group is left; at last {last.error}"), actions)
            else:
                self._shut_down(Shutdown("failed", last.error, last.is_usage), actions)
        elif self.phase is Phase.DRAINING and (not self.running or self.stopping.is_over):
            if not self._may_have_lost:
                self._leave_running()
            self._shut_down(Shutdown("stopped", self.stopping.reason), actions)

    def leave(self) -> None:
        """The run ends here, for a cause of its own; what runs is left."""
        self._leave_running()
        self.phase = Phase.STOPPED

    def _leave_running(self) -> None:
        """Attempts that are left at the end are no attempts: their trials run again, as if they had not been sent."""
        for number in self._roster.recall():
            trial = self._live[number]
            trial.advance(TrialEvent.REQUEUED)
            trial.attempt -= 1
            self._waiting.append(trial)

    def _shut_down(self, action: Shutdown, actions: list[Action]) -> None:
        self.phase = Phase.STOPPED
        actions.append(action)

    def check(self) -> None:
        """Check the invariants; for tests.

        Raises:
            ProtocolError: One does not hold; the message names it.
        """
        problem = broken(self.config, self._supply.asked, self._live, self._waiting, self._suspicion.held, self._roster)
        if problem:
            raise ProtocolError(problem)
