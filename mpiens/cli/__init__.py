"""The command line: parses, calls, prints. Each verb has a module, imported when it is used."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module

import click

from mpiens.environment import rank_by_launcher
from mpiens.errors import EXIT_FAILED, EXIT_USAGE, MpiensError, UsageError

_VERBS = {
    "run": ("mpiens.cli.run", "run", "Run a spec: mpiexec -n N python -m mpiens run spec.yaml."),
    "resume": ("mpiens.cli.run", "resume", "Go on with a run that was killed or stopped."),
    "launch": ("mpiens.cli.supervise", "launch", "Run a spec with this environment's own mpiexec, supervised."),
    "supervise": ("mpiens.cli.supervise", "supervise", "Run a launcher's command; go on when the job is killed."),
    "validate": ("mpiens.cli.validate", "validate", "Check a spec before the queue; show the group plan."),
    "test": ("mpiens.cli.try_trial", "test", "Run one trial of a spec here, and show its results."),
    "status": ("mpiens.cli.status", "status", "Counts, rate, time left and best trial of a run."),
    "list": ("mpiens.cli.status", "list_runs", "Runs below a folder, and their states."),
    "export": ("mpiens.cli.export", "export", "Write a run's trials as CSV, Parquet, npz, NetCDF or an Optuna study."),
    "doctor": ("mpiens.cli.doctor", "doctor", "Which MPI, HDF5 and NEURON are used, and whether they fit together."),
    "new": ("mpiens.cli.new", "new", "Make a small working project to start from."),
    "schema": ("mpiens.cli.schema", "schema", "Print the JSON Schema of spec.yaml, for editors."),
}

PLANNED = (
    "watch",
    "clean",
    "merge",
    "pack",
    "report",
    "jobscript",
    "submit",
)
"""Verbs of the interface that this version does not have."""


class _Verbs(click.Group):
    """Looks verbs up by name, so that one verb does not pay for the imports of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in PLANNED:
            raise UsageError(f"{name}: this version of mpiens does not have this command yet")
        if name not in _VERBS:
            return super().get_command(ctx, name)
        module, attribute, _ = _VERBS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _VERBS.items()])


_LISTEN_S = 2.0


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mpiens")
def verbs() -> None:
    """Ensembles of simulations inside one MPI allocation."""


def run_command_line(argv: Sequence[str]) -> int:
    """Carry out one command; its exit status. Errors are printed, by rank 0 alone."""
    try:
        status = verbs.main(list(argv), prog_name="mpiens", standalone_mode=False)
    except click.exceptions.Abort:
        return _complain("interrupted", EXIT_FAILED)
    except click.UsageError as error:
        hint = f" (see: {error.ctx.command_path} --help)" if error.ctx is not None else ""
        return _complain(f"{error.format_message()}{hint}", EXIT_USAGE)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except MpiensError as error:
        return _complain(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_FAILED)
    except BrokenPipeError:
        # The reader has left (`mpiens list | head`); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FAILED
    return status if isinstance(status, int) else 0


def _complain(text: str, status: int) -> int:
    if not rank_by_launcher(os.environ):
        print(f"mpiens: {text}", file=sys.stderr, flush=True)
    elif "mpi4py.MPI" not in sys.modules:
        # A launcher kills the job at the first rank that fails: rank 0 must have said why by then.
        time.sleep(_LISTEN_S)
    return status
