"""Starts MPI programs under this environment's own mpiexec, with a hard time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mpiens import launcher


def is_open_mpi() -> bool:
    """True when the mpiexec beside this Python is Open MPI's."""
    return launcher.is_open_mpi(launcher.find_mpiexec())


def mpiexec_argv(n: int, *flags: str) -> list[str]:
    """Command that starts `n` ranks, on fewer cores too; `flags` are the launcher's own."""
    mpiexec, *rest = launcher.mpiexec_argv(n)
    return [mpiexec, *flags, *rest]


def run_ranks(
    n: int,
    argv: Sequence[str | Path],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    flags: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run ``python argv...`` on `n` ranks; `n` 0 means without mpiexec.

    Args:
        n: Ranks.
        argv: Arguments of this Python: a script's path, or ``-m`` and a module.
        timeout_s: Hard limit in seconds.
        env: Variables besides those of this process.
        cwd: Working directory.
        flags: Of mpiexec.

    Raises:
        AssertionError: The time is over; everything that was started is killed, and the output is in the message.
    """
    command = [*(mpiexec_argv(n, *flags) if n else []), sys.executable, *map(str, argv)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**environment(), **(env or {})},
        cwd=cwd,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        stdout, stderr = process.communicate()
        raise AssertionError(
            f"{' '.join(command)} has not ended after {timeout_s:g} s\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        ) from None
    except BaseException:
        kill_group(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill `process`, a leader of its own session, and all that it has started, launchers' sessions included."""
    import psutil

    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def environment() -> dict[str, str]:
    """What ranks are started with."""
    env = launcher.launch_environment(os.environ)
    root = Path(__file__).resolve().parents[1]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    env["OMP_NUM_THREADS"] = "1"
    return env
