"""mpiens's command line as a user gives it, over and over: a process that has imported everything forks for each.

``python forks.py`` reads a command a line, as JSON, and answers with its exit status; what is said goes to the file
that is named first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from launch import environment, kill_group

TIMEOUT_S = 60
TESTS = Path(__file__).parents[1]


class Forks:
    """Runs commands one after the other. A context manager."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | {"PYTHONPATH": os.pathsep.join([environment()["PYTHONPATH"], str(TESTS)])},
            start_new_session=True,
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        kill_group(self._process)
        self._process.communicate()

    def run(self, *arguments: str | Path) -> tuple[int, str]:
        """Exit status, negative for a signal (SIGALRM: it took too long), and all that was said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(self._output), *map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, self._output.read_text(errors="replace")


def _serve() -> None:
    import mpiens.cli.run
    import mpiens.report.terminal
    import mpiens.runtime.drive
    import mpiens.samplers.optuna.kinds
    import mpiens.store  # noqa: F401 - loaded for the children

    for line in sys.stdin:
        output, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            _command(output, arguments)
        _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


def _command(output: str, arguments: list[str]) -> Any:
    signal.alarm(TIMEOUT_S)
    fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(fd, stream)
    from mpiens.cli import run_command_line

    status = 99
    try:
        status = run_command_line(arguments)
    except BaseException:  # noqa: BLE001 - shown as Python would, and seen by the test
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
