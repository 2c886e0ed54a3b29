"""MPI: the world, its groups, and messages between ranks. The only place that imports mpi4py."""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mpiens.comm.base import Envelope
from mpiens.comm.faults import Losses, is_loss, leave, revoke
from mpiens.comm.outbox import Outbox
from mpiens.comm.wire import from_wire, to_wire
from mpiens.environment import has_fault_tolerance, size_by_launcher
from mpiens.errors import InstallationError
from mpiens.messages import Message, RankLost

if TYPE_CHECKING:
    from mpi4py import MPI

_TAG = 1
_GROUP_TAG = 2


class MpiTransport:
    """Messages over a communicator that nobody else uses."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        from mpi4py import MPI

        self._comm = comm
        self._status = MPI.Status()
        self._any = MPI.ANY_SOURCE
        self._outbox = Outbox(comm)
        self._losses = Losses(comm)
        if has_fault_tolerance(os.environ):
            # Registered early, so that what others have registered runs before.
            atexit.register(leave, self._losses)

    @property
    def lost(self) -> Collection[int]:
        """Ranks that have died. Always empty where MPI ends the job for one."""
        return self._losses.known

    def send(self, dest: int, message: Message) -> None:
        """Hand over `message`; returns at once."""
        self._outbox.send(dest, _TAG, to_wire(message))

    def poll(self) -> Envelope | None:
        """The next message that has arrived, or None; last of all, from a rank that has died, `RankLost`."""
        self._outbox.progress()
        try:
            arrived = self._comm.improbe(self._any, _TAG, self._status)
            if arrived is not None:
                source = self._status.source
                return Envelope(source, from_wire(arrived.recv()))
        except Exception as error:
            if not is_loss(error):
                raise
            self._losses.note()
        lost = self._losses.next()
        return None if lost is None else Envelope(lost, RankLost(lost))

    def settle(self, timeout_s: float) -> bool:
        """Wait until every message sent has left this rank, for so long at most; False when one has not."""
        return self._outbox.settle(timeout_s)

    def flush(self, timeout_s: float) -> None:
        """Wait until every message sent has left this rank.

        Raises:
            WaitTimeout: Some have not, within the bound.
        """
        self._outbox.flush(timeout_s)


@dataclass(frozen=True, slots=True)
class World:
    """All ranks of the job.

    Attributes:
        rank: This rank.
        size: How many there are.
        transport: Messages between world ranks.
    """

    rank: int
    size: int
    transport: MpiTransport

    def make_group(self, members: Sequence[int]) -> tuple[MPI.Intracomm, MPI.Intracomm]:
        """Two communicators over these ranks, the model's and the worker's own. Collective over the members alone."""
        from mpi4py import MPI

        group = MPI.COMM_WORLD.Get_group().Incl(members)
        comm = MPI.COMM_WORLD.Create_group(group, _GROUP_TAG)
        return comm, comm.Dup()

    def revoke(self, comms: Iterable[MPI.Intracomm]) -> None:
        """Let every call on these communicators fail, on all their ranks."""
        for comm in comms:
            revoke(comm)

    def abort(self, status: int, reason: str) -> NoReturn:
        """End the whole job at once; `reason` is the last word on the real standard error."""
        from mpi4py import MPI

        if sys.__stderr__ is not None:
            print(reason, file=sys.__stderr__, flush=True)
        if has_fault_tolerance(os.environ):
            os._exit(status or 1)  # the launcher ends the job for that, while MPI_Abort may wait for the dead
        MPI.COMM_WORLD.Abort(status)
        os._exit(status)  # MPICH's abort may return, and leaves the rest to the launcher


class Exchange:
    """Plain values between all ranks, outside of runs: messages, and a broadcast from rank 0."""

    def __init__(self, world: World) -> None:
        from mpi4py import MPI

        self.rank, self.size = world.rank, world.size
        self.abort = world.abort
        self._comm = MPI.COMM_WORLD.Dup()
        self._status = MPI.Status()
        self._any = MPI.ANY_SOURCE
        self._outbox = Outbox(self._comm)

    def send(self, dest: int, content: tuple[Any, ...]) -> None:
        """Hand over `content`; returns at once."""
        self._outbox.send(dest, _TAG, content)

    def poll(self) -> tuple[int, tuple[Any, ...]] | None:
        """The next message that has arrived, with its source, or None. Never blocks."""
        self._outbox.progress()
        arrived = self._comm.improbe(self._any, _TAG, self._status)
        return None if arrived is None else (self._status.source, arrived.recv())

    def flush(self, timeout_s: float) -> None:
        """Wait until every message sent has left this rank.

        Raises:
            WaitTimeout: Some have not, within the bound.
        """
        self._outbox.flush(timeout_s)

    def broadcast(self, content: Any) -> Any:
        """What rank 0 gives, on every rank. Collective."""
        return self._comm.bcast(content)


@functools.cache
def open_exchange() -> Exchange:
    """The job's ranks. Collective at the first call; an MPI library has few communicators, so that it is kept."""
    return Exchange(connect())


def connect() -> World:
    """Join the job's world: all ranks of mpiexec, or this process alone.

    Raises:
        InstallationError: No MPI library can be loaded, or the launcher belongs to another one.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InstallationError(
            f"mpi4py cannot load an MPI library ({' '.join(str(error).split())}); "
            "install one into this environment with: pip install 'mpiens[mpich]'"
        ) from error
    started = size_by_launcher(os.environ) or 1
    if started > 1 and MPI.COMM_WORLD.Get_size() == 1:
        library = MPI.Get_library_version().split("\n")[0].strip("\0 ")
        mpiexec = Path(sys.executable).with_name("mpiexec")
        raise InstallationError(
            f"the launcher has started {started} ranks, but each is alone in its world: it belongs to another "
            f"MPI than mpi4py, which uses {library}; start the job with {mpiexec}, and see `mpiens doctor`"
        )
    comm = MPI.COMM_WORLD.Dup()
    return World(comm.rank, comm.size, MpiTransport(comm))
