"""Rank 0: carries events to the driver and carries out what it wants."""

from __future__ import annotations

import contextlib
import gc
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from mpiens import guard
from mpiens.comm.backoff import Backoff
from mpiens.comm.base import Envelope, Transport
from mpiens.driver import Driver, Start
from mpiens.driver.actions import Action, Ask, Checkpoint, Dispatch, Hurry, Judge, NoteRetry, RecordFailure, Tell
from mpiens.driver.actions import Shutdown as EndRun
from mpiens.driver.events import (
    Asked,
    Event,
    Idle,
    Stored,
    Tick,
)
from mpiens.errors import MpiensError, SearchError, StoreError, WaitTimeout
from mpiens.messages import Alive, Assign, Message, Result, Verdict
from mpiens.messages import Hurry as HurryUp
from mpiens.record import TrialRecord, encode
from mpiens.runtime.archive import Archive
from mpiens.runtime.gauge import Gauge
from mpiens.runtime.inbox import Inbox
from mpiens.runtime.logbook import Logbook
from mpiens.runtime.observer import Ending, Observer
from mpiens.runtime.prepare import Job
from mpiens.runtime.signals import StopSignals
from mpiens.runtime.stops import Stops
from mpiens.store.base import SYNC_EVERY_S, RunState
from mpiens.trial import TrialState, trial_seed

TICK_S = 0.25
_ALIVE_EVERY_S = 60.0


class Drive:
    """One run, seen from rank 0.

    Args:
        job: What to run.
        archive: Who keeps the results.
        logbook: Where the run's course goes.
        start: What earlier processes have left, or None.
        transport: The way to the groups' roots.
        observer: Who watches.
        signals: What asks the run to stop.
    """

    def __init__(
        self,
        job: Job,
        archive: Archive,
        logbook: Logbook,
        start: Start | None,
        transport: Transport,
        observer: Observer,
        signals: StopSignals,
    ) -> None:
        self._job = job
        self._archive = archive
        self._logbook = logbook
        self._transport = transport
        self._observer = observer
        self._driver = Driver(job.driver, start)
        self._gauge = Gauge(job, self._driver)
        self._stops = Stops(job.run_dir, signals, self._driver.stopping, observer)
        self._outgoing: list[Dispatch] = []
        self._checkpoint_due = False
        self._chores: Iterator[None] | None = None
        self._roots = [members[0] for members in job.layout.groups]
        self._synced_s = self._spoke_s = self._gauge.start_s
        self._inbox = Inbox(job, transport, archive, self._driver, self._gauge, observer)
        self._end: EndRun | None = None
        self._actions: dict[type[Any], Callable[[Any], Event | None]] = {
            Ask: self._ask,
            Dispatch: self._dispatch,
            RecordFailure: self._record_failure,
            NoteRetry: self._note_retry,
            Tell: self._tell,
            Judge: self._judge,
            Checkpoint: self._checkpoint,
            Hurry: self._hurry,
            EndRun: self._note_end,
        }

    def bound_trials(self) -> None:
        """End trials of this rank itself when their time is up."""
        self._stops.bound(self._job.driver.drain_s)

    @property
    def has_stuck_group(self) -> bool:
        """True when ranks of some group will not answer any more."""
        return self._inbox.has_stuck_group

    def run(self) -> Ending:
        """Until every trial is finished, or none can run any more.

        Raises:
            MpiensError: Results cannot be stored, or the sampler fails. What was stored before is safe.
        """
        try:
            return self._run()
        except OSError as error:
            text = f"{self._job.run_dir}: {error.strerror}: {error.filename}; is the run directory still there?"
            failure = StoreError(text)
            self._observer.failed(failure, self._gauge.snapshot("failed"))
            raise failure from error
        except MpiensError as error:
            if not isinstance(error, (StoreError, WaitTimeout)):
                self._save()
            self._observer.failed(error, self._gauge.snapshot("failed"))
            raise

    def _save(self) -> None:
        """Leave a run that can be read, and gone on with: its running trials are not to blame for its end."""
        with contextlib.suppress(MpiensError, OSError):
            self._driver.leave()
            self._archive.finish("stopped", self._between(), 0)
            self._logbook.finish(self._driver, False, self._between())

    def _run(self) -> Ending:
        for warning in self._job.layout.warnings:
            self._observer.warned(warning)
        self._observer.started(self._gauge.snapshot(), self._job.layout.describe())
        # From here on the run can go on from its directory alone.
        self._logbook.checkpoint(self._driver)
        guard.remove_deaths(self._job.run_dir)
        self._stops.begin()
        # What has been imported stays: the collector need not go through it again and again.
        gc.freeze()
        return self._finish(self._loop())

    def _loop(self) -> EndRun:
        backoff = Backoff()
        self._handle([Tick(self._gauge.start_s)])
        while self._end is None:
            if events := self._inbox.receive():
                backoff.reset()
            now_s = time.monotonic()
            if now_s - self._gauge.ticked_s >= TICK_S:
                events.append(self._tick(now_s))
            events += self._stops.take()
            if events:
                self._handle(events)
            elif self._driver.wants_point:
                self._handle([Idle()])
            elif self._chores is None:
                backoff.pause()
            self._do_chore()
        return self._end

    def beat(self) -> None:
        """What the loop does as time passes, for a world of one rank while its trial runs."""
        now_s = time.monotonic()
        events: list[Event] = self._stops.take()
        if now_s - self._gauge.ticked_s >= TICK_S:
            events.append(self._tick(now_s))
        if events and self._end is None:
            self._handle(events)
        self._do_chore()

    def hear(self, message: Message) -> None:
        """Take in a message at once, of a trial that runs in this rank."""
        self._handle(self._inbox.hear(Envelope(0, message)))

    def _tick(self, now_s: float) -> Tick:
        self._gauge.tick(now_s)
        if now_s - self._synced_s >= SYNC_EVERY_S:
            self._synced_s = now_s
            self._logbook.sync()
        self._archive.tick(now_s)
        self._say_alive(now_s)
        return Tick(now_s)

    def _say_alive(self, now_s: float) -> None:
        """To the ranks, which give up a driver that is silent, and to whoever watches the run."""
        if now_s - self._spoke_s >= _ALIVE_EVERY_S:
            self._spoke_s = now_s
            for rank in range(1, self._job.layout.world_size):
                self._transport.send(rank, Alive())
        self._observer.updated(self._gauge.snapshot())

    # --- out --------------------------------------------------------------------------------------------------------

    def _handle(self, events: Sequence[Event]) -> None:
        """Let the driver decide, and carry that out, until it wants no more.

        Nothing is sent before the logbook says so on disk, all of it in one piece.
        """
        actions: deque[Action] = deque(self._driver.handle(*events))
        while actions:
            action = actions.popleft()
            answer = self._actions[type(action)](action)
            if answer is not None:
                actions.extend(self._driver.handle(answer))
        self._stops.note(self._driver.running)
        self._logbook.flush()
        for dispatch in self._outgoing:
            self._transport.send(self._roots[dispatch.group], Assign(dispatch.assignments))
        self._outgoing.clear()
        if self._checkpoint_due and self._chores is None:
            # Now that everything is carried out, so that driver, sampler and results agree.
            self._checkpoint_due = False
            self._chores = chain(self._logbook.checkpointing(self._driver), self._archive.sealing())

    def _do_chore(self) -> None:
        """One step of writing a checkpoint; it takes some milliseconds, so that no group waits for long.

        A rank that drives and simulates in turn does all of it: the next step might be a trial of an hour away.
        """
        if self._chores is None:
            self._chores = self._archive.chores()
        if self._chores is not None:
            for _step in self._chores:
                if not self._job.layout.is_serial:
                    return
            self._chores = None

    def _ask(self, action: Ask) -> Asked:
        try:
            points = self._job.sampler.ask(action.count)
        except MpiensError:
            raise
        except Exception as error:
            raise SearchError(f"the sampler failed while choosing a point: {type(error).__name__}: {error}") from error
        self._logbook.asked(points)
        return Asked(points)

    def _dispatch(self, action: Dispatch) -> None:
        self._logbook.sent(action.group, action.assignments)
        self._outgoing.append(action)

    def _record_failure(self, action: RecordFailure) -> Stored:
        number = action.number
        started_s = action.started_s or time.time()
        record = TrialRecord(
            number,
            TrialState.FAIL,
            action.attempt,
            action.group,
            trial_seed(self._job.setup.seed, number),
            started_s,
            action.elapsed_s,
            action.error,
            action.params,
            {},
            {},
            action.history,
            action.reports,
        )
        about = (started_s, action.elapsed_s, action.error, False, encode(record))
        result = Result(number, action.attempt, TrialState.FAIL, (), *about, reports=action.reports)
        return self._archive.keep(action.group, result)

    def _note_retry(self, action: NoteRetry) -> None:
        self._logbook.repeated(action.number, action.attempt, action.history)

    def _tell(self, action: Tell) -> None:
        self._logbook.told(action.trials)
        try:
            self._job.sampler.tell(action.trials)
        except MpiensError:
            raise
        except Exception as error:
            raise SearchError(f"the sampler failed while being told: {type(error).__name__}: {error}") from error
        if self._job.pruner is not None:
            self._job.pruner.learn(action.trials)

    def _judge(self, action: Judge) -> None:
        asked, pruner = action.question, self._job.pruner
        is_pruned = pruner is not None and pruner.judge(asked.number, asked.attempt, asked.reports)
        verdict = Verdict(asked.number, asked.attempt, asked.call, is_pruned)
        self._transport.send(self._roots[asked.group], verdict)

    def _checkpoint(self, action: Checkpoint) -> None:  # noqa: ARG002
        self._checkpoint_due = True

    def _hurry(self, action: Hurry) -> None:  # noqa: ARG002
        for root in self._roots:
            self._transport.send(root, HurryUp())

    def _note_end(self, action: EndRun) -> None:
        self._end = action

    def _between(self) -> Callable[[], None]:
        """To be called while files are written: that may take longer than the ranks wait for a word."""
        said_s = time.monotonic()

        def between() -> None:
            nonlocal said_s
            if (now_s := time.monotonic()) - said_s >= TICK_S:
                said_s = now_s
                self._say_alive(now_s)

        return between

    def _finish(self, end: EndRun) -> Ending:
        states: dict[str, RunState] = {"complete": "complete", "stopped": "stopped", "failed": "stopped"}
        between = self._between()
        for note in self._archive.finish(states[end.outcome], between, self._driver.tally.done):
            self._observer.noted(note)
        self._gauge.lost_ranks += self._archive.lost_ranks
        self._logbook.finish(self._driver, end.outcome == "complete", between)
        lost = dict(self._driver.tally.lost_groups)
        ending = Ending(end.outcome, end.reason, end.is_usage, self._gauge.snapshot(end.outcome), lost)
        self._observer.ended(ending)
        return ending
