"""The communicator of a process without MPI, which starts MPI only if the model really uses it.

A process that has MPI running must not be forked. So the process that forks for every trial keeps MPI from starting
when the model imports mpi4py, and its children start it, each for itself alone.
"""

from __future__ import annotations

import sys
from typing import Any


def delay_mpi() -> None:
    """From now on importing ``mpi4py.MPI`` does not start MPI."""
    import mpi4py

    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = False


def allow_mpi() -> None:
    """From now on it does; where it has been imported, MPI starts now."""
    import mpi4py

    mpi4py.rc.initialize = True
    module = sys.modules.get("mpi4py.MPI")
    if module is not None and not module.Is_initialized():
        module.Init()


class SoloComm:
    """A communicator of one rank. What is not told here is told by MPI's own, ``MPI.COMM_SELF``."""

    rank = 0
    size = 1

    def Get_rank(self) -> int:  # noqa: N802 - mpi4py's name
        """Zero."""
        return 0

    def Get_size(self) -> int:  # noqa: N802 - mpi4py's name
        """One."""
        return 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from mpi4py import MPI

        return getattr(MPI.COMM_SELF, name)
