"""The end of the process, which threads of a model or of a library must not put off."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from typing import NoReturn

_STRAYS_S = 2.0
_FINALIZE_S = 10.0


def leave(status: int) -> NoReturn:
    """End this process with `status`.

    Python waits for every thread that is no daemon before it ends, and so would all ranks, in MPI_Finalize, for the one
    that has such a thread. They get two seconds; then the process ends without them.
    """
    end_s = time.monotonic() + _STRAYS_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, end_s - time.monotonic()))
            if thread.is_alive():
                _end_without_threads(status)
    sys.exit(status)


def _end_without_threads(status: int) -> NoReturn:
    hanging = threading.Timer(_FINALIZE_S, os._exit, (status,))
    hanging.daemon = True
    hanging.start()
    # What Python would do now, had it not to wait for the threads.
    atexit._run_exitfuncs()
    MPI = getattr(sys.modules.get("mpi4py"), "MPI", None)  # noqa: N806 - as the module is called
    if MPI is not None and MPI.Is_initialized() and not MPI.Is_finalized():
        MPI.Finalize()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
