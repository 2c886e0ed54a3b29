"""One rank of a group: set up the model, run trials, agree with the other members, answer the driver.

The group's root takes assignments from the driver and announces them to its members; every rank runs the model; then
the group agrees on whether the trial has failed anywhere, before anybody goes on. What the root's model returned
becomes the trial's record.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mpiens import guard
from mpiens.comm.group import GroupLink, Part
from mpiens.errors import AttemptError, MpiensError, ProtocolError, TrialError, UsageError, WaitTimeout
from mpiens.messages import (
    Assign,
    Assignment,
    Failure,
    GroupStuck,
    Hurry,
    Message,
    Ready,
    Result,
    Results,
    Setup,
    SetupFailed,
    Verdict,
)
from mpiens.models.base import GroupContext, Model, Trial
from mpiens.models.loading import describe_exception
from mpiens.pruning import Pruning
from mpiens.record import TrialRecord, encode, objective_values, plain_results
from mpiens.reports import results_of_pruned
from mpiens.softstop import SoftStop
from mpiens.trial import TrialState, trial_seed
from mpiens.watchdog import TimeUp, Watchdog, timed_out

if TYPE_CHECKING:
    from mpi4py import MPI

HOLD_S = 0.002
"""Results of trials that were assigned together leave together, but none waits longer than this for the next trial."""

LEAST_ANSWERS = 128
"""Results that may leave in one message whatever the queue's length; a message costs as much as several trials."""

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
        sheltered = None if watchdog is None else watchdog.sheltered
        self.soft_stop = SoftStop(link.consult, setup.trial_timeout_s, setup.group_timeout_s, sheltered)
        self.pruning = Pruning(
            context.index, context.world_rank, link.consult, setup.prunes, setup.group_timeout_s, sheltered
        )
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
        trial = Trial(
            self.context, number, assignment.attempt, seed, params, self.soft_stop.ask, self.pruning.ask, reports
        )
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


class GroupRoot:
    """What a group's root does besides: takes assignments, answers with results.

    Args:
        member: The root's own part.
        say: Tells the driver.
    """

    def __init__(self, member: GroupMember, say: Callable[[Message], None]) -> None:
        self._member = member
        self._say = say
        self._setup = member.setup
        self._context = member.context
        self._queue: deque[Assignment] = deque()
        self._ranks = member.setup.layout.groups[member.context.index]

    def deliver(self, message: Message) -> None:
        """Take in a message of the driver."""
        if isinstance(message, Hurry):
            self._member.soft_stop.hurry()
            return
        if isinstance(message, Verdict):
            self._member.pruning.deliver(message)
            return
        if not isinstance(message, Assign):
            raise ProtocolError(f"group {self._context.index} cannot handle {type(message).__name__}")
        self._queue.extend(message.assignments)

    def work(self) -> bool:
        """Run what is assigned, for a moment or one trial. False when there was nothing to do."""
        if not self._queue:
            return False
        results: list[Result] = []
        end_s = time.perf_counter() + HOLD_S
        stuck = None
        # A long queue is answered by halves, so that the driver can refill it while the other half runs.
        most = max(LEAST_ANSWERS, len(self._queue) // 2)
        try:
            while (
                self._queue and stuck is None and len(results) < most and (not results or time.perf_counter() < end_s)
            ):
                result = self._run(self._queue.popleft())
                if isinstance(result, GroupStuck):
                    stuck = result
                else:
                    results.append(result)
        finally:  # where a member has died, what was done before counts
            if results:
                self._say(Results(self._context.index, tuple(results)))
        if not self._queue:
            self._member.rest()
        if stuck is not None:
            self._queue.clear()
            self._say(stuck)
        return True

    def leave(self) -> None:
        """Let the members leave."""
        self._member.link.begin(None)

    def _run(self, assignment: Assignment) -> Result | GroupStuck:
        member = self._member
        member.link.begin(assignment)
        started_s = time.time()
        start_s = time.perf_counter()
        seed = trial_seed(self._setup.seed, assignment.number)
        returned, failure = member.simulate(assignment, seed)
        if len(self._ranks) > 1:
            failures = member.agree(assignment, failure)
            if isinstance(failures, GroupStuck):
                return failures
            failure = self._blame(failures)
        elapsed_s = time.perf_counter() - start_s
        member.clear()
        values: dict[str, float] = {}
        record = b""
        state = TrialState.PRUNED if member.has_pruned else TrialState.COMPLETE
        if failure is None:
            try:
                values, record = self._record(assignment, seed, returned, started_s, elapsed_s)
            except TrialError as error:
                failure = Failure(str(error), retry=False)
            except Exception as error:  # noqa: BLE001 - what a model returns may misbehave in any way
                text = f"the results cannot be stored: {describe_exception(error, self._setup.model.folder)}"
                failure = Failure(text, retry=False)
        return Result(
            assignment.number,
            assignment.attempt,
            state if failure is None else TrialState.FAIL,
            tuple(values.values()),
            started_s,
            elapsed_s,
            "" if failure is None else failure.text,
            failure is not None and failure.retry,
            record,
            member.pruning.made,
        )

    def _blame(self, failures: list[Failure | None]) -> Failure | None:
        """One failure out of all members'; the first one is named."""
        failed = [(rank, found) for rank, found in zip(self._ranks, failures, strict=True) if found is not None]
        if not failed:
            return None
        rank, first = failed[0]
        # What may pass on one member may have made the others fail for good.
        retry = any(found.retry for _, found in failed)
        if len(failed) == len(self._ranks) and all(found.text == first.text for _, found in failed):
            return Failure(first.text, retry)
        others = f" (and {len(failed) - 1} more of the group's {len(self._ranks)} ranks)" if len(failed) > 1 else ""
        return Failure(f"rank {rank}: {first.text}{others}", retry)

    def _record(
        self,
        assignment: Assignment,
        seed: int,
        returned: Mapping[str, object] | None,
        started_s: float,
        elapsed_s: float,
    ) -> tuple[dict[str, float], bytes]:
        names = self._setup.objectives
        if returned is None:
            expected = f"a dict with {', '.join(map(repr, names))}" if names else "a dict of results by name"
            raise TrialError(f"the model returned None; expected {expected}")
        results = plain_results(returned)
        values: dict[str, float] = {}
        if self._member.has_pruned:
            # What it has by now of an objective is not the trial's value.
            results = {name: value for name, value in results.items() if name not in names}
        else:
            values = objective_values(names, results)
        record = TrialRecord(
            assignment.number,
            TrialState.PRUNED if self._member.has_pruned else TrialState.COMPLETE,
            assignment.attempt,
            self._context.index,
            seed,
            started_s,
            elapsed_s,
            "",
            assignment.params,
            values,
            results,
            assignment.history,
            self._member.pruning.made,
        )
        return values, encode(record)
