"""Sends that never block, and the buffers that must live until they are through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mpiens.comm.backoff import Backoff
from mpiens.comm.faults import is_loss
from mpiens.errors import WaitTimeout

if TYPE_CHECKING:
    from mpi4py import MPI


class Outbox:
    """Objects on their way over one communicator."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self._unsent: list[MPI.Request] = []

    def send(self, dest: int, tag: int, content: Any) -> None:
        """Hand over `content`; returns at once. What is for a rank that has died is dropped."""
        try:
            request = self._comm.isend(content, dest, tag)
        except Exception as error:
            if not is_loss(error):
                raise
            return
        if not _has_left(request):
            self._unsent.append(request)

    def progress(self) -> None:
        """Let go of what has left."""
        if self._unsent:
            self._unsent = [request for request in self._unsent if not _has_left(request)]

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything has left, for so long at most; False when something has not."""
        end_s, backoff = time.monotonic() + timeout_s, Backoff()
        self.progress()
        while self._unsent and time.monotonic() <= end_s:
            backoff.pause()
            self.progress()
        return not self._unsent

    def flush(self, timeout_s: float) -> None:
        """Wait until everything has left.

        Raises:
            WaitTimeout: Something has not, within the bound.
        """
        if not self.settle(timeout_s):
            raise WaitTimeout(self._comm.rank, f"sending {len(self._unsent)} messages", timeout_s)


def _has_left(request: MPI.Request) -> bool:
    try:
        return bool(request.Test())
    except Exception as error:
        if not is_loss(error):
            raise
        return True  # nobody will ever receive it
