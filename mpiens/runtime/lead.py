"""Rank 0: prepares the run, tells everybody how trials are run, drives, and lets everybody go."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from mpiens import guard
from mpiens.comm.backoff import Backoff
from mpiens.comm.base import Transport
from mpiens.comm.faults import end_local_ranks
from mpiens.comm.group import GroupLink
from mpiens.comm.loopback import LoopbackTransport
from mpiens.comm.mpi import World
from mpiens.driver import Start
from mpiens.driver.ledger import Ledger
from mpiens.driver.tally import Tally
from mpiens.environment import SUPERVISED, has_fault_tolerance
from mpiens.errors import MpiensError
from mpiens.messages import Left, Message, RankLost, Ready, Shutdown, WriterSetup
from mpiens.runlog import RunLog
from mpiens.runtime.archive import OwnArchive
from mpiens.runtime.drive import Drive
from mpiens.runtime.growth import check_records, keep_forms
from mpiens.runtime.lifesign import read_lifesign
from mpiens.runtime.lock import RunLock
from mpiens.runtime.logbook import Kept, Logbook
from mpiens.runtime.observer import Ending, Observer, still
from mpiens.runtime.order import Order
from mpiens.runtime.origin import NAME, changed_model, edited, keep_origin
from mpiens.runtime.prepare import Job, is_complete, kinds_of_values, open_store, prepare, provenance
from mpiens.runtime.recovery import recover, replay, set_aside
from mpiens.runtime.resume import facts
from mpiens.runtime.serve import LEAVE_TIMEOUT_S, make_member, make_watchdog
from mpiens.runtime.signals import StopSignals
from mpiens.runtime.walltime import Allotment, with_deadline
from mpiens.runtime.writers import WriterRanks
from mpiens.samplers.grid import GridSampler
from mpiens.store import FileStore, remove_packed
from mpiens.trial import TrialState
from mpiens.watchdog import read_kills
from mpiens.worker import GroupRoot

_HASTE_TIMEOUT_S = 2.0
_SURVIVOR_TIMEOUT_S = 10.0


def lead(
    world: World, order: Order, observer: Observer, signals: StopSignals, ask_scheduler: Callable[[], Allotment]
) -> Ending:
    """As rank 0: prepare and drive the run, and hold its directory meanwhile.

    Does not return when ranks do not leave: then the whole job is ended, after all files are complete.

    Raises:
        MpiensError: The run cannot start, or cannot go on. All other ranks have been let go.
    """
    lock = RunLock()
    try:
        return _lead(world, order, observer, signals, ask_scheduler, lock)
    finally:
        lock.release()


def _lead(
    world: World,
    order: Order,
    observer: Observer,
    signals: StopSignals,
    ask_scheduler: Callable[[], Allotment],
    lock: RunLock,
) -> Ending:
    try:
        job = with_deadline(prepare(order, world.size, lock), ask_scheduler)
        attributes = SUPERVISED in os.environ or has_fault_tolerance(os.environ)
        job = replace(job, driver=replace(job.driver, attributes_deaths=attributes))
        for warning in job.warnings:
            observer.warned(warning)
        kept = [setting for setting in job.loaded.overrides.values() if setting not in order.overrides]
        if order.spec is None and kept:
            observer.noted(f"settings of earlier commands hold on: {', '.join(kept)}; they are in {NAME}")
        ending = _ended_before(job)
        if ending is not None:
            remove_packed(job.run_dir)
            observer.noted(f"{ending.last.name}: {ending.reason}")
            _dismiss(world, observer, ending.exit_status, "")
            return ending
        guard.watch(world.rank, job.run_dir)
        store = open_store(job)
        for warning in store.warnings:
            observer.warned(warning)
        begin = _take_over(job, store, observer)
    except MpiensError as error:
        _dismiss(world, observer, error.exit_status, f"mpiens: {error}")
        raise
    if job.layout.is_serial:
        return _run_serially(world, job, store, begin, observer, signals)
    for rank in set(range(1, world.size)).difference(job.layout.writers):
        world.transport.send(rank, job.setup)
    archive = share(job, store, world.transport) if job.layout.writers else OwnArchive(store)
    drive = Drive(job, archive, *begin, world.transport, observer, signals)
    try:
        ending = drive.run()
    except MpiensError as error:
        _dismiss(world, observer, error.exit_status, f"mpiens: {error}", drive.has_stuck_group, job.layout.writers)
        raise
    last_words = "mpiens: ending the ranks that do not leave"
    is_hasty = drive.has_stuck_group or ending.outcome == "stopped"
    _dismiss(world, observer, ending.exit_status, last_words, is_hasty, job.layout.writers)
    return ending


def _ended_before(job: Job) -> Ending | None:
    """The ending of a run that is complete already."""
    saved = None if job.earlier is None else job.earlier.saved
    if saved is None or not is_complete(job.run_dir, job.earlier, job.sampler.total):
        return None
    tally = Tally(job.sampler.total)
    for state in tally.finished:
        tally.finished[state] = int((saved.states == state).sum())
    failed = tally.finished[TrialState.FAIL]
    those = f" ({failed} of them failed, and failed trials are not run again)" if failed else ""
    reason = f"complete already, all {tally.total} trials{those}; nothing to do"
    if job.loaded.spec.search.trials is not None:
        reason += f"; --set search.trials={2 * tally.total} would go on"
    spec = job.loaded.spec
    objectives = job.setup.objectives
    return Ending("complete", reason, False, still(spec.name, job.run_dir, job.layout, objectives, tally), {})


def _take_over(job: Job, store: FileStore, observer: Observer) -> tuple[Logbook, Start | None]:
    """The logbook, and where the run begins."""
    objectives = len(job.setup.objectives)
    about = facts(job.loaded, job.run_dir)
    if job.earlier is None:
        keep_forms(job.run_dir, job.forms)
        keep_origin(job.run_dir, job.loaded)
        return Logbook(job.run_dir, about, Ledger(objectives, job.sampler.needs_history), Kept()), None
    found = job.earlier
    set_aside(job.run_dir, found)
    said = store.warnings
    if not job.is_forced and isinstance(job.sampler, GridSampler):
        check_records(job.sampler, store.outcomes().numbers.tolist(), store.points, job.run_dir)
    keep_forms(job.run_dir, job.forms)
    if found.saved is None:
        observer.warned(
            f"{job.run_dir}: there is no sound checkpoint; the run goes on from its journals and results, and that the "
            "spec is still the same could not be checked"
        )
    ledger, kept, warnings = replay(job.run_dir, found.saved, objectives, job.sampler.needs_history)
    deaths, kills = guard.read_deaths(job.run_dir), read_kills(job.run_dir)
    recovered = recover(
        *(ledger, store, job.sampler, job.driver.max_attempts, job.driver.goals, job.driver.batch, deaths, kills),
        pruner=job.pruner,
        has_said_why=read_lifesign(job.run_dir).get("state") == "failed",
    )
    journalled = [warning for warning in store.warnings if warning not in said]  # what reading the records has shown
    for warning in (*journalled, *warnings, *recovered.warnings):
        observer.warned(warning)
    done = recovered.start.tally.done
    again = sum(trial.was_sent for trial in recovered.start.pending)
    observer.noted(f"going on after {done} finished trials; {again} were running and run again")
    for change in (edited(job.run_dir), changed_model(job.run_dir, job.loaded)):
        if change:
            observer.warned(change)
    keep_origin(job.run_dir, job.loaded)  # not before it is sure that the run goes on with it
    return Logbook(job.run_dir, about, recovered.ledger, kept), recovered.start


def share(job: Job, store: FileStore, transport: Transport) -> WriterRanks:
    """Let other ranks write too."""
    spec, writers = job.loaded.spec, 1 + len(job.layout.writers)
    first_serial = store.share(writers)
    about = (str(job.run_dir), spec.name, job.loaded.text, provenance(job), kinds_of_values(spec))
    for rank in job.layout.writers:
        transport.send(rank, WriterSetup(rank, writers, first_serial, *about, tuple(job.loaded.space.names)))
    return WriterRanks(transport, job.layout, store)


def _dismiss(
    world: World,
    observer: Observer,
    status: int,
    last_words: str,
    is_hasty: bool = False,
    writers: Collection[int] = (),
) -> None:
    """Let all other ranks leave, those that write last: what groups still send must find somebody who takes it.

    Those that do not leave sit in a call that does not return, or in a long trial, and an orderly end of MPI would wait
    for them. All files are complete; so the whole job is ended, with `status`.
    """
    lost = world.transport.lost
    staying = set(range(1, world.size)).difference(lost)
    timeout_s = _HASTE_TIMEOUT_S if is_hasty else LEAVE_TIMEOUT_S
    # Survivors of a group that has lost a member may hang in it.
    timeout_s = min(timeout_s, _SURVIVOR_TIMEOUT_S) if lost else timeout_s
    first = staying.difference(writers)
    for ranks in (first, staying.intersection(writers)):
        for rank in ranks:
            world.transport.send(rank, Shutdown())
        _await_leaving(world, staying, time.monotonic() + timeout_s, staying - ranks)
    if staying and has_fault_tolerance(os.environ):
        _end_survivors(world, observer, staying)
    if staying:
        shown = ", ".join(map(str, sorted(staying)[:20])) + (" and others" if len(staying) > 20 else "")
        observer.warned(f"these ranks do not leave and are ended: {shown}; all files are complete")
        world.abort(status, last_words)


def _end_survivors(world: World, observer: Observer, staying: set[int]) -> None:
    """Kill those that hang; the end is in order all the same. On other machines they must be left to the launcher."""
    ranks = ", ".join(map(str, sorted(staying)[:20])) + (" and others" if len(staying) > 20 else "")
    observer.warned(f"these ranks do not leave and are killed: {ranks}; all files are complete")
    end_local_ranks(staying)
    _await_leaving(world, staying, time.monotonic() + _HASTE_TIMEOUT_S)


def _await_leaving(world: World, staying: set[int], end_s: float, others: Collection[int] = ()) -> None:
    """Wait until all ranks but `others` have left or died, at most until `end_s`; such go out of `staying`."""
    backoff = Backoff()
    while staying.difference(others) and time.monotonic() < end_s:
        envelope = world.transport.poll()
        if envelope is None:
            backoff.pause()
        elif isinstance(envelope.message, (Left, RankLost)):
            staying.discard(envelope.message.rank)


class _OfDriver(BaseException):
    """An error of the driver on its way through a model, which would take it for its own."""

    def __init__(self, error: MpiensError | OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _passing_models() -> Iterator[None]:
    try:
        yield
    except (MpiensError, OSError) as error:
        raise _OfDriver(error) from error


def _run_serially(
    world: World,
    job: Job,
    store: FileStore,
    begin: tuple[Logbook, Start | None],
    observer: Observer,
    signals: StopSignals,
) -> Ending:
    """The one rank drives and simulates in turn."""
    log = RunLog(job.run_dir, world.rank)
    try:
        comm, _ = world.make_group([world.rank])
        member = make_member(
            job.setup, world.rank, 0, GroupLink(None, world.rank), comm, log, make_watchdog(job.setup, world.rank)
        )
        transport = LoopbackTransport()
        root = GroupRoot(member, transport.say)
        drive = Drive(job, OwnArchive(store), *begin, transport, observer, signals)

        def work() -> bool:
            try:
                with signals.interrupting():
                    return root.work()
            except _OfDriver as passed:
                raise passed.error from None

        def listen() -> None:
            with signals.waiting(), _passing_models():
                drive.beat()

        def hear(message: Message) -> None:
            with signals.waiting(), _passing_models():
                drive.hear(message)

        # Nothing but signals and threads reaches this rank while a trial runs.
        drive.bound_trials()
        transport.connect(root.deliver, work)
        member.pruning.say = hear
        member.pruning.listen = member.soft_stop.listen = listen
        observer.take_terminal(log.terminal)
        view = member.set_up()
        transport.say(view if view is not None else Ready(0))
        return drive.run()
    finally:
        log.close()
