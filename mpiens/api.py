"""Running from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mpiens.errors import MpiensError
from mpiens.runtime import run_rank
from mpiens.runtime.order import Order

if TYPE_CHECKING:
    from mpiens.report.terminal import Mode
    from mpiens.runtime.observer import Ending, Observer
    from mpiens.runtime.walltime import Allotment


def run(
    spec: str | Path,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    progress: Mode = "auto",
) -> Path | None:
    """Run a spec, under mpiexec (call it on every rank) or alone.

    Args:
        spec: Path of the spec.
        output: Run directory instead of the spec's.
        overwrite: Delete a run that is already there.
        overrides: Settings over the spec's, such as ``groups.size=2``.
        progress: auto, live, plain or off.

    Returns:
        The run directory on rank 0, None on the other ranks.

    Raises:
        SpecError: Something in the spec is wrong.
        MpiensError: The run could not start, or could not go on.
    """
    ending = run_ending(Order(Path(spec), None if output is None else Path(output), overwrite, overrides), progress)
    if ending is None:
        return None
    if ending.exit_status:
        raise MpiensError(f"{ending.outcome}: {ending.reason}")
    return ending.last.run_dir


def run_ending(order: Order, progress: Mode) -> Ending | None:
    """Run with the usual observers: the terminal and status.json."""

    def make_observer() -> Observer:
        from mpiens.report import Observers
        from mpiens.report.status import StatusFile
        from mpiens.report.terminal import TerminalDisplay

        return Observers(TerminalDisplay(progress), StatusFile())

    def ask_scheduler() -> Allotment:
        from mpiens.cluster.deadline import find_allotment

        return find_allotment(os.environ)

    return run_rank(order, make_observer, ask_scheduler)
