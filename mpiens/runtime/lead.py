"""Rank 0: prepares the run, tells everybody how trials are run, drives, and lets everybody go."""

from __future__ import annotations

from mpiens.comm.group import GroupLink
from mpiens.comm.loopback import LoopbackTransport
from mpiens.comm.mpi import World
from mpiens.errors import MpiensError
from mpiens.messages import Ready, Shutdown
from mpiens.runlog import RunLog
from mpiens.runtime.drive import Drive
from mpiens.runtime.observer import Ending, Observer
from mpiens.runtime.order import Order
from mpiens.runtime.prepare import Job, open_store, prepare
from mpiens.runtime.serve import make_member
from mpiens.store.base import Store
from mpiens.worker import GroupRoot

LEAVE_TIMEOUT_S = 60.0


def lead(world: World, order: Order, observer: Observer) -> Ending:
    """As rank 0: prepare and drive the run.

    Does not return when ranks are stuck in a trial: then the whole job is ended, after all files are complete.

    Raises:
        MpiensError: The run cannot start, or cannot go on. All other ranks have been let go.
    """
    try:
        job = prepare(order, world.size)
        store = open_store(job)
    except MpiensError:
        _dismiss(world)
        raise
    for warning in store.warnings:
        observer.warned(warning)
    if job.layout.is_serial:
        return _run_serially(world, job, store, observer)
    for rank in range(1, world.size):
        world.transport.send(rank, job.setup)
    drive = Drive(job, store, world.transport, observer)
    try:
        ending = drive.run()
    except MpiensError as error:
        if drive.has_stuck_group:
            observer.failed(error)
            world.abort(error.exit_status, str(error))
        _dismiss(world)
        raise
    if drive.has_stuck_group:
        # Its ranks sit in a call that does not return, so that an orderly end of MPI would wait for them for ever.
        world.abort(ending.exit_status, "mpiens: ending the ranks that are stuck; all files are complete")
    _dismiss(world)
    return ending


def _dismiss(world: World) -> None:
    """Let all other ranks leave."""
    for rank in range(1, world.size):
        world.transport.send(rank, Shutdown())
    world.transport.flush(LEAVE_TIMEOUT_S)


def _run_serially(world: World, job: Job, store: Store, observer: Observer) -> Ending:
    """The one rank drives and simulates in turn."""
    log = RunLog(job.run_dir, world.rank)
    try:
        comm, _ = world.make_group([world.rank])
        member = make_member(job.setup, world.rank, 0, GroupLink(None, world.rank), comm, log)
        transport = LoopbackTransport()
        root = GroupRoot(member, transport.say)
        transport.connect(root.deliver, root.work)
        observer.take_terminal(log.terminal)
        view = member.set_up()
        transport.say(view if view is not None else Ready(0))
        return Drive(job, store, transport, observer).run()
    finally:
        log.close()
