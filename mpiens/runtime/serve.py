"""The ranks that do not drive: members of groups, and idle ones."""

from __future__ import annotations

import time
from pathlib import Path

from mpiens.comm.backoff import Backoff
from mpiens.comm.group import GroupLink
from mpiens.comm.mpi import World
from mpiens.errors import ProtocolError, WaitTimeout
from mpiens.messages import GroupStuck, Message, Ready, Setup, SetupFailed, Shutdown
from mpiens.models import build_model
from mpiens.models.base import GroupContext
from mpiens.runlog import RunLog
from mpiens.worker import GroupMember, GroupRoot

START_TIMEOUT_S = 3600.0
"""How long a rank waits for the driver's first word: the driver may have mechanisms to compile."""


def serve(world: World) -> None:
    """Until the driver says to leave.

    Raises:
        WaitTimeout: The driver does not say anything at the start.
    """
    message = _await(world, START_TIMEOUT_S)
    if isinstance(message, Shutdown):
        return
    if not isinstance(message, Setup):
        raise ProtocolError(f"rank {world.rank}: expected Setup first, found {type(message).__name__}")
    index = message.layout.group_of(world.rank)
    if index is not None:
        _join(world, message, index)
    else:
        _await_shutdown(world)


def make_member(setup: Setup, world_rank: int, index: int, link: GroupLink, comm: object, log: RunLog) -> GroupMember:
    """One rank's part of a group."""
    context = GroupContext(comm, index, world_rank, Path(setup.run_dir))  # type: ignore[arg-type]
    return GroupMember(setup, context, link, build_model(setup.model), log.label)


def _join(world: World, setup: Setup, index: int) -> None:
    log = RunLog(Path(setup.run_dir), world.rank)
    members = setup.layout.groups[index]
    model_comm, own_comm = world.make_group(members)
    link = GroupLink(own_comm if len(members) > 1 else None, world.rank)
    member = make_member(setup, world.rank, index, link, model_comm, log)
    view = member.set_up()
    if link.rank == 0:
        root = GroupRoot(member, lambda message: world.transport.send(0, message))
        assert view is not None
        world.transport.send(0, view)
        if isinstance(view, Ready):
            _lead(world, root)
        else:
            _await_shutdown(world)
        root.leave()
        link.flush(START_TIMEOUT_S)
    else:
        stuck: SetupFailed | GroupStuck | None = view if isinstance(view, SetupFailed) else member.follow()
        if stuck is not None:
            world.transport.send(0, stuck)
        _await_shutdown(world)


def _lead(world: World, root: GroupRoot) -> None:
    backoff = Backoff()
    while True:
        envelope = world.transport.poll()
        if envelope is not None:
            if isinstance(envelope.message, Shutdown):
                return
            root.deliver(envelope.message)
        if root.work() or envelope is not None:
            backoff.reset()
        else:
            backoff.pause()


def _await(world: World, timeout_s: float | None) -> Message:
    end_s = None if timeout_s is None else time.monotonic() + timeout_s
    backoff = Backoff()
    while (envelope := world.transport.poll()) is None:
        if timeout_s is not None and end_s is not None and time.monotonic() > end_s:
            raise WaitTimeout(world.rank, "waiting for the driver's first message", timeout_s)
        backoff.pause()
    return envelope.message


def _await_shutdown(world: World) -> None:
    while not isinstance(_await(world, None), Shutdown):
        pass
