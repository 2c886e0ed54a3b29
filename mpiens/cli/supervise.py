"""``mpiens supervise`` and ``mpiens launch``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from mpiens.cli.run import resume, run
from mpiens.cluster.supervise import MAX_RESTARTS, Charge, Supervisor
from mpiens.cluster.wrapped import Wrapped, find_verb
from mpiens.environment import rank_by_launcher
from mpiens.errors import UsageError
from mpiens.launcher import available_cores, launch_argv, launch_environment
from mpiens.runtime.order import Order
from mpiens.runtime.prepare import find_run

_MAX_RESTARTS = click.option(
    "--max-restarts",
    type=click.IntRange(min=0),
    default=MAX_RESTARTS,
    show_default=True,
    help="Restart at most so often; without progress it is given up after three starts.",
)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_MAX_RESTARTS
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def supervise(max_restarts: int, command: tuple[str, ...]) -> int:
    """Run COMMAND, mpiexec ... python -m mpiens run SPEC, and go on with the run when the job is killed.

    Write -- before COMMAND. SIGUSR1, SIGTERM and SIGINT stop the run in order.
    """
    wrapped = find_verb(command)
    if wrapped is None:
        raise UsageError(
            "supervise: expected a command with `mpiens run` or `mpiens resume` in it, such as "
            f"mpiens supervise -- mpiexec -n 4 python -m mpiens run spec.yaml; found: {shlex.join(command)}"
        )
    return _supervise(wrapped, max_restarts, os.environ)


def _supervise(wrapped: Wrapped, max_restarts: int, environment: Mapping[str, str]) -> int:
    if rank_by_launcher(os.environ) is not None:
        raise UsageError("supervise stands around mpiexec, not behind it: mpiens supervise -- mpiexec ...")
    loaded, run_dir, _ = find_run(_order(wrapped.verb, wrapped.arguments))
    spec = loaded.spec
    charge = Charge(wrapped, run_dir, len(spec.search.objectives), spec.limits.drain, max_restarts)
    return Supervisor(charge, environment, _say).run()


def _say(text: str) -> None:
    print(f"mpiens supervise: {text}", file=sys.stderr, flush=True)


def _order(verb: str, arguments: Sequence[str]) -> Order:
    """What the wrapped command asks for, by the definition of its verb.

    Raises:
        click.UsageError: It is not well formed.
    """
    if verb == "resume":
        given = resume.make_context("mpiens resume", list(arguments)).params
        return Order(None, given["run"], False, given["overrides"], True, given["force"])
    given = run.make_context("mpiens run", list(arguments)).params
    return Order(
        given["spec"], given["output"], given["overwrite"], given["overrides"], given["resume"], given["force"]
    )


@click.pass_context
def _launch(context: click.Context, /, ranks: int | None, is_shown: bool, max_restarts: int, **given: Any) -> int:
    arguments = _arguments(context, given)
    order = _order("run", arguments)
    if ranks is None:
        spec = find_run(order)[0].spec
        ranks = max(available_cores(), 1 + spec.store.writers + spec.groups.size)
    wrapped = Wrapped((*launch_argv(ranks), sys.executable, "-m", "mpiens"), "run", tuple(arguments))
    if is_shown:
        click.echo(shlex.join(wrapped.first))
        return 0
    return _supervise(wrapped, max_restarts, launch_environment(os.environ))


def _arguments(context: click.Context, given: Mapping[str, Any]) -> list[str]:
    """The words for `run` that give these values."""
    words: list[str] = []
    for option in run.params:
        assert option.name is not None
        value = given[option.name]
        if isinstance(option, click.Argument):
            words.append(str(value))
        elif context.get_parameter_source(option.name) is ParameterSource.DEFAULT:
            continue
        elif isinstance(option, click.Option) and option.is_flag:
            words += [option.opts[0]] * bool(value)
        else:
            for single in value if option.multiple else (value,):
                words += [option.opts[0], str(single)]
    return words


launch = click.Command(
    "launch",
    callback=_launch,
    params=[
        click.Option(
            ["-n", "ranks"],
            type=click.IntRange(min=1),
            metavar="N",
            help="Ranks; as many as there are cores, if not given. One of them drives.",
        ),
        *run.params,
        click.Option(
            ["--max-restarts"],
            type=click.IntRange(min=0),
            default=MAX_RESTARTS,
            show_default=True,
            help="Restart at most so often; without progress it is given up after three starts.",
        ),
        click.Option(["--print", "is_shown"], is_flag=True, help="Show the command line, and run nothing."),
    ],
    help="Run SPEC with this environment's own mpiexec and the flags that its MPI needs, under supervision.",
)
