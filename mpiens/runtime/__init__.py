"""The composition root: wires one rank and lets it run. Reads as the architecture.

Rank 0 prepares the run, tells everybody how trials are run, and drives (`lead`). The other ranks serve (`serve`), as
members of groups or idle. A world of one rank does both in turn.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from mpiens.comm.mpi import connect
from mpiens.errors import EXIT_FAILED, MpiensError

if TYPE_CHECKING:
    from mpiens.runtime.observer import Ending, Observer
    from mpiens.runtime.order import Order


def run_rank(order: Order, make_observer: Callable[[], Observer]) -> Ending | None:
    """This rank's part of the run.

    Args:
        order: What to run; the same on every rank, but only rank 0 reads files.
        make_observer: Who watches; called on rank 0 only.

    Returns:
        How the run has ended on rank 0, None on the other ranks.

    Raises:
        MpiensError: On rank 0 only: the run cannot start, or cannot go on.
    """
    world = connect()
    _take_signals(world.rank)
    try:
        if world.rank == 0:
            # Ranks that serve must not pay for what only the driver imports.
            from mpiens.runtime.lead import lead

            return lead(world, order, make_observer())
        from mpiens.runtime.serve import serve

        serve(world)
    except BaseException as error:
        if world.size == 1 or (world.rank == 0 and isinstance(error, MpiensError)):
            raise
        # One rank that leaves alone would hang the others in their next call of MPI; so the whole job ends.
        if not isinstance(error, MpiensError):
            with contextlib.suppress(OSError):
                traceback.print_exc()
        world.abort(EXIT_FAILED, f"mpiens: rank {world.rank} cannot go on: {type(error).__name__}: {error}")
    return None


def _take_signals(rank: int) -> None:
    """Rank 0 ends the run on SIGINT and SIGTERM; the others, which launchers send them to as well, leave it to it."""
    if threading.current_thread() is not threading.main_thread():
        return

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a handler
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt if rank == 0 else signal.SIG_IGN)
