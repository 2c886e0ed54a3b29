"""The rank's side of its keeper."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mpiens.environment import without_mpi
from mpiens.errors import AttemptError
from mpiens.keeper.frames import is_there, read_frame, write_frame
from mpiens.keeper.patience import Patience
from mpiens.keeper.serving import GRACE_S

_CLOSE_BOUND_S = GRACE_S + 15.0
_LOOK_EVERY_S = 0.1


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

    def ask(
        self,
        request: dict[str, Any],
        hear: Callable[[Any], Any] | None = None,
        is_unwanted: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Let it do something; its answer.

        Args:
            request: What to do.
            hear: Answers what a child asks meanwhile.
            is_unwanted: Called now and then; once it is true, what was started is ended as at its time limit.

        Raises:
            AttemptError: It has ended.
        """
        if self._process is None:
            self._process = self._start()
            atexit.register(self._close_at_exit)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        requests, answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        has_no_limit = "limit_s" in request and request["limit_s"] is None
        start_s = time.monotonic()
        slow_s = start_s + self._patience.bound_s if has_no_limit else None
        try:
            write_frame(requests, request)
            while True:
                while not is_there(answers, _time_to_wait_s(slow_s, is_unwanted)):
                    if slow_s is not None and time.monotonic() >= slow_s:
                        slow_s = None
                        self._say_slow(time.monotonic() - start_s)
                    if is_unwanted is not None and is_unwanted():
                        is_unwanted = None
                        write_frame(requests, {"ends": True})
                answer: dict[str, Any] = read_frame(answers)
                if "asked" not in answer or hear is None:
                    break
                write_frame(requests, {"said": hear(answer["asked"])})
        except (EOFError, BrokenPipeError):
            status = self._process.wait(_CLOSE_BOUND_S)
            self.close()
            raise AttemptError(
                f"the process that looks after this rank's programs has ended (status {status})"
            ) from None
        if has_no_limit:
            self._patience.note(time.monotonic() - start_s)
        return answer

    def _say_slow(self, elapsed_s: float) -> None:
        print(
            f"the trial's process has run for {elapsed_s:.3g} s, and nothing limits it (limits.trial_timeout); "
            f"{self._patience.usual}",
            flush=True,
        )

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


def _time_to_wait_s(slow_s: float | None, is_unwanted: Callable[[], bool] | None) -> float | None:
    """For how long there is nothing to do but to wait."""
    if is_unwanted is not None:
        return _LOOK_EVERY_S
    return None if slow_s is None else max(0.0, slow_s - time.monotonic())
