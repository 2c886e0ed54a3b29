"""The composition root: wires one rank and lets it run. Reads as the architecture.

Rank 0 prepares the run, tells everybody how trials are run, and drives (`lead`). The other ranks serve (`serve`), as
members of groups, or writers (`write`), or idle. A world of one rank does both in turn.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpiens.comm.mpi import connect
from mpiens.environment import launcher_kills_on_signal, rank_by_launcher, size_by_launcher
from mpiens.errors import EXIT_FAILED, MpiensError
from mpiens.runtime.signals import StopSignals

if TYPE_CHECKING:
    from mpiens.comm.mpi import World
    from mpiens.messages import WriterSetup
    from mpiens.runtime.observer import Ending, Observer
    from mpiens.runtime.order import Order
    from mpiens.runtime.serve import Lifeline
    from mpiens.runtime.walltime import Allotment


def run_rank(
    order: Order, make_observer: Callable[[], Observer], ask_scheduler: Callable[[], Allotment]
) -> Ending | None:
    """This rank's part of the run.

    Args:
        order: What to run; the same on every rank, but only rank 0 reads files.
        make_observer: Who watches; called on rank 0 only.
        ask_scheduler: When the job will be ended; called on rank 0 only.

    Returns:
        How the run has ended on rank 0, None on the other ranks.

    Raises:
        MpiensError: On rank 0 only: the run cannot start, or cannot go on.
    """
    rank, size = rank_by_launcher(os.environ) or 0, size_by_launcher(os.environ) or 1
    signals = StopSignals(rank, size, launcher_kills_on_signal(os.environ))
    # Before MPI: a launcher sends them to all ranks, and by default they end the process.
    signals.install()
    signals.hold()
    world = connect()
    try:
        signals.let_go()
        if (rank, size) != (world.rank, world.size):  # a launcher that does not tell
            signals.release()
            signals = StopSignals(world.rank, world.size)
            signals.install()
        if world.rank == 0:
            # Ranks that serve must not pay for what only the driver imports.
            from mpiens.runtime.lead import lead

            return lead(world, order, make_observer(), signals, ask_scheduler)
        from mpiens.runtime.serve import serve

        serve(world, _write)
    except BaseException as error:
        if world.size == 1 or (world.rank == 0 and isinstance(error, MpiensError)):
            raise
        # One rank that leaves alone would hang the others in their next call of MPI; so the whole job ends.
        if isinstance(error, KeyboardInterrupt):
            world.abort(EXIT_FAILED, f"mpiens: rank {world.rank}: interrupted before the run had begun")
        if not isinstance(error, MpiensError):
            with contextlib.suppress(OSError):
                traceback.print_exc()
        world.abort(EXIT_FAILED, f"mpiens: rank {world.rank} cannot go on: {type(error).__name__}: {error}")
    finally:
        signals.release()
    return None


def _write(world: World, lifeline: Lifeline, setup: WriterSetup) -> None:
    # Only ranks that write pay for HDF5.
    from mpiens.runtime.write import write

    write(world, lifeline, setup)
