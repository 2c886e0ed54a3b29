"""Communicators that survive a trial which failed on some ranks of a group only.

Such a trial may leave messages of its last collective under way: the next trial's first collective on the same
communicator would receive them, and be wrong without a word. So after a failure the group takes fresh communicators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpiens.models import neuron

if TYPE_CHECKING:
    from mpi4py import MPI

_KEPT = 300


class RenewedComm:
    """The communicator for trials of one group. Making it is collective over `comm`.

    Attributes:
        current: For the next trial.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.current = comm
        # Models never see this one, so nothing stale can be on it.
        self._control = comm.Dup() if comm.Get_size() > 1 else None
        self._retired: list[MPI.Intracomm] = []

    def settle(self, has_failed: bool) -> None:
        """Replace the communicators, also NEURON's, if the trial has failed anywhere. Collective over the group."""
        if self._control is None or not any(self._control.allgather(has_failed)):
            return
        self._retired += [self.current, *neuron.renew_communicators()]
        self.current = self._control.Dup()
        # MPI has a limited number of communicators (2048 in MPICH), and may give the number of a freed one, on which
        # something stale may wait, to the next. So they are freed, but late. The first of all is not ours to free.
        while len(self._retired) > _KEPT:
            self._retired.pop(1).Free()
