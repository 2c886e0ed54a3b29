"""What MPI says about ranks that have died, where it can: Open MPI under ``mpiexec --with-ft ulfm``.

There a call that cannot be carried out any more raises, on every rank that it concerns, and all others go on.
Elsewhere the launcher ends the job, and nothing here is ever reached.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from mpiens.comm.leaving import finalize, flush
from mpiens.errors import PeerLost
from mpiens.processes import having, kill

if TYPE_CHECKING:
    from mpi4py import MPI

_SETTLE_S = 0.05

exit_status: int | None = None
"""What this process is to return, once that is known."""


def is_loss(error: BaseException) -> bool:
    """True when this error says that a rank has died, or that a communicator was revoked because one has."""
    from mpi4py import MPI

    if isinstance(error, PeerLost):
        return True
    if not isinstance(error, MPI.Exception):
        return False
    return error.Get_error_class() in (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED)


def leave(losses: Losses) -> None:
    """At the very end of the process: when ranks have died, MPI_Finalize may wait for them for ever."""
    from mpi4py import MPI

    flush()
    status = exit_status if exit_status is not None else int(hasattr(sys, "last_value"))
    with contextlib.suppress(MPI.Exception):
        losses.note()
    if losses.known:
        os._exit(status)
    finalize(status)


def end_local_ranks(ranks: Collection[int]) -> None:
    """Kill these ranks of this job, those that run on this machine."""
    if job := os.environ.get("PMIX_NAMESPACE"):
        for rank in ranks:
            for pid in having(f"PMIX_NAMESPACE={job}", f"PMIX_RANK={rank}"):
                kill(pid)


def revoke(comm: MPI.Intracomm) -> None:
    """Let every call on this communicator fail, on all its ranks, those included that wait in one now."""
    from mpi4py import MPI

    with contextlib.suppress(MPI.Exception, NotImplementedError):
        comm.Revoke()


class Losses:
    """Ranks of one communicator that have died.

    Args:
        comm: The communicator.

    Attributes:
        known: All of them so far.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self._unsaid: list[int] = []
        self._noted_s = 0.0
        self.known: set[int] = set()

    def note(self) -> None:
        """After an error: find out who has died, and let calls that wait for anybody work again."""
        from mpi4py import MPI

        failed = self._comm.Get_failed()
        self._comm.Ack_failed()
        ranks = MPI.Group.Translate_ranks(failed, range(failed.size), self._comm.Get_group())
        new = sorted(set(ranks) - self.known)
        self._unsaid += new
        self.known.update(new)
        self._noted_s = time.monotonic()

    def next(self) -> int | None:
        """The next one to be told of, a moment after it was noted: what it had sent before comes first."""
        if not self._unsaid or time.monotonic() - self._noted_s < _SETTLE_S:
            return None
        return self._unsaid.pop(0)
