"""mpiens, of which one rank kills itself before a certain change of a file: ``python dies.py RANK STEP ARGUMENTS``."""

from __future__ import annotations

import os
import runpy
import signal
import sys

from mpi4py import MPI

from faults import FaultyOs
from mpiens import small_files
from mpiens.store import files

RANK, STEP = int(sys.argv.pop(1)), int(sys.argv.pop(1))


def before(number: int, name: str) -> None:
    """Called before each change."""
    if number >= STEP:
        os.kill(os.getpid(), signal.SIGKILL)


if MPI.COMM_WORLD.rank == RANK:
    files.os = small_files.os = FaultyOs(before)  # type: ignore[assignment]
sys.argv[0] = "mpiens"
runpy.run_module("mpiens", run_name="__main__")
