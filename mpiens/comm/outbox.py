"""Sends that never block, and the buffers that must live until they are through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mpiens.comm.backoff import Backoff
from mpiens.errors import WaitTimeout

if TYPE_CHECKING:
    from mpi4py import MPI


class Outbox:
    """Objects on their way over one communicator."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self._unsent: list[MPI.Request] = []

    def send(self, dest: int, tag: int, content: Any) -> None:
        """Hand over `content`; returns at once."""
        request = self._comm.isend(content, dest, tag)
        if not request.Test():
            self._unsent.append(request)

    def progress(self) -> None:
        """Let go of what has left."""
        if self._unsent:
            self._unsent = [request for request in self._unsent if not request.Test()]

    def flush(self, timeout_s: float) -> None:
        """Wait until everything has left.

        Raises:
            WaitTimeout: Something has not, within the bound.
        """
        end_s, backoff = time.monotonic() + timeout_s, Backoff()
        self.progress()
        while self._unsent:
            if time.monotonic() > end_s:
                raise WaitTimeout(self._comm.rank, f"sending {len(self._unsent)} messages", timeout_s)
            backoff.pause()
            self.progress()
