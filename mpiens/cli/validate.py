"""``mpiens validate``: everything that can be checked before the queue."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from mpiens.command import anchored
from mpiens.errors import ModelError, MpiensError, SpecError, UsageError
from mpiens.layout import plan
from mpiens.models.cfg_check import check_script, find_cfg, unknown_cfg_paths
from mpiens.models.command import find_program
from mpiens.models.import_check import check_import
from mpiens.models.mechanisms import compile_mechanisms
from mpiens.report import words
from mpiens.runtime.order import Order
from mpiens.runtime.prepare import (
    absolute_target,
    describe_told,
    find_earlier,
    make_pruner,
    make_sampler,
    place_of,
    read_spec,
)
from mpiens.runtime.resume import holds_run
from mpiens.spec import LoadedSpec


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--ranks", type=click.IntRange(1), help="Show the group plan for so many ranks.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Run directory instead of the spec's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the spec.")
def validate(spec: Path, ranks: int | None, output: Path | None, overrides: tuple[str, ...]) -> None:
    """Check SPEC: its form, files, space, group plan, output directory, and that the model imports."""
    order = Order(spec, output, overrides=overrides)
    loaded = read_spec(order)
    told = find_earlier(loaded)
    sampler = make_sampler(loaded, told.trials)
    make_pruner(loaded)
    click.echo(f"spec      {loaded.spec.name}: {words.count(sampler.total, 'trial')}, {_searched(loaded)}")
    if told.counts:
        click.echo(f"from      {describe_told(loaded, told)}")
    try:
        click.echo(f"model     {_check_model(loaded)}")
    except SpecError as error:
        raise loaded.located(error) from error
    if loaded.spec.model.kind == "command":
        _warn_of_cores(loaded)
    if ranks is not None:
        layout = plan(ranks, loaded.spec.groups.size, loaded.spec.store.writers, loaded.spec.groups.max_concurrent)
        click.echo(f"groups    {words.count(len(layout.groups), 'group')} of {words.count(layout.group_size, 'rank')}")
        click.echo("\n".join(f"          {line}" for line in layout.describe().splitlines()))
        for warning in layout.warnings:
            click.echo(f"warning   {warning}")
    click.echo(f"output    {_check_output(place_of(order, loaded), output is not None)}")
    click.echo("valid")


def _warn_of_cores(loaded: LoadedSpec) -> None:
    """A program that is wider than its group shares cores with its neighbors."""
    model, size = loaded.spec.model, loaded.spec.groups.size
    threads = model.threads or 1
    if isinstance(model.ranks, int) and model.ranks * threads > size:
        cores = words.count(model.ranks * threads, "core")
        click.echo(f"warning   model.ranks: {cores} for each trial, but groups.size: {size} lends {size}")


def _searched(loaded: LoadedSpec) -> str:
    search = loaded.spec.search
    goal = ", ".join(f"{direction} {name}" for name, direction in search.objectives.items()) or "record only"
    return f"{search.algorithm} over {words.count(len(loaded.space.names), 'parameter')}, {goal}"


def _check_model(loaded: LoadedSpec) -> str:
    model = loaded.spec.model
    with tempfile.TemporaryDirectory(prefix="mpiens-validate-") as build:
        library = None
        if model.mechanisms is not None:
            library = _compile(loaded.folder / model.mechanisms, Path(build))
        for target, key in (
            (model.python, "model.python"),
            (model.setup, "model.setup"),
            (model.prepare, "model.prepare"),
        ):
            if target is not None:
                _import(absolute_target(target, loaded.folder), str(loaded.folder), library, key)
        if model.netpyne is not None:
            script = str((loaded.folder / model.netpyne).absolute())
            _check_script(script)
            if find_cfg(script) is None:
                click.echo("warning   no cfg.py beside the script: the parameters' names cannot be checked")
            else:
                _check_cfg(loaded, script)
    if model.command is not None:
        find_program(next(anchored(model.command, loaded.folder)))
    target = model.python or model.netpyne or (model.command[0] if model.command else model.prepare)
    checked = [f"{target} can be used"]
    if model.mechanisms is not None:
        checked.append(f"the mechanisms in {model.mechanisms} compile")
    return ", ".join(checked)


def _compile(folder: Path, build: Path) -> str:
    try:
        return str(compile_mechanisms(folder, build, is_kept=False))
    except ModelError as error:
        raise SpecError(str(error), key="model.mechanisms") from error


def _import(target: str, folder: str, library: str | None, key: str) -> None:
    try:
        check_import(target, folder, library, takes_trial=key != "model.setup")
    except SpecError as error:
        raise SpecError(error.problem, key=key) from error
    except MpiensError as error:
        # Found in a spec that is to be checked, the model's errors are the spec's.
        raise SpecError(str(error), key=key) from error


def _check_script(script: str) -> None:
    try:
        check_script(script)
    except MpiensError as error:
        raise SpecError(str(error), key="model.netpyne") from error


def _check_cfg(loaded: LoadedSpec, script: str) -> None:
    parameters = {name: f"space.{name}" for name in loaded.space.names}
    parameters |= {name: f"model.fixed.{name}" for name in loaded.spec.model.fixed}
    try:
        unknown = unknown_cfg_paths(script, list(parameters))
    except MpiensError as error:
        raise SpecError(str(error), key="model.netpyne") from error
    problems = [
        loaded.located(
            SpecError(
                "the script's cfg has no such parameter" + (f"; did you mean {nearest!r}?" if nearest else ""),
                key=parameters[name],
            )
        )
        for name, nearest in unknown
    ]
    if problems:
        raise SpecError("\n".join(map(str, problems)))


def _check_output(run_dir: Path, is_asked_for: bool) -> str:
    if holds_run(run_dir):
        text = f"{run_dir} already holds a run; `run` needs --resume, --overwrite, or --output for another place"
        if is_asked_for:
            raise UsageError(text)
        return text  # the spec is none the worse for it
    place = run_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        # Permissions do not tell it all: a file system may be read-only, full, or none that keeps files.
        Path(tempfile.mkdtemp(prefix=".probe-", dir=place)).rmdir()
    except OSError as error:
        raise UsageError(f"{run_dir}: cannot be made: nothing can be made in {place}: {error.strerror}") from error
    return f"{run_dir} can be made" if place != run_dir else f"{run_dir} is free"
