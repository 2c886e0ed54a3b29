"""Which run is to go on, and with which spec."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mpiens.checkpoint import NAME, PREVIOUS_NAME, Saved
from mpiens.errors import SpecError, UsageError
from mpiens.runtime.origin import edited, read_origin, spec_digest
from mpiens.runtime.recovery import Found
from mpiens.spec import LoadedSpec, load_spec
from mpiens.spec.compare import differences, points_digest
from mpiens.spec.load import parse_spec

RUN_MARKS = ("results.h5", "status.json", "journal", NAME, PREVIOUS_NAME)
"""A directory with one of these holds a run."""


def holds_run(directory: Path) -> bool:
    """True when there is a run in this directory."""
    return any((directory / name).exists() for name in RUN_MARKS)


def run_directory(path: Path) -> Path:
    """The run directory that `path`, a directory or a checkpoint in it, stands for.

    Raises:
        UsageError: There is no run.
    """
    folder = path.parent if path.name in (NAME, PREVIOUS_NAME) else path
    if not folder.is_dir():
        raise UsageError(f"{path}: no such run; expected a run directory or its {NAME}")
    if not holds_run(folder):
        raise UsageError(f"{path}: no run here; expected a run directory or its {NAME}")
    return folder.absolute()


def spec_of(run_dir: Path, found: Found, overrides: Sequence[str]) -> LoadedSpec:
    """The spec that a run was made with as it is now, with the settings that the run has had, then `overrides`.

    Raises:
        UsageError: It cannot be found, or there is no sound checkpoint to compare it with.
    """
    by_hand = f"give the spec: mpiens run SPEC --resume --output {run_dir}"
    if found.saved is None:
        reason = "; ".join(found.warnings) or f"there is no {NAME}"
        raise UsageError(
            f"{run_dir}: nothing sound is left to compare its spec with: {reason}; to go on from its results, "
            + (_command(run_dir) or by_hand)
        )
    try:
        origin = read_origin(run_dir)
    except UsageError as error:
        raise UsageError(f"{run_dir}: cannot find out which spec this run has: {error}; {by_hand}") from None
    place = origin.place(run_dir)
    if place is None:
        beside, recorded = origin.places(run_dir)
        raise UsageError(f"the spec of this run is neither {beside} nor {recorded}; {by_hand}{_edited(run_dir)}")
    try:
        return load_spec(place, [*origin.settings, *overrides])
    except SpecError as error:
        if note := _edited(run_dir):
            raise UsageError(f"{error}{note}") from error
        raise


def _edited(run_dir: Path) -> str:
    note = edited(run_dir)
    return note and f"\n{note}"


def _command(run_dir: Path) -> str:
    """What goes on with a run from the spec and the settings that it was last given; empty: that is not known."""
    try:
        origin = read_origin(run_dir)
    except UsageError:
        return ""
    place = origin.place(run_dir)
    if place is None:
        return ""
    settings = [word for setting in origin.settings for word in ("--set", setting)]
    return "give the spec: " + shlex.join(
        ["mpiens", "run", str(place), "--resume", "--output", str(run_dir), *settings]
    )


def check_same(
    saved: Saved, loaded: LoadedSpec, run_dir: Path, is_forced: bool, is_space_known: bool = False
) -> list[str]:
    """Refuse a spec that would give other results than the run's own.

    Args:
        saved: What the run's checkpoint says.
        loaded: The spec now.
        run_dir: The run directory.
        is_forced: Only warn.
        is_space_known: The space need not be compared: it is a grid, and has all points of the run's.

    Returns:
        What a person should know.

    Raises:
        UsageError: It has changed where it must not; the message shows what.
    """
    try:
        old = parse_spec(saved.spec_text, loaded.file)
    except SpecError as error:
        changed = [f"the run's own spec cannot be read any more: {error}"]
        objectives = _values(loaded)
        notes = []
    else:
        changed = differences(old, loaded, ("space",) if is_space_known else ())
        objectives = _values(old)
        notes = _edits(saved, old, loaded)
    if not is_space_known and saved.points_digest != points_digest(loaded):
        changed.append("space: the files of points have changed")
    if objectives != _values(loaded):
        raise UsageError(
            f"{run_dir}: search.objectives and search.constraints cannot be changed while a run goes on, not even with "
            "--force: "
            f"{objectives} -> {_values(loaded)}; start a new run with --output DIR"
        )
    if not changed:
        return notes
    shown = "\n".join(f"  {line}" for line in changed)
    if is_forced:
        return [f"the spec has changed, and --force says to go on all the same:\n{shown}"]
    raise UsageError(
        f"{run_dir}: the spec, {loaded.shown_file}, has changed in what decides about the results:\n"
        f"{shown}\n"
        f"change it back, or start a new run with --output DIR; --force goes on all the same{_edited(run_dir)}"
    )


def _edits(saved: Saved, old: LoadedSpec, new: LoadedSpec) -> list[str]:
    """A note on what has been edited in the spec's file and may change."""
    if not new.file.is_file() or spec_digest(new.file) == saved.spec_digest:
        return []
    edits = [line for line in differences(old, new, is_all=True) if not line.startswith(tuple(new.overrides))]
    shown = "\n".join(f"  {line}" for line in edits)
    return [f"{new.file} has been edited since, and holds as it is now:\n{shown}"] if edits else []


def _values(loaded: LoadedSpec) -> list[str]:
    """Names of a trial's values."""
    return [*loaded.spec.search.objectives, *loaded.spec.search.constraints]


def facts(loaded: LoadedSpec, run_dir: Path) -> Saved:
    """What checkpoints say of the run, without its course."""
    file = loaded.file
    nothing = np.zeros(0)
    return Saved(
        spec_text=loaded.text,
        spec_file=str(file),
        spec_beside=os.path.relpath(file, run_dir),
        spec_digest=spec_digest(file) if file.is_file() else "",
        points_digest=points_digest(loaded),
        algorithm=loaded.spec.search.algorithm,
        version=version("mpiens"),
        serial=0,
        pending=[],
        states=nothing,
        values=nothing,
        order=np.zeros((0, 2)),
    )
