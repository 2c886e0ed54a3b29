"""``mpiens run`` and ``mpiens resume``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpiens.api import run_ending
from mpiens.errors import UsageError
from mpiens.runtime.order import Order

if TYPE_CHECKING:
    from mpiens.report.terminal import Mode


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Run directory, instead of the spec's.")
@click.option("--overwrite", is_flag=True, help="Delete a run that is already in the run directory.")
@click.option("--resume", is_flag=True, help="Go on with the run in the run directory; begin it if there is none.")
@click.option("--force", is_flag=True, help="With --resume: go on although the spec has changed in what must stay.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the spec.")
@click.option(
    "--progress", type=click.Choice(["auto", "live", "plain", "off"]), default="auto", help="How progress is shown."
)
def run(
    spec: Path,
    output: Path | None,
    overwrite: bool,
    resume: bool,
    force: bool,
    overrides: tuple[str, ...],
    progress: Mode,
) -> int:
    """Run SPEC. Under mpiexec rank 0 drives and the others simulate; without mpiexec one rank does both."""
    if resume and overwrite:
        raise UsageError("--resume goes on with a run and --overwrite deletes it; give one of the two")
    if force and not resume:
        raise UsageError("--force is for --resume only")
    ending = run_ending(Order(spec, output, overwrite, overrides, resume, force), progress)
    return 0 if ending is None else ending.exit_status


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the spec.")
@click.option("--force", is_flag=True, help="Go on although the spec has changed in what must stay.")
@click.option(
    "--progress", type=click.Choice(["auto", "live", "plain", "off"]), default="auto", help="How progress is shown."
)
def resume(run: Path, overrides: tuple[str, ...], force: bool, progress: Mode) -> int:
    """Go on with RUN, a run directory or its checkpoint.h5, under mpiexec with any number of ranks, or without."""
    ending = run_ending(Order(None, run, False, overrides, True, force), progress)
    return 0 if ending is None else ending.exit_status
