"""What a model is to a worker, and what a trial is to a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, SupportsFloat, SupportsIndex

from mpiens.record import Params
from mpiens.reports import Report, Reports

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass(frozen=True, slots=True)
class GroupContext:
    """Where a model runs.

    Attributes:
        comm: The group's communicator; the model's own, mpiens sends nothing on it.
        index: The group's index.
        world_rank: This rank in the whole job.
        run_dir: The run directory.
    """

    comm: MPI.Intracomm
    index: int
    world_rank: int
    run_dir: Path


class Trial:
    """One trial, as a model sees it. The same on every rank of the group.

    Attributes:
        params (dict): Parameters by name, with the constants of ``model.fixed``. The model's own copy.
        number (int): Counted from 0.
        attempt (int): 1 at first, more when an earlier attempt was lost.
        seed (int): 0 to 2**32 - 1; depends on the run's seed and on `number` alone.
        comm (mpi4py.MPI.Intracomm): The group's communicator.
    """

    def __init__(
        self,
        context: GroupContext,
        number: int,
        attempt: int,
        seed: int,
        params: Params,
        ask_stop: Callable[[], bool] | None = None,
        ask_prune: Callable[[], bool] | None = None,
        reports: Reports | None = None,
    ) -> None:
        self.params = params
        self.number = number
        self.attempt = attempt
        self.seed = seed
        self.comm = context.comm
        self._ask_stop = ask_stop
        self._ask_prune = ask_prune
        self._reports = Reports() if reports is None else reports
        self._has_exited = False
        self._run_dir = context.run_dir

    def note_exit(self) -> None:
        """For model adapters: the model has ended itself here with success, maybe earlier than on other ranks."""
        self._has_exited = True

    @property
    def has_exited(self) -> bool:
        """True after `note_exit`."""
        return self._has_exited

    @property
    def is_judged(self) -> bool:
        """True when the run has a pruner that can be asked; for model adapters."""
        return self._ask_prune is not None

    @property
    def directory(self) -> Path:
        """A folder of this trial's own, made on first use."""
        directory = self._run_dir / "trials" / str(self.number)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    @property
    def reports(self) -> tuple[Report, ...]:
        """Steps and values that were reported here so far, in the order of the steps."""
        return tuple(self._reports.made)

    def report(self, value: SupportsFloat, step: SupportsIndex) -> None:
        """Note how good the trial is by now. It is kept with the trial's results, and a pruner goes by it.

        That costs nothing but memory: it is sent with the next `should_prune`, or with the trial's results. What the
        group's root reports counts; a call on another rank of the group is allowed and changes nothing.

        Args:
            value: In the terms of the objective, but of what was simulated so far. NaN is allowed.
            step: How far the trial is, a whole number from 0 on. Steps grow from call to call; a step that was reported
                before keeps its value. Pruners compare trials at equal steps.

        Raises:
            TrialError: The value or the step is none.
        """
        self._reports.add(value, step)

    def should_prune(self) -> bool:
        """True when the trial should be given up, because what it has reported is worse than what others had by then.

        Then raise `mpiens.TrialPruned`, on every rank of the group: the trial is PRUNED and has no objective. Results
        that are given with it, ``TrialPruned({"rate": 3.0})``, are kept. A model that returns as usual is COMPLETE,
        even after this was True. Without ``search.pruner`` in the spec it is always False.

        Every rank of the group must call it, equally often, and all get the same answer, which the driver gives. A call
        waits for the other ranks, at most ``limits.group_timeout``, then for the driver, at most ten minutes.

        Raises:
            TrialError: A rank of the group has ended the trial without calling it.
            WaitTimeout: A rank of the group has not called it in time, or the driver has not answered.
        """
        return self._ask_prune is not None and self._ask_prune()

    def should_stop(self) -> bool:
        """True when the model should return what it has: it will be ended soon.

        That is so when nine tenths of ``limits.trial_timeout`` have passed, when the run is stopping and nine tenths
        of the time that running trials still have (``limits.drain``) have passed, or when the run stops at once. What
        the model returns then counts like any other result; to have the trial fail, raise an exception instead.

        Every rank of the group must call it, equally often, and all get the same answer. In a group of several ranks a
        call waits for the others, at most ``limits.group_timeout``, and costs two messages per member.

        Raises:
            TrialError: A rank of the group has ended the trial without calling it.
            WaitTimeout: A rank of the group has not called it in time.
        """
        return self._ask_stop is not None and self._ask_stop()


class Model(Protocol):
    """Runs trials on one rank of a group. Every method is called on all ranks of the group alike."""

    def setup(self, context: GroupContext) -> None:
        """Prepare this rank, once, before its first trial.

        Raises:
            SpecError: The spec names something that is not there.
            ModelError: The model cannot be loaded; the message names file, line and cause.
            InstallationError: MPI and the simulator do not fit together.
        """

    def run(self, trial: Trial) -> Mapping[str, object] | None:
        """Simulate. Only what the group's root rank returns counts.

        Raises:
            Exception: Whatever the model raises; it fails the trial.
        """

    def clear(self) -> None:
        """Remove what the trial left behind, after the group has agreed that it has ended, well or badly."""
