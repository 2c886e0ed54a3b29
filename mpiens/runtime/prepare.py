"""From a spec to all that a run needs: what fails here, fails before anything has been started."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from mpiens.driver import DriverConfig
from mpiens.errors import RunExistsError, SpecError, UsageError
from mpiens.layout import Layout, plan
from mpiens.messages import ModelSettings, Setup
from mpiens.models.mechanisms import compile_mechanisms
from mpiens.runtime.order import Order
from mpiens.runtime.recovery import Found, find_checkpoint
from mpiens.runtime.resume import check_same, holds_run, run_directory, spec_of
from mpiens.samplers import ADAPTIVE, Sampler, build_sampler
from mpiens.spec import LoadedSpec, check_available, check_files, load_spec

if TYPE_CHECKING:
    from mpiens.store import FileStore

RUN_FILES = ("results.h5", "checkpoint.h5", "checkpoint.previous.h5", "status.json", "run.log", "report.html")
RUN_FOLDERS = ("journal", "segments", "trials", "mechanisms")
"""What mpiens puts into a run directory."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is ready to start.

    Attributes:
        loaded: Its spec.
        run_dir: Absolute.
        layout: Who does what.
        setup: What workers must know.
        sampler: New; it has yet to be restored where the run goes on.
        driver: What the driver must know.
        maximize: Direction of the first objective.
        earlier: The run's checkpoint, when it goes on; None: it is new.
        warnings: What a person should know.
    """

    loaded: LoadedSpec
    run_dir: Path
    layout: Layout
    setup: Setup
    sampler: Sampler
    driver: DriverConfig
    maximize: bool
    earlier: Found | None = None
    warnings: tuple[str, ...] = ()


def read_spec(order: Order) -> LoadedSpec:
    """The spec, checked as far as that is possible without running it.

    Raises:
        SpecError: Something in it is wrong.
    """
    assert order.spec is not None
    loaded = load_spec(order.spec, order.overrides)
    _check(loaded)
    return loaded


def _check(loaded: LoadedSpec) -> None:
    check_available(loaded)
    check_files(loaded)


def _find(order: Order) -> tuple[LoadedSpec, Path, Found | None]:
    """Spec, run directory, and what is there already, when the run is to go on."""
    if order.spec is None:
        assert order.output is not None
        run_dir = run_directory(order.output)
        earlier = find_checkpoint(run_dir)
        loaded = spec_of(run_dir, earlier, order.overrides)
        _check(loaded)
        return loaded, run_dir, earlier
    loaded = read_spec(order)
    run_dir = (order.output or loaded.run_dir).absolute()
    is_there = order.resume and holds_run(run_dir)
    return loaded, run_dir, find_checkpoint(run_dir) if is_there else None


def prepare(order: Order, world_size: int) -> Job:
    """Check, plan, make the run directory, compile.

    Raises:
        UsageError: The spec, the world's size or the run directory does not allow the run.
        ModelError: The mechanisms cannot be compiled.
    """
    loaded, run_dir, earlier = _find(order)
    spec = loaded.spec
    layout = plan(world_size, spec.groups.size, spec.store.writers, spec.groups.max_concurrent)
    sampler = make_sampler(loaded)
    warnings: list[str] = []
    if earlier is None:
        claim(run_dir, order.overwrite)
    else:
        warnings += earlier.warnings
        if earlier.saved is not None:
            warnings += check_same(earlier.saved, loaded, run_dir, order.force)
        _probe(run_dir)
    setup = make_setup(loaded, layout, run_dir)
    directions = list(spec.search.objectives.values())
    maximize = bool(directions) and directions[0] == "maximize"
    config = DriverConfig(
        total=sampler.total,
        groups=len(layout.groups),
        batch=spec.search.batch,
        max_attempts=spec.limits.max_attempts,
        checkpoint_every_s=spec.checkpoint.every,
        maximize=maximize,
        is_adaptive=spec.search.algorithm in ADAPTIVE,
    )
    return Job(loaded, run_dir, layout, setup, sampler, config, maximize, earlier, tuple(warnings))


def make_sampler(loaded: LoadedSpec) -> Sampler:
    """The spec's sampler.

    Raises:
        SpecError: It does not fit the space; with file and line.
    """
    try:
        return build_sampler(loaded.spec, loaded.space)
    except SpecError as error:
        raise error.within(loaded.file, loaded.lines) from error


def make_setup(loaded: LoadedSpec, layout: Layout, run_dir: Path) -> Setup:
    """What workers must know; compiles the mechanisms."""
    spec, folder = loaded.spec, loaded.folder
    library = None
    if spec.model.mechanisms is not None:
        library = str(compile_mechanisms(folder / spec.model.mechanisms, run_dir / "mechanisms"))
    model = ModelSettings(
        kind="python" if spec.model.python else "netpyne",
        target=absolute_target(spec.model.python or spec.model.netpyne or "", folder),
        folder=str(folder),
        setup=absolute_target(spec.model.setup, folder) if spec.model.setup else None,
        library=library,
        fixed=dict(spec.model.fixed),
    )
    objectives = tuple(spec.search.objectives)
    return Setup(layout, model, objectives, spec.seed, str(run_dir), spec.limits.group_timeout)


def absolute_target(target: str, folder: Path) -> str:
    """``path.py:function`` with the path made absolute; ``package.module:function`` as it is."""
    path, colon, function = target.partition(":")
    return f"{(folder / path).absolute()}{colon}{function}" if path.endswith(".py") else target


def claim(run_dir: Path, overwrite: bool) -> None:
    """Make the run directory, empty of earlier runs.

    Raises:
        RunExistsError: It holds a run, which is not to be overwritten.
        UsageError: It cannot be made.
    """
    if holds_run(run_dir) and not overwrite:
        raise RunExistsError(
            f"{run_dir} already holds a run; --resume goes on with it, --overwrite deletes it, --output DIR puts this "
            "run elsewhere"
        )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        for name in RUN_FILES:
            (run_dir / name).unlink(missing_ok=True)
        for name in RUN_FOLDERS:
            shutil.rmtree(run_dir / name, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"{run_dir}: cannot be used as the run directory: {error.strerror}") from error
    _probe(run_dir)


def _probe(run_dir: Path) -> None:
    """Can files be made here?"""
    try:
        probe = run_dir / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"{run_dir}: cannot be used as the run directory: {error.strerror}") from error


def open_store(job: Job) -> FileStore:
    """The run's store, with what is there already."""
    from mpiens.store import FileStore

    spec = job.loaded.spec
    return FileStore(
        job.run_dir,
        name=spec.name,
        spec_text=job.loaded.text,
        provenance=provenance(job),
        objectives=dict(spec.search.objectives),
        parameters=job.loaded.space.names,
    )


def provenance(job: Job) -> dict[str, str | int]:
    """Where the results come from: versions, host, command, time, world."""
    versions = {}
    for package in ("mpiens", "mpi4py", "numpy", "h5py", "optuna", "neuron", "netpyne"):
        try:
            versions[f"{package}_version"] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **versions,
        "python_version": platform.python_version(),
        "host": platform.node(),
        "command": " ".join(sys.argv),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "world_size": job.layout.world_size,
        "group_size": job.layout.group_size,
        "seed": job.loaded.spec.seed,
    }
