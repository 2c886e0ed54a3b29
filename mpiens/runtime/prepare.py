"""From a spec to all that a run needs: what fails here, fails before anything has been started."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiens.driver import DriverConfig
from mpiens.errors import SpecError, UsageError
from mpiens.goals import CONSTRAINT, Goals
from mpiens.layout import Layout, plan
from mpiens.messages import CommandSettings, ModelSettings, Setup
from mpiens.models.mechanisms import compile_mechanisms
from mpiens.runtime import growth
from mpiens.runtime.claim import check_idle, check_packed, claim, probe
from mpiens.runtime.earlier import NAME as EARLIER_NAME
from mpiens.runtime.earlier import Earlier, earlier_trials, keep_earlier
from mpiens.runtime.lifesign import read_lifesign
from mpiens.runtime.lock import RunLock
from mpiens.runtime.logbook import driver_journals
from mpiens.runtime.order import Order
from mpiens.runtime.recovery import Found, check_total, find_checkpoint
from mpiens.runtime.resume import check_same, holds_run, run_directory, spec_of
from mpiens.samplers import (
    PastTrial,
    Pruner,
    Sampler,
    build_pruner,
    build_sampler,
    is_adaptive,
    trials_per_point,
)
from mpiens.spec import LoadedSpec, Spec, check_available, check_files, load_spec

if TYPE_CHECKING:
    from mpiens.store import FileStore


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
        pruner: What stops trials early; new, like the sampler; None: nothing does.
        earlier: The run's checkpoint, when it goes on; None: it is new.
        forms: Of a grid: the forms that its space has had.
        is_forced: Go on with it, whatever its records say of its points.
        warnings: What a person should know.
    """

    loaded: LoadedSpec
    run_dir: Path
    layout: Layout
    setup: Setup
    sampler: Sampler
    driver: DriverConfig
    pruner: Pruner | None = None
    earlier: Found | None = None
    forms: tuple[Any, ...] = ()
    is_forced: bool = False
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


def place_of(order: Order, loaded: LoadedSpec) -> Path:
    """The run directory of a run that has a spec, absolute."""
    return Path(os.path.normpath((order.output or loaded.run_dir).absolute()))


def find_run(order: Order, hold: Callable[[Path], None] = lambda _: None) -> tuple[LoadedSpec, Path, Found | None]:
    """Spec, run directory, and what is there already, when the run is to go on.

    Args:
        order: What a person asked for.
        hold: Called before anything is read of the run.

    Raises:
        UsageError: The spec is wrong, or there is no run.
    """
    if order.spec is None:
        assert order.output is not None
        run_dir = run_directory(order.output)
        hold(run_dir)
        earlier = find_checkpoint(run_dir)
        loaded = spec_of(run_dir, earlier, order.overrides)
        _check(loaded)
        return loaded, run_dir, earlier
    loaded = read_spec(order)
    run_dir = place_of(order, loaded)
    if not (order.resume and holds_run(run_dir)):
        return loaded, run_dir, None
    hold(run_dir)
    return loaded, run_dir, find_checkpoint(run_dir)


def prepare(order: Order, world_size: int, lock: RunLock) -> Job:
    """Check, plan, make the run directory, compile.

    Args:
        order: What a person asked for.
        world_size: Ranks in all.
        lock: Holds the run directory from here on.

    Raises:
        UsageError: The spec, the world's size or the run directory does not allow the run.
        ModelError: The mechanisms cannot be compiled.
    """

    def hold(run_dir: Path) -> None:
        check_idle(run_dir)
        lock.hold(run_dir)

    loaded, run_dir, earlier = find_run(order, hold)
    grid = growth.begin(loaded) if earlier is None else growth.go_on(loaded, run_dir, order.force)
    loaded, spec = grid.loaded, loaded.spec
    told = find_earlier(loaded, None if earlier is None else run_dir)
    sampler, pruner = make_sampler(loaded, told.trials), make_pruner(loaded)
    try:
        layout = plan(world_size, spec.groups.size, spec.store.writers, spec.groups.max_concurrent)
    except UsageError:
        if not is_complete(run_dir, earlier, sampler.total):
            raise
        layout = plan(1)  # nothing is left to do, so that any number of ranks will do
    warnings = list(grid.warnings)
    if any(fitting < found for _, fitting, found in told.counts):
        warnings.append(f"search.from: {describe_told(loaded, told)}")
    if earlier is None:
        claim(run_dir, order.overwrite, lock)
        keep_earlier(run_dir, told.trials)
    else:
        warnings += earlier.warnings
        if not order.force:
            check_packed(run_dir, earlier.saved)
        if earlier.saved is not None:
            check_total(len(earlier.saved.states), sampler.total)
            warnings += check_same(earlier.saved, loaded, run_dir, order.force, grid.is_known)
        probe(run_dir)
        if not (run_dir / EARLIER_NAME).exists():
            keep_earlier(run_dir, told.trials)
    setup = make_setup(loaded, layout, run_dir)
    config = DriverConfig(
        total=sampler.total,
        groups=len(layout.groups),
        batch=spec.search.batch * trials_per_point(spec),
        max_attempts=spec.limits.max_attempts,
        checkpoint_every_s=spec.checkpoint.every,
        goals=Goals.of(kinds_of_values(spec), spec.search.repeats),
        is_adaptive=is_adaptive(spec.search.algorithm),
    )
    return Job(
        loaded, run_dir, layout, setup, sampler, config, pruner, earlier, grid.forms, order.force, tuple(warnings)
    )


def kinds_of_values(spec: Spec) -> dict[str, str]:
    """``minimize``, ``maximize`` or ``constraint`` for each value that a trial must have."""
    return dict(spec.search.objectives) | dict.fromkeys(spec.search.constraints, CONSTRAINT)


def is_complete(run_dir: Path, earlier: Found | None, total: int) -> bool:
    """True when all of these trials are finished, all of their results sound, and the run got through its end."""
    from mpiens.store import packed_size

    saved = None if earlier is None else earlier.saved
    if saved is None or len(saved.states) != total or not saved.states.all():
        return False
    # A kill just before the end leaves files that a complete run does not have, and a status that says otherwise.
    if driver_journals(run_dir) or read_lifesign(run_dir).get("state", "complete") != "complete":
        return False
    return packed_size(run_dir) == total


def find_earlier(loaded: LoadedSpec, run_dir: Path | None = None) -> Earlier:
    """Trials of earlier runs that the sampler is told.

    Raises:
        SpecError: They cannot be had; with file and line.
    """
    try:
        return earlier_trials(loaded, run_dir)
    except SpecError as error:
        raise loaded.located(error) from error


def describe_told(loaded: LoadedSpec, told: Earlier) -> str:
    """How many trials of which run the sampler is told, in one line."""
    parts = [f"{fitting} of {found} complete trials of {name}" for name, fitting, found in told.counts]
    text = f"{', '.join(parts)} are told to {loaded.spec.search.algorithm}"
    is_partial = any(fitting < found for _, fitting, found in told.counts)
    return text + ("; the others are not in this space" if is_partial else "")


def make_sampler(loaded: LoadedSpec, told: Sequence[PastTrial] | None = None) -> Sampler:
    """The spec's sampler; `told` are trials of earlier runs, None: they have yet to be found.

    Raises:
        SpecError: It does not fit the space; with file and line.
    """
    try:
        return build_sampler(
            loaded.spec, loaded.space, loaded.folder, find_earlier(loaded).trials if told is None else told
        )
    except SpecError as error:
        raise loaded.located(error) from error


def make_pruner(loaded: LoadedSpec) -> Pruner | None:
    """The spec's pruner, if it has one.

    Raises:
        SpecError: It does not take these options; with file and line.
    """
    try:
        return build_pruner(loaded.spec, loaded.folder)
    except SpecError as error:
        raise loaded.located(error) from error


def make_setup(loaded: LoadedSpec, layout: Layout, run_dir: Path) -> Setup:
    """What workers must know; compiles the mechanisms."""
    spec, folder = loaded.spec, loaded.folder
    library = None
    if spec.model.mechanisms is not None:
        library = str(compile_mechanisms(folder / spec.model.mechanisms, run_dir / "mechanisms"))
    has_own_processes = spec.model.kind == "command" or spec.model.isolation == "process"
    model = ModelSettings(
        kind=spec.model.kind,
        target=absolute_target(spec.model.python or spec.model.netpyne or "", folder),
        folder=str(folder),
        setup=absolute_target(spec.model.setup, folder) if spec.model.setup else None,
        library=library,
        fixed=dict(spec.model.fixed),
        command=command_settings(spec, folder) if spec.model.kind == "command" else None,
        is_isolated=spec.model.isolation == "process",
        limit_s=spec.limits.trial_timeout if has_own_processes else None,
        results=tuple(spec.model.results),
        seeds=spec.model.seeds == "per_trial",
        reuse=spec.model.reuse,
    )
    objectives = tuple(kinds_of_values(spec))
    # A process can be ended from outside; only what runs in a rank needs a watchdog there.
    timeout_s = None if has_own_processes else spec.limits.trial_timeout
    prunes = spec.search.pruner is not None
    return Setup(layout, model, objectives, spec.seed, str(run_dir), spec.limits.group_timeout, timeout_s, prunes)


def command_settings(spec: Spec, folder: Path) -> CommandSettings:
    """What workers must know of the spec's command."""
    model = spec.model
    return CommandSettings(
        argv=tuple(model.command or ()),
        result=next(iter(model.result.items())) if model.result else None,
        ranks=model.ranks,
        threads=model.threads,
        launch=model.launch,
        prepare=absolute_target(model.prepare, folder) if model.prepare else None,
        objective=next(iter(spec.search.objectives), None),
    )


def absolute_target(target: str, folder: Path) -> str:
    """``path.py:function`` with the path made absolute; ``package.module:function`` as it is."""
    path, colon, function = target.partition(":")
    return f"{(folder / path).absolute()}{colon}{function}" if path.endswith(".py") else target


def open_store(job: Job) -> FileStore:
    """The run's store, with what is there already."""
    from mpiens.store import FileStore

    spec = job.loaded.spec
    return FileStore(
        job.run_dir,
        name=spec.name,
        spec_text=job.loaded.text,
        provenance=provenance(job),
        objectives=kinds_of_values(spec),
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
