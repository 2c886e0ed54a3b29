"""What the person at the terminal sees of a run: a live display, or plain lines where there is no terminal."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mpiens.environment import rank_by_launcher
from mpiens.errors import MpiensError
from mpiens.report import words
from mpiens.report.summary import summarize
from mpiens.runtime.observer import Ending, Snapshot

Mode = Literal["auto", "live", "plain", "off"]

PLAIN_EVERY_S = 10.0
LIVE_EVERY_S = 0.5


class TerminalDisplay:
    """Shows a run.

    Args:
        mode: live: a display that is redrawn; plain: a line now and then; off: warnings and the summary only; auto:
            live on a terminal, otherwise plain.
    """

    def __init__(self, mode: Mode = "auto") -> None:
        self._mode = mode
        self._out: TextIO = sys.stdout
        self._live: Live | None = None
        self._shown_s = 0.0
        self._plain_every_s = PLAIN_EVERY_S / 5
        self._last_done = -1

    def take_terminal(self, terminal: TextIO) -> None:
        """Write there from now on."""
        self._out = terminal

    def warned(self, text: str) -> None:
        """Print it above the display."""
        self._say(f"warning: {text}")

    def noted(self, text: str) -> None:
        """Print it above the display."""
        self._say(text)

    def started(self, snapshot: Snapshot, plan: str) -> None:
        """Say what begins, and start the display."""
        groups = f"{words.count(snapshot.groups, 'group')} of {words.count(snapshot.group_size, 'rank')}"
        self._say(f"{snapshot.name}: {words.count(snapshot.total, 'trial')} on {groups}, into {snapshot.run_dir}")
        if self._mode == "off":
            return
        if len(plan.splitlines()) <= 12:
            self._say("\n".join(f"  {line}" for line in plan.splitlines()))
        terminal = self._find_terminal()
        if terminal is not None:
            console = Console(file=terminal, force_terminal=True)
            self._live = Live(_picture(snapshot), console=console, auto_refresh=False, redirect_stdout=False)
            self._live.start(refresh=True)

    def updated(self, snapshot: Snapshot) -> None:
        """Redraw, or print a line when something has changed."""
        now_s = time.monotonic()
        if self._live is not None:
            if now_s - self._shown_s >= LIVE_EVERY_S:
                self._shown_s = now_s
                self._live.update(_picture(snapshot), refresh=True)
        elif self._mode != "off" and now_s - self._shown_s >= self._plain_every_s and snapshot.done != self._last_done:
            self._shown_s = now_s
            self._last_done = snapshot.done
            # Dense at first, so that mistakes show early; sparse in runs of days.
            self._plain_every_s = min(self._plain_every_s * 1.5, 6 * PLAIN_EVERY_S)
            self._say(line(snapshot))

    def ended(self, ending: Ending) -> None:
        """Print the summary."""
        self._stop(ending.last)
        self._say(summarize(ending))

    def failed(self, error: MpiensError, last: Snapshot) -> None:  # noqa: ARG002
        """Clear the way for the error message, which is the last thing that the command prints."""
        self._stop(None)

    def _stop(self, snapshot: Snapshot | None) -> None:
        if self._live is not None:
            if snapshot is not None:
                self._live.update(_picture(snapshot), refresh=True)
            self._live.stop()
            self._live = None

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._out, flush=True)

    def _find_terminal(self) -> TextIO | None:
        if self._mode == "plain":
            return None
        if self._mode == "live":
            return self._out
        # Open MPI gives every rank a terminal of its own, whatever mpiexec's output is.
        if rank_by_launcher(os.environ) is not None:
            return terminal_of_launcher()
        return self._out if self._out.isatty() else None


def terminal_of_launcher() -> TextIO | None:
    """The terminal that the launcher of this job writes to, opened; None when there is none.

    A rank's standard output is a pipe to mpiexec. When mpiexec runs on this machine and writes to a terminal, the
    display can be drawn there.
    """
    pid = os.getppid()
    for _ in range(4):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name.startswith(("mpiexec", "mpirun", "prterun", "hydra")):
                target = str(Path(f"/proc/{pid}/fd/1").readlink())
                if target.startswith("/dev/pts/") or target.startswith("/dev/tty"):
                    return Path(target).open("w", encoding="utf-8", buffering=1)
            # The parent's number is the second field after the name, which stands in brackets and may hold blanks.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
        if pid <= 1:
            return None
    return None


def line(snapshot: Snapshot) -> str:
    """The run in one line."""
    parts = [f"{snapshot.done}/{snapshot.total} trials", f"{snapshot.running} running"]
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    if snapshot.pruned:
        parts.append(f"{snapshot.pruned} pruned")
    parts += [words.rate(snapshot.rate_per_s), f"{words.duration(snapshot.time_left_s)} left"]
    if snapshot.best is not None:
        parts.append(f"best {snapshot.objectives[0]} {words.number(snapshot.best.values[0])}")
    parts.append(f"groups {snapshot.busy_share:.0%} busy")
    return ", ".join(parts)


def _picture(snapshot: Snapshot) -> Group:
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(snapshot.name, style="bold"),
        ProgressBar(total=max(1, snapshot.total), completed=snapshot.done, width=40),
        f"{snapshot.done}/{snapshot.total}",
    )
    counts = Text.assemble(
        (f"{snapshot.running} running", "cyan"),
        "  ",
        (f"{snapshot.failed} failed", "red" if snapshot.failed else "dim"),
        f"  {words.rate(snapshot.rate_per_s)}  {words.duration(snapshot.elapsed_s)} so far, "
        f"{words.duration(snapshot.time_left_s)} left  groups {snapshot.busy_share:.0%} busy",
    )
    rows: list[Table | Text] = [head, counts]
    if snapshot.best is not None:
        value = f"best {snapshot.objectives[0]} {words.number(snapshot.best.values[0])}"
        rows.append(Text(f"{value} (trial {snapshot.best.number}): {words.params(snapshot.best.params)}", "green"))
    return Group(*rows)
