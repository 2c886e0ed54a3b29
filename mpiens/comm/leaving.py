"""The end of the process, which threads of a model or of a library must not put off."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
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


def flush() -> None:
    """What was printed goes out, where anybody still takes it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def finalize(status: int) -> None:
    """End MPI, if it has begun; a process that waits in there for others for ten seconds ends with `status`."""
    MPI = getattr(sys.modules.get("mpi4py"), "MPI", None)  # noqa: N806 - as the module is called
    if MPI is None or not MPI.Is_initialized() or MPI.Is_finalized():
        return
    with _bounded(status):
        try:
            MPI.Finalize()
        except MPI.Exception:  # a rank was killed just now; the others have nothing more to say to it
            flush()
            os._exit(status)


@contextlib.contextmanager
def _bounded(status: int) -> Iterator[None]:
    """What takes longer than ten seconds in here ends with the process."""
    hanging = threading.Timer(_FINALIZE_S, os._exit, (status,))
    hanging.daemon = True
    hanging.start()
    yield
    hanging.cancel()


def _end_without_threads(status: int) -> NoReturn:
    with _bounded(status):
        # What Python would do now, had it not to wait for the threads.
        atexit._run_exitfuncs()
        finalize(status)
    flush()
    os._exit(status)
