"""run.log: what models print, with the trial and the rank in front, so that the terminal stays readable.

The process's own standard output and error (file descriptors 1 and 2) are led into the file, so that what a
simulator's C code prints lands there too. Lines that pass through Python's `print` carry a mark, for example
``[trial 12 rank 3] ``.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TextIO

LOG_NAME = "run.log"


class _Mark:
    """What stands in front of every line of this rank."""

    __slots__ = ("rank", "trial")

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.trial: int | None = None

    def __str__(self) -> str:
        return f"[rank {self.rank}] " if self.trial is None else f"[trial {self.trial} rank {self.rank}] "


class _MarkedStream(io.TextIOBase):
    """Writes whole lines, each with a mark in front, in one system call, so that ranks do not mix within a line.

    Attributes:
        partial: The beginning of a line whose end has not come.
    """

    def __init__(self, fd: int, mark: _Mark) -> None:
        super().__init__()
        self._fd = fd
        self._mark = mark
        self.partial = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Always UTF-8."""
        return "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor that the lines go to."""
        return self._fd

    def write(self, text: str) -> int:
        """Write the lines that `text` completes; keep the rest."""
        *lines, self.partial = (self.partial + text).split("\n")
        if lines:
            mark = str(self._mark)
            # A full disk must not fail a simulation for a line of its log; the store says that the disk is full.
            with contextlib.suppress(OSError):
                os.write(self._fd, "".join(f"{mark}{line}\n" for line in lines).encode("utf-8", "replace"))
        return len(text)


class MarkedOutput:
    """Marks what one trial prints in this process, whose descriptors 1 and 2 lead to the log already."""

    def __init__(self, rank: int, number: int) -> None:
        mark = _Mark(rank)
        mark.trial = number
        self._before = (sys.stdout, sys.stderr)
        self._streams = (_MarkedStream(1, mark), _MarkedStream(2, mark))
        sys.stdout, sys.stderr = self._streams

    def close(self) -> None:
        """End lines that have no end; standard output and error are as before."""
        for stream in self._streams:
            if stream.partial:
                stream.write("\n")
        sys.stdout, sys.stderr = self._before


class RunLog:
    """The log of one rank, until it is closed.

    Attributes:
        terminal: Where the person is: standard output as it was before.
    """

    def __init__(self, run_dir: Path, rank: int) -> None:
        self._before = (sys.stdout, sys.stderr)
        for stream in self._before:
            stream.flush()
        self._saved = (os.dup(1), os.dup(2))
        self.terminal: TextIO = os.fdopen(self._saved[0], "w", encoding="utf-8", errors="replace", buffering=1)
        fd = os.open(run_dir / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
        self._mark = _Mark(rank)
        self._out, self._err = _MarkedStream(1, self._mark), _MarkedStream(2, self._mark)
        sys.stdout, sys.stderr = self._out, self._err

    def label(self, number: int | None) -> None:
        """Mark what follows as output of this trial; None: of no trial."""
        if self._out.partial:
            self._out.write("\n")
        if self._err.partial:
            self._err.write("\n")
        self._mark.trial = number

    def close(self) -> None:
        """Put standard output and error back as they were."""
        self.label(None)
        sys.stdout, sys.stderr = self._before
        self.terminal.flush()
        os.dup2(self._saved[0], 1)
        os.dup2(self._saved[1], 2)
        self.terminal.close()
        os.close(self._saved[1])
