"""A second process beside every rank of a supervised job, which writes down how the rank was killed.

When one rank of an MPI job is killed, the launcher kills all others, and nobody can tell afterwards which of the trials
that ran was to blame. So the process that the launcher has started forks before it imports anything: the child becomes
the rank, the parent sleeps until it ends. After an abnormal end the parent writes a record with the trial that ran, and
only then ends likewise, so that the launcher hears of it when the record is there.

Ranks of a job that survives the loss of a rank (``mpiexec --with-ft ulfm``) need none of this: the driver sees it. The
driver itself has a guard there, because nobody can go on without it, and ranks in the midst of a long trial would not
notice: the guard ends the launcher.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import platform
import resource
import signal
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from mpiens.environment import SUPERVISED, has_fault_tolerance, rank_by_launcher
from mpiens.processes import end_with_parent
from mpiens.small_files import is_as_written, with_checksum, write_whole

_FORWARDED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HEAD = struct.Struct("=qqqq")  # rank, trial (-1: none), attempt, length of the run directory's name
_SIZE = 8192
_LAUNCHER_S = 5.0
_OPEN_MPI = ("prterun", "prted", "mpirun", "mpiexec", "orterun", "orted")
_PATTERN = "death-*.json"


@dataclass(frozen=True, slots=True)
class Death:
    """How a rank ended that did not end in order.

    Attributes:
        rank: World rank.
        host: Where it ran.
        cause: ``SIGSEGV``, or ``exit status 3``.
        was_killed: By a signal.
        trial: Number of the trial that it was at, or None.
        attempt: Which dispatch of it.
        when_s: Seconds since 1970.
    """

    rank: int
    host: str
    cause: str
    was_killed: bool
    trial: int | None
    attempt: int
    when_s: float

    def __str__(self) -> str:
        where = f"rank {self.rank}" + (", the driver," if self.rank == 0 and self.trial is None else "")
        return f"{where} was killed by {self.cause}" if self.was_killed else f"{where} left with {self.cause}"


_NAMES = Death.__dataclass_fields__.keys()


class _Shared:
    """What a rank tells its guard, in memory that both see."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self.tell(-1, None, -1, 0)

    def tell(self, rank: int, run_dir: Path | None, trial: int, attempt: int) -> None:
        name = b"" if run_dir is None else os.fsencode(run_dir)
        _HEAD.pack_into(self._memory, 0, rank, trial, attempt, min(len(name), _SIZE - _HEAD.size))
        self._memory[_HEAD.size : _HEAD.size + len(name)] = name[: _SIZE - _HEAD.size]

    def mark(self, trial: int, attempt: int) -> None:
        struct.pack_into("=qq", self._memory, 8, trial, attempt)

    def read(self) -> tuple[int, Path | None, int, int]:
        rank, trial, attempt, length = _HEAD.unpack_from(self._memory)
        name = self._memory[_HEAD.size : _HEAD.size + length]
        return rank, Path(os.fsdecode(name)) if name else None, trial, attempt


_guards: list[_Shared] = []


def watch(rank: int, run_dir: Path) -> None:
    """As a rank: say who this is and where a record should go."""
    for shared in _guards:
        shared.tell(rank, run_dir, -1, 0)


def mark(trial: int | None, attempt: int = 0) -> None:
    """As a rank: say which trial begins here; None: it has ended."""
    for shared in _guards:
        shared.mark(-1 if trial is None else trial, attempt)


def stand_guard(environment: Mapping[str, str], verb: str) -> None:
    """In a rank that needs one: go on in a child, and stay behind as its guard.

    Returns in the child only. Elsewhere than in such a rank it does nothing.

    Args:
        environment: Of this process.
        verb: What it has been started for.
    """
    if verb not in ("run", "resume"):
        return
    if rank_by_launcher(environment) is not None:
        _die_with_launcher()
    survives_others = has_fault_tolerance(environment)
    if survives_others and rank_by_launcher(environment) != 0:
        return
    if not survives_others and SUPERVISED not in environment:
        return
    shared = _Shared()
    guard = os.getpid()
    # The child may be gone before its guard can pass signals on.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        # In a process group of its own: a signal for the group that the launcher knows comes once, from the guard.
        os.setpgid(0, 0)
        end_with_parent(guard)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        _guards.append(shared)
        return
    _stand_by(child, shared, survives_others)


def _die_with_launcher() -> None:
    """Open MPI leaves its ranks behind when the process that has started them is killed."""
    launcher = os.getppid()
    if _is_open_mpi(launcher):
        end_with_parent(launcher)


def _is_open_mpi(launcher: int) -> bool:
    try:
        return Path(f"/proc/{launcher}/comm").read_text().strip() in _OPEN_MPI
    except OSError:
        return False


def _end_launcher() -> None:
    launcher = os.getppid()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if os.getppid() != launcher or not _is_open_mpi(launcher):
            return
        with contextlib.suppress(OSError):
            os.kill(launcher, number)
        time.sleep(_LAUNCHER_S)


def _stand_by(child: int, shared: _Shared, ends_job: bool) -> NoReturn:
    passed_on: set[int] = set()

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a handler
        passed_on.add(number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for forwarded in _FORWARDED:
        signal.signal(forwarded, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    _, ended = os.waitpid(child, 0)
    killer = os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0
    status = os.WEXITSTATUS(ended) if os.WIFEXITED(ended) else 1
    rank, run_dir, trial, attempt = shared.read()
    is_odd = bool(killer and killer not in passed_on) or (not killer and trial >= 0)
    if run_dir is not None and is_odd:
        cause = signal.Signals(killer).name if killer else f"exit status {status}"
        number = None if trial < 0 else trial
        death = Death(rank, platform.node(), cause, bool(killer), number, attempt, time.time())
        with contextlib.suppress(OSError):
            write_death(run_dir, death)
    if killer and ends_job:
        _end_launcher()
    if killer:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left its core already
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [killer])
        if killer != signal.SIGKILL:
            signal.signal(killer, signal.SIG_DFL)
        os.kill(os.getpid(), killer)
    os._exit(128 + killer if killer else status)


def write_death(run_dir: Path, death: Death) -> None:
    """Put a record into a run's directory.

    Raises:
        OSError: It cannot be written.
    """
    path = run_dir / "journal" / f"death-{death.rank}.json"
    write_whole(path, json.dumps(with_checksum(asdict(death))))


def read_deaths(run_dir: Path) -> list[Death]:
    """The records in a run's directory, first the ranks that a signal has killed, by time.

    The others may have ended because those had gone. A record that cannot be read is left out.
    """
    found = []
    for path in (run_dir / "journal").glob(_PATTERN):
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            if fields.keys() != _NAMES and not is_as_written(fields):
                continue  # what names a trial that was not there would let that one pay
            trial = fields["trial"]
            found.append(
                Death(
                    int(fields["rank"]),
                    str(fields["host"]),
                    str(fields["cause"]),
                    bool(fields["was_killed"]),
                    None if trial is None else int(trial),
                    int(fields["attempt"]),
                    float(fields["when_s"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
    killed = [death for death in found if death.was_killed]
    return sorted(killed or found, key=lambda death: death.when_s)


def remove_deaths(run_dir: Path) -> None:
    """Delete all records, also such as could not be ended because the guard was killed too."""
    folder = run_dir / "journal"
    for path in (*folder.glob("death-*"), *folder.glob(".death-*")):
        with contextlib.suppress(OSError):
            path.unlink()
