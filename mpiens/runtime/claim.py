"""A run directory is made, or an earlier run in it makes room; never one that has results, unless it is asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from mpiens.checkpoint import Saved
from mpiens.errors import RunExistsError, StoreError, UsageError
from mpiens.runtime.lifesign import is_going_on, read_lifesign
from mpiens.runtime.lock import RunLock
from mpiens.store.base import JOURNAL_MAGIC
from mpiens.store.files import name_aside

RUN_FILES = (
    "earlier.bin",
    "origin.yaml",
    "results.h5",
    "results.h5.sums",
    "checkpoint.h5",
    "checkpoint.previous.h5",
    "status.json",
    "run.log",
    "report.html",
    "space.json",
)
RUN_FOLDERS = ("journal", "segments", "trials", "mechanisms", "checksums")
"""What mpiens puts into a run directory."""


def claim(run_dir: Path, overwrite: bool, lock: RunLock) -> None:
    """Make the run directory, empty of earlier runs, and hold it.

    A run that failed before its first trial had ended is not worth a question.

    Raises:
        RunExistsError: It holds a run, which is not to be overwritten or is still going on.
        UsageError: It cannot be made, or holds something else under the names that a run uses.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        check_idle(run_dir)
        lock.hold(run_dir)
        _make_room(run_dir, overwrite)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{run_dir}: cannot be the run directory, because {error.filename} is a file") from error
    except OSError as error:
        raise UsageError(f"{run_dir}: cannot be used as the run directory: {error.strerror}") from error
    probe(run_dir)


def probe(run_dir: Path) -> None:
    """Can files be made here?

    Raises:
        UsageError: They cannot.
    """
    try:
        made = run_dir / f".probe-{os.getpid()}"
        made.touch()
        made.unlink()
    except OSError as error:
        raise UsageError(f"{run_dir}: cannot be used as the run directory: {error.strerror}") from error


def check_idle(run_dir: Path) -> None:
    """Refuse a directory whose run is going on.

    Raises:
        RunExistsError: It is.
    """
    status = read_lifesign(run_dir)
    if is_going_on(status):
        raise RunExistsError(
            f"{run_dir}: a run is going on there (process {status.get('pid', '?')} on {status.get('host', '?')}); "
            "--output DIR puts this one elsewhere"
        )


def has_results(run_dir: Path) -> bool:
    """True when there may be results, sound or not, in this directory, whatever its status says."""
    from mpiens.store import open_results

    if _has_parts(run_dir) or any(run_dir.glob("journal/*.damaged*")) or any(run_dir.glob("results.h5.damaged*")):
        return True
    if not (run_dir / "results.h5").exists():
        return False
    try:
        return len(open_results(run_dir)) > 0
    except StoreError:
        return True


def check_packed(run_dir: Path, saved: Saved | None) -> None:
    """Refuse to go on where that would compute trials again, because the one file of a complete run is damaged or gone.

    Args:
        run_dir: The run directory.
        saved: The run's checkpoint.

    Raises:
        UsageError: Some of what results.h5 holds is lost, nothing else holds results, and the run has finished trials.
    """
    from mpiens.store.salvage import salvage

    results = run_dir / "results.h5"
    finished = None if saved is None else int(saved.states.astype(bool).sum())
    if finished == 0 or _has_parts(run_dir):
        return
    count = "its" if finished is None else f"{finished}"
    if not results.exists():
        if finished:
            raise UsageError(
                f"{results}: missing; this file alone held the results of {count} finished trials, so the run does not "
                "go on by itself. Put it, or a copy, back; or give --force: all of its trials run again"
            )
        return
    try:
        found = salvage(results)
        if found is None or not found.lost:
            return
        problem, again = str(found), f"the {found.lost} lost trials run again"
    except StoreError as error:
        problem, again = str(error), "all of its trials run again"
    raise UsageError(
        f"{problem}; this file alone holds the results of {count} finished trials, so the run does not go on by "
        "itself. Put a copy of the file back; or read it as it is by mpiens.open(path, verify=False); or give "
        f"--force: the file is kept as {name_aside(results).name}, and {again}"
    )


def _has_parts(run_dir: Path) -> bool:
    """True when segments or journals hold results."""
    from mpiens.store.journal import START, parse_journal_name

    return any(run_dir.glob("segments/*.h5")) or any(
        parse_journal_name(path.name) and path.stat().st_size > START for path in run_dir.glob("journal/*.bin")
    )


def _is_run(directory: Path, status: dict[str, Any]) -> bool:
    """True when this directory is surely a run's: it has a status of mpiens, or a journal."""
    if {"state", "total", "lost_groups"} <= status.keys():
        return True
    for path in directory.glob("journal/*.bin"):
        with path.open("rb") as journal:
            if journal.read(len(JOURNAL_MAGIC)) == JOURNAL_MAGIC:
                return True
    return False


def _make_room(run_dir: Path, overwrite: bool) -> None:
    status = read_lifesign(run_dir)
    if _is_run(run_dir, status):
        is_empty = (
            status.get("state") == "failed"
            and all(status.get(name) == 0 for name in ("complete", "failed", "pruned"))
            # The status of a run that was cut short lags behind its results.
            and not has_results(run_dir)
        )
        if not overwrite and not is_empty:
            raise RunExistsError(
                f"{run_dir} already holds a run; --resume goes on with it, --overwrite deletes it, --output DIR puts "
                "this run elsewhere"
            )
    else:
        foreign = [name for name in (*RUN_FILES, *RUN_FOLDERS) if (run_dir / name).exists()]
        if foreign:
            raise UsageError(
                f"{run_dir}: holds {', '.join(foreign)}, which is not from a run of mpiens and would be overwritten; "
                "move it away, or choose another run directory with --output DIR"
            )
    for name in RUN_FILES:
        (run_dir / name).unlink(missing_ok=True)
    for name in RUN_FOLDERS:
        shutil.rmtree(run_dir / name, ignore_errors=True)
