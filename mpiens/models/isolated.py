"""A model of which every trial runs in a process of its own, forked from one that has loaded the model.

The rank never loads the model. Its keeper does, in a process without MPI (`mpiens.runtime.fork_server`), and forks for
each trial: a crash, an exit, a leak or what a simulator leaves behind ends with that child.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from mpiens.errors import (
    AttemptError,
    InstallationError,
    ModelError,
    MpiensError,
    SpecError,
    TrialError,
    TrialPruned,
)
from mpiens.keeper.client import Keeper
from mpiens.keeper.frames import parse_frame
from mpiens.messages import ModelSettings
from mpiens.models.base import GroupContext, Trial
from mpiens.models.readings import describe_status
from mpiens.record import decode
from mpiens.reports import Report
from mpiens.trial import TrialState

FORK_SERVER = "mpiens.runtime.fork_server"

_KINDS: dict[str, type[MpiensError]] = {
    kind.__name__: kind for kind in (SpecError, ModelError, InstallationError, MpiensError)
}


class IsolatedModel:
    """Runs another kind of model, with a process for each trial."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = dataclasses.replace(settings, is_isolated=False)
        self._keeper = Keeper(("-m", FORK_SERVER))
        self._context: GroupContext | None = None

    def setup(self, context: GroupContext) -> None:
        """Load the model, in the process that forks.

        Raises:
            SpecError: What the spec names is not there.
            ModelError: The model cannot be loaded.
            InstallationError: MPI, the simulator or the group's size do not fit.
        """
        if context.comm.Get_size() > 1:
            raise SpecError("process works in groups of one rank", key="model.isolation")
        self._context = context
        self._load()

    def run(self, trial: Trial) -> Mapping[str, object] | None:
        """Run the trial in a child.

        Raises:
            TrialPruned: The model has given it up there.
            TrialError: It failed there, or the child did not live to tell.
        """
        if not self._keeper.is_running:
            self._load()  # it was lost with the trial before
        answer = self._keeper.ask(
            {
                "number": trial.number,
                "attempt": trial.attempt,
                "seed": trial.seed,
                "params": trial.params,
                "limit_s": self._settings.limit_s,
                "is_judged": trial.is_judged,
            },
            functools.partial(_judge, trial),
        )
        if "failure" in answer:
            raise AttemptError(f"no process could be made for the trial: {answer['failure']}")
        if answer["is_late"]:
            raise AttemptError(f"timed out after {self._settings.limit_s or 0:g} s (limits.trial_timeout)")
        try:
            told = parse_frame(answer["told"])
        except EOFError:
            how = describe_status(answer["status"]) or "ended with exit status 0 before the model returned"
            raise AttemptError(f"the trial's process: {how}") from None
        _report(trial, told["reports"])
        if told["error"] is not None:
            raise (AttemptError if told["retry"] else TrialError)(told["error"])
        if told["record"] is None:
            return None
        record = decode(told["record"])
        if record.state is TrialState.PRUNED:
            raise TrialPruned(record.results)
        return record.results

    def clear(self) -> None:
        """Nothing is left."""

    def _load(self) -> None:
        assert self._context is not None
        request: dict[str, Any] = {
            "settings": dataclasses.asdict(self._settings),
            "group": self._context.index,
            "world_rank": self._context.world_rank,
            "run_dir": str(self._context.run_dir),
        }
        try:
            answer = self._keeper.ask(request)
        except AttemptError as error:
            raise ModelError(f"{self._settings.target}: loading it has ended its process: {error}") from None
        if answer["error"] is not None:
            (kind, *_) = [_KINDS[name] for name in answer["kinds"] if name in _KINDS]
            raise kind(answer["error"])


def _report(trial: Trial, reports: Sequence[Report]) -> None:
    """Note what the trial has reported in its process by now."""
    known = {step for step, _ in trial.reports}
    for step, value in reports:
        if step not in known:
            trial.report(value, step)


def _judge(trial: Trial, reports: Sequence[Report]) -> dict[str, Any]:
    """The answer to ``trial.should_prune()`` there."""
    _report(trial, reports)
    try:
        return {"ends": trial.should_prune(), "error": ""}
    except MpiensError as error:  # the trial fails of it there, as it would here
        return {"ends": False, "error": str(error)}
