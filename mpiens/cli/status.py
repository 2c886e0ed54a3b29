"""``mpiens status`` and ``mpiens list``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from mpiens.errors import UsageError
from mpiens.report import words
from mpiens.report.status import CHANGED, read_status
from mpiens.runtime.lifesign import STATUS_NAME
from mpiens.trial import TrialState

_MOST_MISSING = 20
"""So many missing points are listed."""

_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What a status raises that has other contents than it should."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path), default=Path())
@click.option("-v", "--verbose", is_flag=True, help="List failed trials and missing points too; check all results.")
def status(run: Path, verbose: bool) -> None:
    """Show counts, rate, time left and the best trial of RUN, a run directory; the current one if not given."""
    found = read_status(run)
    run_dir = run if run.is_dir() else run.parent
    try:
        text = _describe(found, run_dir)
    except _DAMAGED as error:
        raise UsageError(
            f"{run}: {STATUS_NAME} is damaged; the run itself is not, and its next status mends it"
        ) from error
    click.echo(text)
    if verbose:
        _list_missing(run_dir, _list_failures(run_dir), found["total"])


def _describe(found: dict[str, Any], run_dir: Path) -> str:
    done = found["complete"] + found["pruned"] + found["failed"]
    lines = [
        f"{found['name']}: {found['state']}" + (f": {found['reason']}" if found["reason"] else ""),
        f"  trials    {done} of {found['total']}: {found['complete']} complete, {found['failed']} failed, "
        f"{found['pruned']} pruned; {found['running']} running",
        f"  time      {words.duration(found['elapsed_s'])}, {words.rate(found['rate_per_s'])}, "
        f"{words.duration(found['time_left_s'])} left",
        f"  groups    {found['groups']} of {words.count(found['group_size'], 'rank')}, {found['busy_share']:.0%} busy"
        + (f", {found['lost_groups']} lost" if found["lost_groups"] else ""),
    ]
    if found["best"]:
        values = " ".join(f"{name}={words.number(value)}" for name, value in found["best"]["values"].items())
        params = words.params(found["best"]["params"], 20)
        lines.append(f"  best      trial {found['best']['number']}: {values} with {params}")
    if found.get("front"):
        lines.append(f"  front     {words.count(len(found['front']), 'trial')}, see `pareto()` of mpiens.open")
    lines += [f"  failures  {many} x {cause}" for cause, many in list(found["causes"].items())[:10]]
    if found["state"] == "lost":
        lines.append(f"  the run has not been heard of since its last status; it ran on {found['host']}")
    if found["state"] in ("lost", "stopped"):
        lines.append(f"  go on     {words.resume(run_dir)}")
    if found[CHANGED]:
        lines.append(
            f"  {STATUS_NAME} is not as a run has written it: it is damaged, or another program has changed it"
        )
    return "\n".join(lines)


def _list_failures(run_dir: Path) -> set[int]:
    """Print them; the numbers of all trials that have a record."""
    from mpiens.store import open_results
    from mpiens.store.unsealed import unsealed_records

    # First what is not in results.h5 yet: it may come to be there meanwhile, but not the other way round.
    unsealed = {record.number: record for record in unsealed_records(run_dir)}
    with open_results(run_dir) as results:
        results.verify()
        trials = results.trials
    failed: dict[int, tuple[str, dict[str, Any]]] = {}
    for row in trials[trials["state"] == "FAIL"].to_dict("records"):
        params = {str(k).removeprefix("params_"): v for k, v in row.items() if str(k).startswith("params_")}
        failed[row["number"]] = (row["error"], params)
    sealed = set(trials["number"])
    for record in unsealed.values():
        if record.state is TrialState.FAIL and record.number not in sealed:
            failed[record.number] = (record.error, record.params)
    for number, (error, params) in sorted(failed.items()):
        click.echo(f"  trial {number} failed: {error} ({words.params(params, 20)})")
    return sealed.union(unsealed)


def _list_missing(run_dir: Path, recorded: set[int], total: int) -> None:
    """Print the first points that have no record; of a sampler, those that it has chosen."""
    from mpiens.report.unfinished import missing_points

    count = total - len(recorded)
    if count <= 0:
        return
    listed = list(islice(missing_points(run_dir, recorded, total), _MOST_MISSING))
    unchosen = "" if listed else "; their points have not been chosen yet"
    click.echo(f"  missing   {count} of {words.count(total, 'trial')}{unchosen}")
    for number, params in listed:
        click.echo(f"    trial {number}: {words.params(params, 20)}")
    if listed and len(listed) < count:
        unchosen = "" if len(listed) == _MOST_MISSING else ", whose points have not been chosen yet"
        click.echo(f"    and {count - len(listed)} more{unchosen}")


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    done = found["complete"] + found["pruned"] + found["failed"]
    best = found["best"]
    value = "" if not best else " ".join(f"{k}={words.number(v)}" for k, v in best["values"].items())
    return str(found["name"]), found["state"], f"{done}/{found['total']}", str(found["failed"]), value


@click.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def list_runs(folder: Path) -> None:
    """List the runs below FOLDER, the current one if not given."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "state", "trials", "failed", "best", "folder"):
        table.add_column(heading, justify="right" if heading in ("trials", "failed") else "left", overflow="fold")
    rows = 0
    for run_dir in sorted(_runs_below(folder)):
        try:
            found = read_status(run_dir)
        except UsageError:
            continue  # A status.json of some other program.
        try:
            table.add_row(*_row(found), str(run_dir))
        except _DAMAGED:
            table.add_row("", f"{STATUS_NAME} is damaged", "", "", "", str(run_dir))
        rows += 1
    if rows:
        Console(soft_wrap=True).print(table)
    else:
        click.echo(f"no runs below {folder.absolute()}")


def _runs_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if STATUS_NAME in files:
            yield Path(parent)
            folders.clear()
        else:
            folders[:] = [name for name in folders if not name.startswith(".")]
