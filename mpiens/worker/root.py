"""A group's root: takes assignments from the driver, announces them to the members, answers with results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from mpiens.blame import describe_exception
from mpiens.errors import ProtocolError, TrialError
from mpiens.messages import (
    Assign,
    Assignment,
    Failure,
    GroupStuck,
    Hurry,
    Message,
    Result,
    Results,
    Verdict,
)
from mpiens.record import TrialRecord, encode, objective_values, plain_results
from mpiens.trial import TrialState, trial_seed
from mpiens.worker.member import GroupMember

HOLD_S = 0.002
"""Results of trials that were assigned together leave together, but none waits longer than this for the next trial."""

LEAST_ANSWERS = 128
"""Results that may leave in one message whatever the queue's length; a message costs as much as several trials."""


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
