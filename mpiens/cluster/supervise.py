"""Around a launcher: starts it, passes signals on, and starts it again as long as the run makes progress.

It knows nothing of MPI. What it believes is what the run's own files say: an exit status only counts where there is no
file yet.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from mpiens.cluster.deadline import STARTED
from mpiens.cluster.family import end_family
from mpiens.cluster.progress import Progress, blame, read_progress
from mpiens.cluster.wrapped import Wrapped
from mpiens.environment import SUPERVISED
from mpiens.errors import EXIT_COMPLETE, EXIT_FAILED, EXIT_RESUMABLE, EXIT_USAGE, UsageError
from mpiens.guard import read_deaths
from mpiens.processes import end_with_parent, is_alive
from mpiens.runtime.lifesign import age_s, read_lifesign
from mpiens.runtime.stopword import leave_word, take_word

MAX_RESTARTS = 100
MAX_IN_VAIN = 2
"""Restarts in a row after starts that have achieved nothing."""

POLL_S = 0.1
GONE_S = 10.0
"""How long a launcher may outlive rank 0, where rank 0 can be seen."""

LEAVE_S = 90.0
"""How long it may take after rank 0 has said that the run has ended."""

DEATH_S = 5.0
"""How long it may outlive a rank, where the others cannot go on without that one."""

SILENCE_S = 1800.0
"""How long rank 0 may say nothing."""

STOP_GRACE_S = 60.0
"""How long the end may take beyond `limits.drain`."""

_END_WITH_A_RANK = {"SLURM_KILL_BAD_EXIT": "1"}
"""Other launchers than srun end the job by themselves when a rank is killed. It sends SIGTERM first, to which rank 0
answers with patience for the trials that are running."""

_STOPPING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Charge:
    """What is to be supervised.

    Attributes:
        command: The launcher's line.
        run_dir: The run's directory.
        objectives: How many the run has.
        drain_s: How long running trials may take when the run must stop.
        max_restarts: At most so many.
    """

    command: Wrapped
    run_dir: Path
    objectives: int
    drain_s: float
    max_restarts: int = MAX_RESTARTS


@dataclass(frozen=True, slots=True)
class _Begun:
    """One start of the launcher, as its files can be told from those of other jobs.

    Attributes:
        token: What its processes have in their environment.
        start_s: When, in seconds since 1970.
        before: What status.json said then.
    """

    token: str
    start_s: float
    before: Mapping[str, Any]

    def has_written(self, state: Mapping[str, Any]) -> bool:
        """True when this status is that of this start, and not of an earlier one or of another job that lives."""
        if float(state.get("updated", 0.0)) < self.start_s:
            return False
        if state.get("job"):
            return bool(state["job"] == self.token)
        # Not supervised, or a launcher that hands no environment on.
        writer, earlier = ((of.get("host"), of.get("pid")) for of in (state, self.before))
        return self.before.get("state") != "running" or writer != earlier


class Supervisor:
    """Supervises one run until it is complete, has failed or was stopped.

    Args:
        charge: What to supervise.
        environment: For the launcher.
        say: Tells the person at the terminal.
    """

    def __init__(self, charge: Charge, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._charge = charge
        # limits.walltime is for the whole job, however often it is started.
        self._environment = {STARTED: str(time.time()), **environment}
        self._say = say
        self._signals: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._killed_for = ""

    def run(self) -> int:
        """Start, and start again.

        Returns:
            The exit status that the run deserves.

        Raises:
            UsageError: The launcher cannot be started.
        """
        before = {number: signal.signal(number, self._take) for number in _STOPPING}
        try:
            return self._run()
        finally:
            take_word(self._charge.run_dir)  # rank 0 may have gone before it
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self) -> int:
        charge = self._charge
        progress = read_progress(charge.run_dir, charge.objectives)
        command, restarts, in_vain = charge.command.first, 0, 0
        while True:
            begun = self._begun = _Begun(uuid.uuid4().hex[:12], time.time(), read_lifesign(charge.run_dir))
            status = self._start(command, begun.token)
            state = read_lifesign(charge.run_dir)
            is_fresh = begun.has_written(state)
            if is_fresh and charge.command.overwrites and command == charge.command.first:
                progress = Progress()  # what was there before is gone
            final = self._verdict(state, is_fresh, status)
            reached = read_progress(charge.run_dir, charge.objectives)
            gained = reached.is_beyond(progress)
            if final is not None and (final != EXIT_FAILED or not gained or (is_fresh and state.get("is_final"))):
                return final
            what = self._story(status, time.time() - begun.start_s, state if is_fresh else {}, reached)
            if self._signals and not is_fresh and not reached.finished:
                self._say(f"stopped by {self._signals[0]} before the run had begun; start it again")
                return EXIT_FAILED
            if self._signals:
                self._say(f"{what}; stopped by {self._signals[0]}, the run can be resumed")
                return EXIT_RESUMABLE
            in_vain = 0 if gained else in_vain + 1
            if in_vain > MAX_IN_VAIN:
                self._say(f"{what}; {in_vain} starts in a row have achieved nothing, so it is given up")
                return EXIT_FAILED
            if restarts >= charge.max_restarts:
                self._say(f"{what}; that was restart {restarts} of at most {charge.max_restarts}, so it is given up")
                return EXIT_FAILED
            restarts += 1
            progress = reached
            if is_fresh or not charge.command.overwrites:
                # Until then an earlier run may be there still, and it is not the one to go on with.
                command = charge.command.again
            self._say(f"{what}; going on with the run, restart {restarts} of at most {charge.max_restarts}")
            self._await_silence()

    # --- one start --------------------------------------------------------------------------------------------------

    def _start(self, command: list[str], token: str) -> int:
        """Run the launcher to its end, and leave nothing of it behind; its exit status."""
        start_s = time.monotonic()
        self._killed_for = ""
        supervisor = os.getpid()
        try:
            process = self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env={**self._environment, SUPERVISED: token, **_END_WITH_A_RANK},
                # A session of its own: Ctrl-C comes here alone, and is passed on as what rank 0 understands.
                start_new_session=True,
                # The launcher ends its ranks in order when the supervisor is killed.
                preexec_fn=lambda: end_with_parent(supervisor, signal.SIGTERM),  # noqa: PLW1509 - this process has one thread
            )
        except OSError as error:
            raise UsageError(f"{command[0]}: cannot be started: {error.strerror}") from error
        try:
            if self._signals:
                self._pass_on()
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
                    break
                reason = self._overdue(time.monotonic() - start_s)
                if reason:
                    self._killed_for = reason
                    break
        finally:
            self._end(process, token)
        return process.returncode

    def _end(self, process: subprocess.Popen[bytes], token: str) -> None:
        if process.poll() is None:
            # The launcher's own way first: it may have ranks on other machines.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        end_family(token)
        process.wait()
        self._process = None
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[?25h")  # a display that was killed has left the cursor hidden
            sys.stdout.flush()

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the form of a handler
        name = signal.Signals(number).name
        self._signals.append("Ctrl-C" if number == signal.SIGINT else name)
        leave_word(self._charge.run_dir, self._signals[-1])
        self._stop_s = time.monotonic()
        self._pass_on()

    def _pass_on(self) -> None:
        # All launchers hand SIGUSR1 to their ranks. Of SIGTERM and SIGINT some kill the ranks half a second later.
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGUSR1)

    _stop_s = 0.0
    _begun = _Begun("", 0.0, {})

    def _overdue(self, running_s: float) -> str:
        """Why the launcher must be killed; empty: it need not be."""
        if len(self._signals) > 2:
            return "three signals to stop"
        if self._signals:
            bound_s = STOP_GRACE_S + (self._charge.drain_s if len(self._signals) == 1 else 0.0)
            if time.monotonic() - self._stop_s > bound_s:
                return f"no end {bound_s:.0f} s after {self._signals[-1]}"
        state = read_lifesign(self._charge.run_dir) if running_s > GONE_S else {}
        if not self._begun.has_written(state):
            return f"no sign of life from rank 0 in {SILENCE_S:.0f} s" if running_s > 2 * SILENCE_S else ""
        silent_s = age_s(state)
        if state["state"] != "running" and silent_s > LEAVE_S:
            return f"the launcher has not ended {LEAVE_S:.0f} s after the run"
        if silent_s > GONE_S and state.get("host") == platform.node() and not is_alive(state.get("pid")):
            return "rank 0 is gone"
        if state["state"] == "running" and not state.get("lost_ranks") and (dead := self._unnoticed_death()):
            return f"{dead}, and the launcher has not ended the job"
        if state["state"] == "running" and state.get("ranks") == 1:
            return ""  # It says nothing while its trial runs, and no trial is too long without limits.trial_timeout.
        return f"no sign of life from rank 0 in {SILENCE_S:.0f} s" if silent_s > SILENCE_S else ""

    def _unnoticed_death(self) -> str:
        """The first rank that ended a while ago; empty: none, or the others go on without it."""
        if "ulfm" in self._charge.command.launcher:
            return ""
        latest_s = time.time() - DEATH_S
        deaths = read_deaths(self._charge.run_dir)
        return next((str(death) for death in deaths if self._begun.start_s < death.when_s < latest_s), "")

    # --- between two ------------------------------------------------------------------------------------------------

    def _verdict(self, state: Mapping[str, Any], is_fresh: bool, status: int) -> int | None:
        """The exit status that is final; None: the job was killed in the midst of the run."""
        named = state.get("state")
        # Some launchers say 2 of a rank that was killed by SIGINT; but then the run had begun.
        if status == EXIT_USAGE and (not is_fresh or named == "failed"):
            return EXIT_USAGE
        if named == "complete" and (is_fresh or status == EXIT_COMPLETE):
            return EXIT_COMPLETE
        if named == "stopped" and is_fresh and state.get("lost_groups", 0) >= state.get("groups", 1):
            return None  # nobody was left to go on; new ranks can
        if named == "stopped" and is_fresh and (self._signals or not read_deaths(self._charge.run_dir)):
            return EXIT_RESUMABLE
        # Where a rank was killed, some launchers send SIGTERM to the others, and rank 0 may have obeyed.
        if named == "failed" and is_fresh:
            return EXIT_FAILED
        return None

    def _story(self, status: int, elapsed_s: float, state: Mapping[str, Any], reached: Progress) -> str:
        if state.get("state") in ("failed", "stopped") and not read_deaths(self._charge.run_dir):
            how = f"the run has {state['state']}: {state.get('reason')}"
        else:
            name = Path(self._charge.command.launcher[0]).name
            ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            how = f"{name} was killed: {self._killed_for}" if self._killed_for else f"{name} ended with {ended}"
            how += f" after {elapsed_s:.0f} s; " + (
                blame(self._charge.run_dir, reached) if state else "the run had not begun"
            )
        total = state.get("total")
        return f"{how}; {reached.finished}" + (f" of {total}" if total else "") + " trials are finished"

    def _await_silence(self) -> None:
        """A rank 0 on another machine may take a moment to die, and its run directory is taken until then."""
        end_s = time.monotonic() + 2 * GONE_S
        while time.monotonic() < end_s and not self._signals:
            state = read_lifesign(self._charge.run_dir)
            if state.get("state") != "running" or state.get("host") == platform.node() or age_s(state) > GONE_S:
                return
            time.sleep(POLL_S)
