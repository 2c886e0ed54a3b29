"""Communicators that survive a trial which failed on some ranks of a group only.

Such a trial may leave messages of its last collective under way: the next trial's first collective on the same
communicator would receive them, and be wrong without a word. So after a failure the group takes fresh communicators.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mpiens.models import neuron

if TYPE_CHECKING:
    from mpi4py import MPI

_KEPT = 300
_LOOK_EVERY_S = 0.001


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
        self._vote: tuple[MPI.Request, np.ndarray, np.ndarray] | None = None

    def vote(self, is_well: bool) -> None:
        """Say, once, how the first half of a trial has ended here, without waiting for the others."""
        if self._control is not None and self._vote is None:
            mine, all_ = np.array([is_well], dtype=np.int32), np.zeros(self._control.Get_size(), dtype=np.int32)
            self._vote = self._control.Iallgather(mine, all_), mine, all_

    def all_are_well(self) -> bool:
        """Wait for what the others have to say. As long as they simulate, which only the trial's time limit bounds."""
        self.vote(True)
        if self._vote is None:
            return True
        request, _, votes = self._vote
        while not request.Test():
            time.sleep(_LOOK_EVERY_S)  # in Python, so that a time limit can end it
        return bool(votes.all())

    def settle(self, has_failed: bool) -> bool:
        """Replace the communicators, also NEURON's, if the trial has failed anywhere. Collective over the group.

        Returns:
            True when it has failed somewhere.
        """
        if self._control is None:
            return has_failed
        if self._vote is not None:
            self._vote[0].Wait()  # every rank has voted before the group could agree that the trial is over
            self._vote = None
        if not any(self._control.allgather(has_failed)):
            return False
        self._retired += [self.current, *neuron.renew_communicators()]
        self.current = self._control.Dup()
        # MPI has a limited number of communicators (2048 in MPICH), and may give the number of a freed one, on which
        # something stale may wait, to the next. So they are freed, but late. The first of all is not ours to free.
        while len(self._retired) > _KEPT:
            self._retired.pop(1).Free()
        return True
