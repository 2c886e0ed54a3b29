"""The ranks that do not drive: members of groups, writers, and idle ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from mpiens import guard
from mpiens.comm.backoff import Backoff
from mpiens.comm.faults import is_loss
from mpiens.comm.group import GroupLink
from mpiens.comm.mpi import World
from mpiens.errors import PeerLost, ProtocolError, WaitTimeout
from mpiens.messages import Alive, Left, Message, RankLost, Ready, Results, Setup, SetupFailed, Shutdown, WriterSetup
from mpiens.models import build_model
from mpiens.models.base import GroupContext
from mpiens.runlog import RunLog
from mpiens.watchdog import Watchdog, note_path
from mpiens.worker import GroupMember, GroupRoot

SETTLE_TIMEOUT_S = 1.0
"""How long a rank waits for the driver to take its results before it begins another trial."""

LEAVE_TIMEOUT_S = 60.0
"""How long the last messages may take to leave a rank, and the driver waits for ranks to leave."""

SILENCE_TIMEOUT_S = 1800.0
"""How long a rank that waits believes in a silent driver, which speaks every minute unless it is choosing points."""


class Lifeline:
    """What the driver says to this rank, and for how long it has said nothing.

    Attributes:
        is_over: The driver has said to leave.
        peers: Ranks that this one works with.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.peers: Collection[int] = ()
        self._heard_s = time.monotonic()
        self.is_over = False

    def poll(self) -> Message | None:
        """The next message that asks for something, or None.

        Raises:
            WaitTimeout: The driver has been silent for too long.
            PeerLost: The driver, or a rank of this one's group, has died.
        """
        envelope = self._world.transport.poll()
        now_s = time.monotonic()
        if envelope is None:
            if now_s - self._heard_s > SILENCE_TIMEOUT_S:
                raise WaitTimeout(
                    self._world.rank, "waiting for the driver", SILENCE_TIMEOUT_S, hint="rank 0 is stuck or gone"
                )
            return None
        if isinstance(envelope.message, RankLost):
            if envelope.message.rank == 0 or envelope.message.rank in self.peers:
                raise PeerLost(envelope.message.rank)
            return None
        self._heard_s = now_s
        if isinstance(envelope.message, Shutdown):
            self.is_over = True
        return None if isinstance(envelope.message, Alive) else envelope.message

    def listen(self) -> None:
        """While waiting for somebody else: is the driver still there?"""
        message = self.poll()
        if message is not None and not self.is_over:
            raise ProtocolError(f"rank {self._world.rank}: cannot handle {type(message).__name__}")

    def await_message(self) -> Message:
        """The next message that asks for something.

        Raises:
            WaitTimeout: The driver has been silent for too long.
        """
        backoff = Backoff()
        while (message := self.poll()) is None:
            backoff.pause()
        return message

    def await_shutdown(self) -> None:
        """Wait for the driver to say to leave."""
        while not self.is_over:
            self.await_message()


def serve(world: World, write: Callable[[World, Lifeline, WriterSetup], None]) -> None:
    """Until the driver says to leave.

    Args:
        world: All ranks.
        write: What a rank does that writes. Members of groups do not pay for what it imports.

    Raises:
        WaitTimeout: The driver has been silent for too long.
    """
    lifeline = Lifeline(world)
    message = lifeline.await_message()
    if isinstance(message, Setup):
        guard.watch(world.rank, Path(message.run_dir))
        index = message.layout.group_of(world.rank)
        if index is not None:
            log = RunLog(Path(message.run_dir), world.rank)
            try:
                _join(world, lifeline, message, index, log)
            except Exception as error:
                if not is_loss(error) or 0 in world.transport.lost:
                    raise
                print(f"group {index} ends here: {error}")
            finally:
                lifeline.peers = ()
                log.close()
        lifeline.await_shutdown()
    elif isinstance(message, WriterSetup):
        guard.watch(world.rank, Path(message.run_dir))
        write(world, lifeline, message)
        lifeline.await_shutdown()
    elif not isinstance(message, Shutdown):
        raise ProtocolError(f"rank {world.rank}: expected Setup first, found {type(message).__name__}")
    world.transport.send(0, Left(world.rank))
    world.transport.flush(LEAVE_TIMEOUT_S)


def make_watchdog(setup: Setup, world_rank: int) -> Watchdog | None:
    """What keeps the time limit of trials on this rank, if there is one."""
    if setup.trial_timeout_s is None:
        return None
    return Watchdog(setup.trial_timeout_s, note_path(Path(setup.run_dir), world_rank))


def make_member(
    setup: Setup,
    world_rank: int,
    index: int,
    link: GroupLink,
    comm: object,
    log: RunLog,
    watchdog: Watchdog | None,
) -> GroupMember:
    """One rank's part of a group."""
    context = GroupContext(comm, index, world_rank, Path(setup.run_dir))  # type: ignore[arg-type]
    return GroupMember(setup, context, link, build_model(setup.model), log.label, watchdog)


def _join(world: World, lifeline: Lifeline, setup: Setup, index: int, log: RunLog) -> None:
    members = setup.layout.groups[index]
    lifeline.peers = members
    model_comm, own_comm = world.make_group(members)
    link = GroupLink(own_comm if len(members) > 1 else None, world.rank)
    watchdog = make_watchdog(setup, world.rank)
    member = make_member(setup, world.rank, index, link, model_comm, log, watchdog)
    try:
        _take_part(world, lifeline, link, member)
    except Exception as error:
        if is_loss(error):
            # Others of the group may wait for the dead, or for this rank, in calls that will never end.
            world.revoke((*member.comms, own_comm))
        raise


def _take_part(world: World, lifeline: Lifeline, link: GroupLink, member: GroupMember) -> None:
    view = member.set_up()
    if link.rank == 0:
        writer = member.setup.layout.writer_of(member.context.index)

        def say(message: Message) -> None:
            world.transport.send(writer if isinstance(message, Results) else 0, message)

        root = GroupRoot(member, say)
        assert view is not None
        world.transport.send(0, view)
        if isinstance(view, Ready):
            member.pruning.say = lambda message: world.transport.send(0, message)
            member.pruning.listen = member.soft_stop.listen = lambda: _listen(lifeline, root, member)
            _lead_group(world, lifeline, root)
        root.leave()
        link.flush(LEAVE_TIMEOUT_S)
    else:
        stuck = view if isinstance(view, SetupFailed) else member.follow(lifeline.listen)
        if stuck is not None:
            world.transport.send(0, stuck)


def _listen(lifeline: Lifeline, root: GroupRoot, member: GroupMember) -> None:
    """During a trial: what does the driver have to say?"""
    while (message := lifeline.poll()) is not None and not lifeline.is_over:
        root.deliver(message)
    if lifeline.is_over:
        member.soft_stop.hurry()
        member.pruning.give_up()


def _lead_group(world: World, lifeline: Lifeline, root: GroupRoot) -> None:
    backoff = Backoff()
    while True:
        # A long message may need this rank to move it: the driver would wait for that until the next trial has ended.
        world.transport.settle(SETTLE_TIMEOUT_S)
        message = lifeline.poll()
        if lifeline.is_over:
            return
        if message is not None:
            root.deliver(message)
        if root.work() or message is not None:
            backoff.reset()
        else:
            backoff.pause()
