"""The keeper's side: take a request, start what it asks for, watch it to its end, answer."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any, Protocol

from mpiens.keeper.family import adopt_orphans, is_childless, kill_all, reap
from mpiens.keeper.frames import read_frame, write_frame

GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""

Request = dict[str, Any]
Answer = dict[str, Any]


class Stream(Protocol):
    """What comes out of a child through a pipe.

    Attributes:
        fd: Where it can be read.
    """

    fd: int

    def pump(self) -> int:
        """Take in some of what is there; how many bytes, 0 at the end, -1 when nothing is there yet."""

    def close(self) -> Any:
        """Close `fd`; what to answer about the stream."""


class Child(Protocol):
    """Something that was started.

    Attributes:
        pid: Its process, the leader of a session of its own.
        streams: What comes out of it, by name.
    """

    pid: int
    streams: dict[str, Stream]


def private_pipes() -> tuple[int, int]:
    """The pipes from and to the rank, out of the reach of what is started; standard output becomes standard error."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, answers


def serve(requests: int, answers: int, start: Callable[[Request], Child]) -> None:
    """Until the rank goes away.

    A request has `limit_s` (None: no limit) besides what `start` wants. An answer has `failure` (a text, if nothing
    could be started), or `status` as of `os.waitpid`, `is_late`, `is_clean`, and the streams by name.

    Args:
        requests: Pipe from the rank.
        answers: Pipe to the rank.
        start: Starts what a request asks for.
    """
    adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ranks ignore these, and what is ignored stays so in children, which could not be ended politely.
        signal.signal(number, signal.SIG_DFL)
    with _ChildSignal() as wake, contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            request = read_frame(requests)
            try:
                child = start(request)
            except (OSError, ValueError) as error:
                write_frame(answers, {"failure": _reason(error)})
                continue
            answer = _watch(child, requests, wake, request["limit_s"])
            if answer is None:
                break
            write_frame(answers, answer)
    kill_all()


class _ChildSignal:
    """A descriptor that can be read when a child has ended."""

    def __enter__(self) -> int:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # noqa: ARG005 - the form of a handler
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self._read

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)


def _watch(child: Child, requests: int, wake: int, limit_s: float | None) -> Answer | None:
    """Until `child` and all that it has started have ended; None when the rank has gone away."""
    end_s = None if limit_s is None else time.monotonic() + limit_s
    status: int | None = None
    has_rank, is_late = True, False
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        for stream in child.streams.values():
            os.set_blocking(stream.fd, False)
            selector.register(stream.fd, selectors.EVENT_READ, stream)
        while True:
            status = reap().get(child.pid, status)
            if status is not None:
                break
            for key, _ in selector.select(None if end_s is None else max(0.0, end_s - time.monotonic())):
                if key.fd == requests and not is_late:
                    # Nothing is asked while something runs: the pipe is closed.
                    has_rank = False
                elif key.fd == wake:
                    _empty(wake)
                elif key.data is not None and key.data.pump() == 0:
                    selector.unregister(key.fd)
            is_over = not has_rank or (end_s is not None and time.monotonic() >= end_s)
            if is_over and not is_late:
                is_late = True
                end_s = time.monotonic() + GRACE_S
                selector.unregister(requests)
                _signal_group(child.pid, signal.SIGTERM)
            elif is_over:
                break
    left = not is_childless()
    is_dead = kill_all() if left or status is None else True
    if not has_rank:
        return None
    streams = {}
    for name, stream in child.streams.items():
        while stream.pump() > 0:
            continue
        streams[name] = stream.close()
    status = signal.SIGKILL if status is None else status
    return {"status": int(status), "is_late": is_late, "is_clean": is_dead, **streams}


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _empty(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 512):
            pass


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        named = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{named}"
    return str(error)
