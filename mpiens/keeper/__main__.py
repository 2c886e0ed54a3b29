"""A keeper that starts programs: ``python -m mpiens.keeper``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mpiens.keeper.line import Line
from mpiens.keeper.output import OutputFile
from mpiens.keeper.serving import Request, Stream, private_pipes, serve
from mpiens.processes import end_with_parent


class Program:
    """A program in a session of its own. It knows nothing of mpiens, and asks nothing.

    Args:
        request: `argv`, `env`, `cwd`, `stdin` (a file's path, or None), `stdout` and `stderr` (files to make).

    Raises:
        OSError: It cannot be started.
    """

    line: Line | None = None

    def __init__(self, request: Request) -> None:
        pipes = {name: os.pipe2(os.O_CLOEXEC) for name in ("stdout", "stderr")}
        try:
            with Path(request["stdin"] or os.devnull).open("rb") as stdin:
                process = subprocess.Popen(
                    request["argv"],
                    env=request["env"],
                    cwd=request["cwd"],
                    stdin=stdin,
                    stdout=pipes["stdout"][1],
                    stderr=pipes["stderr"][1],
                    start_new_session=True,
                    preexec_fn=end_with_parent,  # noqa: PLW1509 - the keeper has one thread
                )
        except BaseException:
            for read, _ in pipes.values():
                os.close(read)
            raise
        finally:
            for _, write in pipes.values():
                os.close(write)
        self.pid = process.pid
        process.returncode = 0  # it is waited for elsewhere
        self.streams: dict[str, Stream] = {name: OutputFile(read, request[name]) for name, (read, _) in pipes.items()}


if __name__ == "__main__":
    serve(*private_pipes(), Program)
