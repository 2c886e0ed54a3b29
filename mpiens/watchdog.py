"""The time limit of a trial, kept on one rank in two stages.

First an exception: a thread signals the main thread, where the model runs, and the signal's handler raises `TimeUp`.
The rank lives on. That needs the interpreter; a model that sits in C code, or waits inside MPI, never sees it. So a
timer of the kernel stands behind it, which ends the process by SIGALRM, whatever it does.

What a killed rank cannot say any more it has said before, in its note: which trial it was at. Just before the kill a
signal of its own, handled in C, writes the Python traceback behind that, so that whoever comes after knows that it was
the limit that killed the rank. It is not SIGALRM's handler that does so, because NEURON takes that handler away.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import math
import os
import re
import signal
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import ClassVar

from mpiens.messages import Assignment

LEAST_GRACE_S, MOST_GRACE_S = 1.0, 5.0
"""Bounds of the time between the exception and the kill, a tenth of the limit."""

_SIGNAL = signal.SIGVTALRM
_LAST_WORD = signal.SIGRTMAX
_AGAIN_S = 0.5
_NOTE_BYTES = 160
_TRACED = b"Stack"  # how a traceback by a signal begins
_FOLDER = "journal"
_NOTE_NAME = re.compile(r"rank-(\d+)\.note")


class TimeUp(BaseException):
    """The trial has taken too long. Not an `Exception`, because models catch those."""


def grace_s(limit_s: float) -> float:
    """How long a rank that does not react to the exception lives on."""
    return min(MOST_GRACE_S, max(LEAST_GRACE_S, limit_s / 10))


def timed_out(limit_s: float) -> str:
    """Cause of a trial that has ended at its limit."""
    return f"timed out after {limit_s:g} s (limits.trial_timeout)"


def killed(limit_s: float) -> str:
    """Cause of a trial whose rank was ended at the limit."""
    return f"timed out after {limit_s:g} s and did not react, so that its rank was killed (limits.trial_timeout)"


class _Sigevent(ctypes.Structure):
    _fields_: ClassVar = [
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_char * 48),
    ]


class _Itimerspec(ctypes.Structure):
    _fields_: ClassVar = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "in_s", "in_ns")]


class _Alarm:
    """A timer of the kernel that sends a signal to this process, and that nobody else has.

    There is one ``ITIMER_REAL`` in a process, and others stop it: NEURON does so in every ``pc.psolve``.
    """

    def __init__(self, number: int) -> None:
        self._is_real = number == signal.SIGALRM
        libc = ctypes.CDLL(None)
        self._timer: ctypes.c_void_p | None = ctypes.c_void_p()
        event = _Sigevent(None, number, 0)
        if not hasattr(libc, "timer_create") or libc.timer_create(
            time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)
        ):
            self._timer = None
            return
        self._settime = libc.timer_settime

    def set(self, in_s: float) -> None:
        """Send it in so many seconds; 0: never."""
        if self._timer is None:
            if self._is_real:
                signal.setitimer(signal.ITIMER_REAL, in_s)
            return
        whole_s = int(in_s)
        spec = _Itimerspec(0, 0, whole_s, int((in_s - whole_s) * 1e9))
        self._settime(self._timer, 0, ctypes.byref(spec), None)


class Watchdog:
    """Watches over the trials of this process, one after the other. To be made and used in the main thread.

    Args:
        limit_s: Time limit of a trial.
        note: File for this rank's note, or None.
    """

    def __init__(self, limit_s: float, note: Path | None) -> None:
        self.limit_s = limit_s
        self._grace_s = grace_s(limit_s)
        self._due_s: float | None = None
        self._is_sheltered = False
        self._alarm, self._last_word = _Alarm(signal.SIGALRM), _Alarm(_LAST_WORD)
        self._armed_s = -math.inf
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._note = None if note is None else _open_note(note)
        # Threads other than the main one can neither take signals nor be interrupted by them.
        self._is_able = threading.current_thread() is threading.main_thread()
        self._main = threading.main_thread().ident
        if not self._is_able:
            print("limits.trial_timeout has no effect: mpiens does not run in the main thread")

    @contextlib.contextmanager
    def limited(self, assignment: Assignment) -> Iterator[None]:
        """Keep the limit while the trial runs inside.

        Raises:
            TimeUp: It has taken too long.
        """
        try:
            self._begin(assignment.number, assignment.attempt)
            yield
            self._end()
        finally:
            self._end()

    def _begin(self, number: int, attempt: int) -> None:
        if not self._is_able:
            return
        if self._note is not None:
            text = (
                f'{{"trial": {number}, "attempt": {attempt}, "limit_s": {self.limit_s}, '
                f'"crc32": {_note_sum(number, attempt, self.limit_s)}}}'
            )
            with contextlib.suppress(OSError):
                os.pwrite(self._note, text.ljust(_NOTE_BYTES - 1).encode() + b"\n", 0)
                # The last word of an earlier trial, which lived on all the same, says nothing of this one.
                if os.fstat(self._note).st_size > _NOTE_BYTES:
                    os.ftruncate(self._note, _NOTE_BYTES)
                    os.lseek(self._note, _NOTE_BYTES, os.SEEK_SET)
        # Each time anew: a model, or a library that it uses, may have taken these signals.
        signal.signal(_SIGNAL, self._interrupt)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if self._note is not None:
            faulthandler.unregister(_LAST_WORD)
            faulthandler.register(_LAST_WORD, file=self._note, all_threads=False)
        now_s = time.monotonic()
        kill_s = self.limit_s + self._grace_s
        self._alarm.set(kill_s)
        if self._note is not None:
            self._last_word.set(kill_s - self._grace_s / 8)
        with self._lock:
            # It starts a thread, so not for every trial. In between it comes early, but never before the exception.
            if now_s - self._armed_s > self._grace_s / 4:
                faulthandler.dump_traceback_later(kill_s - self._grace_s / 4, file=2)
                self._armed_s = now_s
            self._due_s = now_s + self.limit_s
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="mpiens-watchdog", daemon=True)
            self._thread.start()

    def _end(self) -> None:
        if self._due_s is None:
            return
        self._due_s = None  # nothing is raised from here on
        self._alarm.set(0.0)
        if self._note is not None:
            self._last_word.set(0.0)

    @contextlib.contextmanager
    def sheltered(self) -> Iterator[None]:
        """Code that must not be interrupted; what is due comes after it."""
        self._is_sheltered = True
        try:
            yield
        finally:
            self._is_sheltered = False

    def close(self) -> None:
        """No more trials."""
        self._end()
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()
            signal.signal(_SIGNAL, signal.SIG_DFL)
        if self._note is not None:
            faulthandler.unregister(_LAST_WORD)
            os.close(self._note)
            self._note = None

    def _watch(self) -> None:
        # Trials begin without a word to this thread: none that begins while it sleeps is due before it wakes up.
        while True:
            due_s, now_s = self._due_s, time.monotonic()
            if due_s is None:
                self._disarm()
                pause_s = self.limit_s
            elif now_s < due_s:
                pause_s = due_s - now_s
            else:
                assert self._main is not None
                signal.pthread_kill(self._main, _SIGNAL)
                # Again and again: the first exception may be caught by the model, or lost in a callback of C code.
                pause_s = _AGAIN_S
            if self._closing.wait(pause_s):
                return

    def _disarm(self) -> None:
        """No trial runs, so no traceback must be written; this thread wakes up before it would be."""
        with self._lock:
            if self._due_s is None and self._armed_s > -math.inf:
                faulthandler.cancel_dump_traceback_later()
                self._armed_s = -math.inf

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the form of a handler
        due_s = self._due_s
        if due_s is not None and time.monotonic() >= due_s and not self._is_sheltered:
            raise TimeUp


def note_path(run_dir: Path, rank: int) -> Path:
    """The note of a rank."""
    return run_dir / _FOLDER / f"rank-{rank}.note"


def read_kills(run_dir: Path) -> dict[tuple[int, int], str]:
    """Causes of the attempts, by trial and attempt, at which the limit has killed a rank."""
    causes: dict[tuple[int, int], str] = {}
    for path in note_paths(run_dir):
        causes |= read_kill(path)
    return causes


def read_kill(path: Path) -> dict[tuple[int, int], str]:
    """What one note says of that, by trial and attempt; nothing, if the limit has not killed its rank."""
    try:
        with path.open("rb") as file:
            head, traced = file.read(_NOTE_BYTES), file.read(len(_TRACED)) == _TRACED
        note = json.loads(head)
        number, attempt, limit_s = int(note["trial"]), int(note["attempt"]), float(note["limit_s"])
        is_sound = note["crc32"] == _note_sum(number, attempt, limit_s)
        return {(number, attempt): killed(limit_s)} if traced and is_sound else {}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return {}  # A note is a comfort; whatever is wrong with it must not keep a run from going on.


def _note_sum(number: int, attempt: int, limit_s: float) -> int:
    return zlib.crc32(b"%d %d %f" % (number, attempt, limit_s))


def note_paths(run_dir: Path) -> list[Path]:
    """The notes of all ranks."""
    folder = run_dir / _FOLDER
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NOTE_NAME.fullmatch(path.name))


def _open_note(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        note = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        os.lseek(note, _NOTE_BYTES, os.SEEK_SET)
    except OSError:
        return None
    return note
