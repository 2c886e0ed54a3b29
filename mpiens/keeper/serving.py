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
from mpiens.keeper.line import Line

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
        line: Where it asks the rank something; None: it cannot.
    """

    pid: int
    streams: dict[str, Stream]
    line: Line | None


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
    could be started), or `status` as of `os.waitpid`, `is_late`, `is_clean`, and the streams by name. While something
    runs, a child's question goes out as `asked`, and the rank may send `said`, the answer to it, or `ends`, which says
    that the child is no longer wanted.

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
            if "limit_s" not in request:
                continue  # said to a child that has ended meanwhile
            try:
                child = start(request)
            except (OSError, ValueError) as error:
                write_frame(answers, {"failure": _reason(error)})
                continue
            answer = _Watch(child, requests, answers, wake, request["limit_s"]).until_end()
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


class _Watch:
    """One child, until it and all that it has started have ended.

    Args:
        child: Just started.
        requests: Pipe from the rank.
        answers: Pipe to the rank.
        wake: Can be read when a child has ended.
        limit_s: Its time limit.
    """

    def __init__(self, child: Child, requests: int, answers: int, wake: int, limit_s: float | None) -> None:
        self._child = child
        self._requests = requests
        self._answers = answers
        self._wake = wake
        self._end_s = None if limit_s is None else time.monotonic() + limit_s
        self._has_rank = self._is_wanted = True
        self._is_ending = self._is_late = False

    def until_end(self) -> Answer | None:
        """What to answer; None when the rank has gone away."""
        status = self._await()
        if self._child.line is not None:
            self._child.line.close()
        is_dead = kill_all() if status is None or not is_childless() else True
        if not self._has_rank:
            return None
        streams = {}
        for name, stream in self._child.streams.items():
            while stream.pump() > 0:
                continue
            streams[name] = stream.close()
        status = signal.SIGKILL if status is None else status
        return {"status": int(status), "is_late": self._is_late, "is_clean": is_dead, **streams}

    def _await(self) -> int | None:
        """Until the child has ended; its status, None when it must be killed."""
        heard = [*self._child.streams.values(), *([] if self._child.line is None else [self._child.line])]
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            for stream in heard:
                os.set_blocking(stream.fd, False)
                selector.register(stream.fd, selectors.EVENT_READ, stream)
            while True:
                if (status := reap().get(self._child.pid)) is not None:
                    return status
                wait_s = None if self._end_s is None else max(0.0, self._end_s - time.monotonic())
                for key, _ in selector.select(wait_s):
                    self._take(selector, key)
                is_due = self._end_s is not None and time.monotonic() >= self._end_s
                if not self._is_ending and (is_due or not self._is_wanted):
                    self._is_ending, self._is_late = True, is_due
                    self._end_s = time.monotonic() + GRACE_S
                    selector.unregister(self._requests)
                    _signal_group(self._child.pid, signal.SIGTERM)
                elif is_due or not self._has_rank:
                    return None

    def _take(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        """Take in what is there to read."""
        line = self._child.line
        if key.fd == self._requests:
            word = _word(self._requests)
            self._has_rank = word is not None
            self._is_wanted = word is not None and "ends" not in word
            if line is not None and word is not None and "said" in word:
                line.say(word["said"])
        elif key.fd == self._wake:
            _empty(self._wake)
        elif key.data.pump() == 0:
            selector.unregister(key.fd)
        for question in [] if line is None else line.asked():
            write_frame(self._answers, {"asked": question})


def _word(requests: int) -> dict[str, Any] | None:
    """What the rank says while something runs; None: it has gone away."""
    try:
        word: dict[str, Any] = read_frame(requests)
    except EOFError:
        return None
    return word


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
