"""A program as a model: a solver in any language, serial or MPI.

The group's root starts it, through its keeper; the other ranks of the group lend their cores and sleep.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mpiens.arithmetic import Arithmetic
from mpiens.command import Command, anchored, as_argument, as_json, fill
from mpiens.errors import AttemptError, SpecError, TrialError
from mpiens.keeper.client import Keeper
from mpiens.messages import CommandSettings, ModelSettings
from mpiens.models import launching
from mpiens.models.base import GroupContext, Trial
from mpiens.models.loading import load_function, nearest_name
from mpiens.models.program_reports import VARIABLE, ProgramReports
from mpiens.models.python import call_setup
from mpiens.models.readings import describe_status, last_words, read_result


class CommandModel:
    """Runs the spec's command once per trial."""

    def __init__(self, settings: ModelSettings) -> None:
        if settings.command is None:
            raise AssertionError("a model of kind 'command' needs settings of a command")
        self._settings = settings
        self._command: CommandSettings = settings.command
        self._argv: list[str] = []
        self._ranks: Arithmetic | None = None
        self._launch = ""
        self._prepare: Callable[[Trial], Any] | None = None
        self._keeper: Keeper | None = None
        self._place = launching.Place((), frozenset())

    def setup(self, context: GroupContext) -> None:
        """Find the program and what starts it; call the spec's set-up function.

        Raises:
            SpecError: There is no such program or function.
            ModelError: A file of the spec raises on import.
            InstallationError: Nothing here can start MPI programs.
        """
        settings, command = self._settings, self._command
        self._place = launching.survey(context.comm)
        if settings.setup is not None:
            call_setup(settings.setup, settings.folder, context)
        if context.comm.Get_rank() != 0:
            return
        self._argv = list(anchored(command.argv, Path(settings.folder)))
        if self._argv:
            find_program(self._argv[0])
        if command.ranks is not None:
            self._ranks = Arithmetic(str(command.ranks))
        if command.ranks is not None or command.prepare is not None:
            self._launch = command.launch
            if command.ranks is not None:
                self._launch = launching.choose_launch(command.launch, self._place, os.environ)
        if command.prepare is not None:
            self._prepare = load_function(command.prepare, settings.folder)
        self._keeper = Keeper(cores=self._place.cores)

    def run(self, trial: Trial) -> Mapping[str, object] | None:
        """Run the program and read its result.

        Raises:
            TrialPruned: It has reported what the pruner gives up.
            TrialError: It cannot be started, has failed, or gave no result.
        """
        if trial.comm.Get_rank() != 0:
            return None
        if self._keeper is None:
            raise AssertionError("setup() comes before run()")
        request = self._request(self._command_of(trial), trial)
        for name in ("stdout", "stderr"):
            Path(request[name]).unlink(missing_ok=True)
        reports = ProgramReports(trial)
        request["env"][VARIABLE] = str(reports.path)
        answer = self._keeper.ask(request, is_unwanted=reports.look if trial.is_judged else None)
        reports.finish()
        self._check(answer, request)
        return read_result(self._command.result, trial.directory, answer["stdout"], self._command.objective)

    def clear(self) -> None:
        """Nothing is left: the keeper ends what a program leaves behind."""

    def _command_of(self, trial: Trial) -> Command:
        if self._prepare is not None:
            prepared = self._prepare(trial)
            if isinstance(prepared, Command):
                return prepared
            if prepared is not None or not self._argv:
                raise TrialError(
                    f"{self._command.prepare} returned {type(prepared).__name__}, expected a mpiens.Command"
                )
        return Command([])

    def _request(self, command: Command, trial: Trial) -> dict[str, Any]:
        ranks, threads = self._ranks_of(command, trial), command.threads or self._command.threads
        argv = [os.fspath(part) for part in command.argv]
        if argv:
            argv = list(anchored(argv[:1], Path(self._settings.folder))) + argv[1:]
        else:
            values = _Values(trial, ranks, threads, self._settings.folder)
            argv = [fill(template, values.text) for template in self._argv]
        environment = launching.launch_environment(os.environ, self._place)
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        environment |= {str(name): str(value) for name, value in (command.env or {}).items()}
        directory = trial.directory
        if ranks is not None:
            launch = launching.choose_launch(self._launch or "auto", self._place, os.environ)
            argv = [*launching.launch_argv(launch, ranks, threads, self._place), *argv]
        return {
            "argv": argv,
            "env": environment,
            "cwd": str(Path(self._settings.folder, command.cwd) if command.cwd is not None else directory),
            "stdin": _written_stdin(command.stdin, directory),
            "stdout": str(directory / "stdout"),
            "stderr": str(directory / "stderr"),
            "limit_s": self._settings.limit_s,
        }

    def _ranks_of(self, command: Command, trial: Trial) -> int | None:
        if command.ranks is not None:
            return launching.whole_ranks(command.ranks, "the prepared command")
        if self._ranks is None:
            return None
        try:
            return launching.whole_ranks(self._ranks.value(trial.params), f"model.ranks: {self._command.ranks}")
        except ValueError as error:
            raise TrialError(f"model.ranks: {error}") from None

    def _check(self, answer: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        """Raises TrialError unless the program has ended well."""
        program = Path(request["argv"][0]).name
        if "failure" in answer:
            raise TrialError(f"{program} cannot be started: {answer['failure']}")
        if answer["is_late"]:
            raise AttemptError(f"timed out after {request['limit_s']:g} s (limits.trial_timeout)")
        if status := describe_status(answer["status"]):
            words = last_words(Path(request["stderr"]))
            raise AttemptError(f"{program}: {status}" + (f": {words}" if words else ""))
        for name in ("stdout", "stderr"):
            if answer[name]["error"]:
                raise AttemptError(f"what {program} printed cannot be kept: {answer[name]['error']}")


class _Values:
    """What stands for the placeholders in one trial."""

    def __init__(self, trial: Trial, ranks: int | None, threads: int | None, folder: str) -> None:
        self._trial = trial
        self._words: dict[str, Callable[[], object]] = {
            "params_json": lambda: as_json(trial.params),
            "params_file": self._params_file,
            "trial": lambda: trial.number,
            "attempt": lambda: trial.attempt,
            "seed": lambda: trial.seed,
            "directory": lambda: str(trial.directory),
            "ranks": lambda: ranks or 1,
            "threads": lambda: threads or 1,
            "folder": lambda: folder,
        }

    def text(self, name: str) -> str:
        try:
            if name in self._trial.params:
                return as_argument(self._trial.params[name])
            if name in self._words:
                return as_argument(self._words[name]())
        except ValueError as error:
            raise TrialError(f"{{{name}}}: {error}") from None
        raise TrialError(f"{{{name}}} is no parameter of this trial{nearest_name(name, self._trial.params)}")

    def _params_file(self) -> str:
        path = self._trial.directory / "params.json"
        path.write_text(as_json(self._trial.params) + "\n", encoding="utf-8")
        return str(path)


def find_program(program: str) -> None:
    """Is there such a program?

    Raises:
        SpecError: There is none, or it cannot be executed.
    """
    if "{" in program or shutil.which(program) is not None:
        return
    path = Path(program)
    if path.is_dir():
        raise SpecError(f"expected a program, but {program} is a folder", key="model.command")
    if path.is_file() and "/" in program:
        raise SpecError(f"{program} cannot be executed; make it so with: chmod +x {program}", key="model.command")
    if "/" in program:
        neighbours = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        raise SpecError(f"no program {program}{nearest_name(path.name, neighbours)}", key="model.command")
    raise SpecError(
        f"no program {program!r} on PATH; one beside the spec is written ./{program}, and a shell's own words (pipes, "
        "&&, variables) need a script",
        key="model.command",
    )


def _written_stdin(content: str | bytes | None, directory: Path) -> str | None:
    if content is None:
        return None
    path = directory / "stdin"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)
