"""Words between the members of one group: the root announces, members report, the root closes.

============  ================  =========================================================
word          from -> to        meaning
============  ================  =========================================================
Begin         root -> members   run this trial; None: leave
Ended         member -> root    my part of it has ended, so
Agreed        root -> members   everybody's part has ended
Asked         member -> root    a question of the trial, see `GroupLink.consult`
Answered      root -> members   its answer; None: the root has ended its part
============  ================  =========================================================

MPI's own collectives spin while they wait, so that an idle group would burn its cores; these waits sleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mpiens.comm.backoff import Backoff
from mpiens.comm.outbox import Outbox
from mpiens.errors import TrialError, WaitTimeout
from mpiens.messages import Assignment, Failure, Question

if TYPE_CHECKING:
    from mpi4py import MPI

_BEGIN, _ENDED, _AGREED, _ASKED, _ANSWERED = 11, 12, 13, 14, 15
_LEFT_OUT = "{} has ended its part of the trial without {}; every rank of a group must call it, equally often"


class Part(NamedTuple):
    """How one rank's part of something has ended that all do together.

    Attributes:
        phase: What that is, for messages.
        number: The trial, for messages.
        timeout_s: Bound of the wait for the others, from when a rank knows of a failure or an early exit; without one
            it waits on.
        failure: What went wrong here, or None.
        has_exited: The model has ended itself here, maybe earlier than elsewhere.
    """

    phase: str
    number: int | None
    timeout_s: float
    failure: Failure | None
    has_exited: bool = False

    @property
    def is_early(self) -> bool:
        """True when the others may sit in a call that waits for this rank."""
        return self.failure is not None or self.has_exited


class GroupLink:
    """One member's end.

    Args:
        comm: A communicator over the group that nobody else uses; None for a group of one.
        world_rank: This rank in the whole job, for messages.
    """

    def __init__(self, comm: MPI.Intracomm | None, world_rank: int) -> None:
        self._comm = comm
        self._outbox = Outbox(comm) if comm is not None else None
        self._world_rank = world_rank
        self.rank: int = comm.rank if comm is not None else 0
        self.size: int = comm.size if comm is not None else 1

    def begin(self, assignment: Assignment | None) -> None:
        """As the root: let the members run this trial, or leave."""
        word = None if assignment is None else tuple(assignment)
        for member in range(1, self.size):
            self._send(member, _BEGIN, word)

    def await_begin(self, waiting: Callable[[], None]) -> Assignment | None:
        """As a member: the next trial, or None to leave. Waits as long as there is no work.

        Args:
            waiting: Called while there is none; what it raises ends the wait.
        """
        assert self._comm is not None
        backoff = Backoff()
        while not self._comm.iprobe(0, _BEGIN):
            waiting()
            backoff.pause()
        word = self._comm.recv(source=0, tag=_BEGIN)
        return None if word is None else Assignment(*word)

    def agree(self, part: Part, waiting: Callable[[float], None]) -> list[Failure | None]:
        """Wait until every member has ended its part.

        Args:
            part: This rank's own, which has ended.
            waiting: Called now and then with the seconds waited.

        Returns:
            On the root: everybody's failures, by rank in the group. Elsewhere: this member's own.

        Raises:
            WaitTimeout: A member has not ended its part within the bound.
        """
        if self._comm is None or self.size == 1:
            return [part.failure]
        if self.rank:
            self._send(0, _ENDED, (None if part.failure is None else tuple(part.failure), part.has_exited))
            bound = part.timeout_s if part.is_early else None
            phase = f"waiting for the other members of the group to end {part.phase}"
            self._receive(0, _AGREED, bound, phase, part.number)
            return [part.failure]
        return self._collect(part, waiting)

    def consult(self, question: Question, decide: Callable[[], bool], timeout_s: float, decide_s: float = 0.0) -> bool:
        """Have the root decide something. To be called on every rank of the group alike.

        Args:
            question: The same everywhere.
            decide: Called on the root, when all have asked.
            timeout_s: Bound of the wait for the others.
            decide_s: How long the root may take to decide after that.

        Returns:
            The root's answer, on every rank.

        Raises:
            TrialError: A rank has ended the trial without asking.
            WaitTimeout: A rank has not asked within the bound.
        """
        if self.size == 1:
            return decide()
        if self.rank:
            self._send(0, _ASKED, tuple(question))
            return self._await_word(0, _ANSWERED, question, timeout_s + decide_s)
        end_s = time.monotonic() + timeout_s
        for member in range(1, self.size):
            self._await_word(member, _ASKED, question, max(0.0, end_s - time.monotonic()))
        answer = decide()
        for member in range(1, self.size):
            self._send(member, _ANSWERED, (*question, answer))
        return answer

    def _await_word(self, source: int, tag: int, question: Question, timeout_s: float) -> bool:
        """The next word about this question; those that are left of earlier trials are thrown away."""
        assert self._comm is not None
        end_s, backoff = time.monotonic() + timeout_s, Backoff()
        while True:
            if self._comm.iprobe(source, tag):
                *about, answer = (*self._comm.recv(source=source, tag=tag), True)[: len(question) + 1]
                if tuple(about) == tuple(question):
                    if answer is None:
                        raise TrialError(_LEFT_OUT.format("the group's root", question.topic))
                    return bool(answer)
            elif self.rank == 0 and self._comm.iprobe(source, _ENDED):
                raise TrialError(_LEFT_OUT.format(f"member {source} of the group", question.topic))
            elif time.monotonic() > end_s:
                phase = f"waiting for member {source} of the group to call {question.topic}"
                hint = "every rank of the group must call it, equally often"
                raise WaitTimeout(self._world_rank, phase, timeout_s, question.number, hint)
            else:
                backoff.pause()

    def _collect(self, part: Part, waiting: Callable[[float], None]) -> list[Failure | None]:
        assert self._comm is not None
        failures: dict[int, Failure | None] = {0: part.failure}
        start_s = time.monotonic()
        failed_s = start_s if part.is_early else None
        backoff = Backoff()
        while len(failures) < self.size:
            arrived = False
            for member in range(1, self.size):
                if member not in failures and self._comm.iprobe(member, _ENDED):
                    word, exited = self._comm.recv(source=member, tag=_ENDED)
                    failures[member] = None if word is None else Failure(*word)
                    arrived = True
                    if (word is not None or exited) and failed_s is None:
                        failed_s = time.monotonic()
            if arrived:
                backoff.reset()
                continue
            now_s = time.monotonic()
            if failed_s is not None and now_s - failed_s > part.timeout_s:
                missing = sorted(set(range(self.size)) - set(failures))
                causes = [found.text for found in failures.values() if found is not None]
                cause = (
                    f"had failed: {causes[0]}" if causes else "had ended the trial early, by sys.exit() or TrialPruned"
                )
                raise WaitTimeout(
                    self._world_rank,
                    f"waiting for member {', '.join(map(str, missing))} of the group to end {part.phase}",
                    part.timeout_s,
                    part.number,
                    f"another member {cause}",
                )
            self._refuse_questions()
            waiting(now_s - start_s)
            backoff.pause()
        for member in range(1, self.size):
            self._send(member, _AGREED, None)
        return [failures[rank] for rank in range(self.size)]

    def _refuse_questions(self) -> None:
        """As the root that has ended its part: nobody must wait for an answer."""
        assert self._comm is not None
        for member in range(1, self.size):
            while self._comm.iprobe(member, _ASKED):
                self._send(member, _ANSWERED, (*self._comm.recv(source=member, tag=_ASKED), None))

    def flush(self, timeout_s: float) -> None:
        """Wait until every word said has left this rank.

        Raises:
            WaitTimeout: Some have not, within the bound.
        """
        if self._outbox is not None:
            self._outbox.flush(timeout_s)

    def _send(self, dest: int, tag: int, content: Any) -> None:
        assert self._outbox is not None
        self._outbox.progress()
        self._outbox.send(dest, tag, content)

    def _receive(self, source: int, tag: int, timeout_s: float | None, phase: str, number: int | None) -> Any:
        assert self._comm is not None
        backoff = Backoff()
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._comm.iprobe(source, tag):
            if timeout_s is not None and end_s is not None and time.monotonic() > end_s:
                raise WaitTimeout(self._world_rank, phase, timeout_s, number)
            backoff.pause()
        return self._comm.recv(source=source, tag=tag)
