"""The rank's side of its keeper."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mpiens.environment import without_mpi
from mpiens.errors import AttemptError
from mpiens.keeper.frames import read_frame, write_frame
from mpiens.keeper.patience import Patience
from mpiens.keeper.serving import GRACE_S

_CLOSE_BOUND_S = GRACE_S + 15.0


class Keeper:
    """A keeper process, started when it is first asked.

    Args:
        argv: What follows ``python`` in its command.
        cores: Processors that it and all below it may use; None: those of this rank.
        patience: With what has no time limit.
    """

    def __init__(
        self,
        argv: Sequence[str] = ("-m", "mpiens.keeper"),
        cores: Iterable[int] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._argv = list(argv)
        self._cores = None if cores is None else set(cores)
        self._patience = patience or Patience()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """True between the first question and the end."""
        return self._process is not None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let it do something; its answer.

        Raises:
            AttemptError: It has ended.
        """
        if self._process is None:
            self._process = self._start()
            atexit.register(self._close_at_exit)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            write_frame(self._process.stdin.fileno(), request)
            if "limit_s" in request and request["limit_s"] is None:
                self._say_if_slow(self._process.stdout.fileno())
            answer: dict[str, Any] = read_frame(self._process.stdout.fileno())
        except (EOFError, BrokenPipeError):
            status = self._process.wait(_CLOSE_BOUND_S)
            self.close()
            raise AttemptError(
                f"the process that looks after this rank's programs has ended (status {status})"
            ) from None
        return answer

    def _say_if_slow(self, answers: int) -> None:
        """Wait for an answer; print once if that takes unusually long."""
        start_s = time.monotonic()
        if not _is_there(answers, self._patience.bound_s):
            print(
                f"the trial's process has run for {time.monotonic() - start_s:.3g} s, and nothing limits it "
                f"(limits.trial_timeout); {self._patience.usual}",
                flush=True,
            )
            _is_there(answers, None)
        self._patience.note(time.monotonic() - start_s)

    def close(self) -> None:
        """End it, and all that it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self._close_at_exit)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(_CLOSE_BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()

    def _close_at_exit(self) -> None:
        # Whoever presses Ctrl-C again does not want to wait; the keeper ends everything by itself.
        with contextlib.suppress(KeyboardInterrupt):
            self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # Imported from where this copy of mpiens is, wherever the process starts.
        root = str(Path(__file__).resolve().parents[2])
        environment = without_mpi(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
        own = os.sched_getaffinity(0)
        try:
            if self._cores is not None:
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(0, self._cores)
            return subprocess.Popen(
                [sys.executable, *self._argv],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            if self._cores is not None:
                os.sched_setaffinity(0, own)


def _is_there(pipe: int, timeout_s: float | None) -> bool:
    """True as soon as there is something to read, or the other end is closed."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else 1000 * timeout_s))
