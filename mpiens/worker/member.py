"""One rank of a group: set up the model, run trials, agree with the other members, answer the driver.

The group's root takes assignments from the driver and announces them to its members; every rank runs the model; then
the group agrees on whether the trial has failed anywhere, before anybody goes on. What the root's model returned
becomes the trial's record.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mpiens import guard
from mpiens.blame import describe_exception
from mpiens.comm.group import GroupLink, Part
from mpiens.errors import AttemptError, MpiensError, TrialError, UsageError, WaitTimeout
from mpiens.messages import (
    Assignment,
    Failure,
    GroupStuck,
    Ready,
    Setup,
    SetupFailed,
)
from mpiens.models.base import GroupContext, Model, Trial
from mpiens.pruning import Pruning
from mpiens.reports import results_of_pruned
from mpiens.softstop import SoftStop
from mpiens.trial import trial_seed
from mpiens.watchdog import TimeUp, Watchdog, timed_out

if TYPE_CHECKING:
    from mpi4py import MPI

_SAY_EVERY_S = 60.0


class GroupMember:
    """What every rank of a group does.

    Args:
        setup: How to run trials.
        context: Where.
        link: The other members.
        model: What to run.
        label: Called with the trial's number, or None between trials, to mark what the model prints.
        watchdog: Keeps the time limit of trials; None: there is none.

    Attributes:
        soft_stop: Answers `Trial.should_stop`.
        pruning: Answers `Trial.should_prune`.
        has_pruned: The model has given up the last trial here.
    """

    def __init__(
        self,
        setup: Setup,
        context: GroupContext,
        link: GroupLink,
        model: Model,
        label: Callable[[int | None], None],
        watchdog: Watchdog | None = None,
    ) -> None:
        self.setup = setup
        self.context = context
        self.link = link
        self._model = model
        self._label = label
        self._watchdog = watchdog
        sheltered = contextlib.nullcontext if watchdog is None else watchdog.sheltered
        self.soft_stop = SoftStop(link.consult, setup.trial_timeout_s, setup.group_timeout_s, sheltered)
        self.pruning = Pruning(context.index, context.world_rank, link.consult, setup.group_timeout_s, sheltered)
        self.has_pruned = False
        self._trial: Trial | None = None

    @property
    def comms(self) -> list[MPI.Intracomm]:
        """Communicators that the model may wait on."""
        return [self.context.comm] + ([] if self._trial is None else [self._trial.comm])

    def set_up(self) -> Ready | SetupFailed | None:
        """Prepare the model, and agree on it.

        Returns:
            On the root, what the driver is to know. On another member None, or SetupFailed when the others do not
            answer.
        """
        failure, is_usage = None, False
        index, rank = self.context.index, self.context.world_rank
        try:
            self._model.setup(self.context)
        except MpiensError as error:
            failure, is_usage = str(error), isinstance(error, UsageError)
            if error.__cause__ is not None:
                _log_traceback(error.__cause__)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            failure = describe_exception(error, self.setup.model.folder)
            _log_traceback(error)
        try:
            failed = None if failure is None else Failure(failure)
            part = Part("the set-up", None, self.setup.group_timeout_s, failed)
            failures = self.link.agree(part, self._say_waiting)
        except WaitTimeout as error:
            return SetupFailed(index, rank, f"{failure} ({error})" if failure else str(error), is_usage)
        if self.link.rank:
            return None
        for blamed, found in zip(self.setup.layout.groups[index], failures, strict=True):
            if found is not None:
                return SetupFailed(index, blamed, found.text, is_usage)
        return Ready(index)

    def follow(self, waiting: Callable[[], None]) -> GroupStuck | None:
        """As a member that is not the root: run what the root announces, until it says to leave.

        Args:
            waiting: Called while there is no work.

        Returns:
            The reason for which this member cannot go on; None when it was told to leave.
        """
        while (assignment := self.link.await_begin(waiting)) is not None:
            _, failure = self.simulate(assignment, trial_seed(self.setup.seed, assignment.number))
            stuck = self.agree(assignment, failure)
            if isinstance(stuck, GroupStuck):
                return stuck
            self.clear()
            self._label(None)
        return None

    def simulate(self, assignment: Assignment, seed: int) -> tuple[Mapping[str, object] | None, Failure | None]:
        """Run the model here; what it returned, or why it failed."""
        number = assignment.number
        params = self.setup.model.fixed | assignment.params
        reports = self.pruning.begin(assignment)
        # Of a command only the root knows, whose program has reported.
        ask = self.pruning.ask_alone if self.setup.model.kind == "command" else self.pruning.ask
        ask_prune = ask if self.setup.prunes else None
        trial = Trial(self.context, number, assignment.attempt, seed, params, self.soft_stop.ask, ask_prune, reports)
        self.soft_stop.begin(assignment)
        self.has_pruned = False
        self._label(number)
        guard.mark(number, assignment.attempt)
        self._trial = trial
        try:
            if self._watchdog is None:
                returned = self._model.run(trial)
            else:
                with self._watchdog.limited(assignment):
                    returned = self._model.run(trial)
        except TimeUp as error:
            _log_traceback(error)
            return None, Failure(timed_out(self.setup.trial_timeout_s or 0.0))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            results = results_of_pruned(error)
            if results is None:
                return None, failure_of(error, self.setup.model.folder)
            self.has_pruned = True
            trial.note_exit()
            return results, None
        return returned, None

    def agree(self, assignment: Assignment, failure: Failure | None) -> list[Failure | None] | GroupStuck:
        """Wait until every member has ended the trial; what `GroupLink.agree` returns, or why that cannot be."""
        number = assignment.number
        has_exited = self._trial is not None and self._trial.has_exited
        try:
            part = Part(f"trial {number}", number, self.setup.group_timeout_s, failure, has_exited)
            return self.link.agree(part, self._say_waiting)
        except WaitTimeout as error:
            cause = f"rank {self.context.world_rank}: {failure.text}; " if failure else ""
            stuck = f"{cause}the group cannot go on: {error}"
            return GroupStuck(self.context.index, self.context.world_rank, number, assignment.attempt, stuck)

    def clear(self) -> None:
        """Remove what the trial left behind."""
        self._model.clear()
        guard.mark(None)

    def rest(self) -> None:
        """What is printed from now on belongs to no trial."""
        self._label(None)

    def _say_waiting(self, waited_s: float) -> None:
        if waited_s > self._next_word_s:
            self._next_word_s += _SAY_EVERY_S
            print(f"waiting for the other members of group {self.context.index} for {waited_s:.0f} s")

    _next_word_s = _SAY_EVERY_S


def failure_of(error: BaseException, folder: str) -> Failure:
    """What an exception of a model means for its trial; the traceback of an unforeseen one is printed."""
    if isinstance(error, TrialError):
        return Failure(str(error), retry=isinstance(error, AttemptError))
    _log_traceback(error)
    return Failure(describe_exception(error, folder))


def _log_traceback(error: BaseException) -> None:
    # In one piece, so that tracebacks of several ranks do not mix line by line.
    sys.stderr.write("".join(traceback.format_exception(error)))
