"""Ranks that do nothing but write, as rank 0 sees them.

A group sends its results to its writer, the writer puts them into its own journal and tells rank 0, which never sees a
record. Messages of one rank arrive in order, those of two ranks need not: so a group that is lost is given up only when
its writer has said that nothing more will come of it (`Fence`), and no result is ever stored twice or told too late.

Rank 0 stays a writer itself, the first one: of trials that have failed for good, of results.h5, and of what a writer
leaves that has died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from mpiens.comm.backoff import Backoff
from mpiens.comm.base import Transport
from mpiens.driver.events import Event, Failed, Stored
from mpiens.errors import WaitTimeout
from mpiens.layout import Layout
from mpiens.messages import (
    Fence,
    Finish,
    Finished,
    Message,
    RankLost,
    Result,
    Results,
    Seal,
    Sealed,
    WriterFailed,
    Written,
)
from mpiens.runtime.archive import OwnArchive, failure_of
from mpiens.store.base import RunState, Store
from mpiens.store.outcomes import Outcomes
from mpiens.trial import TrialState

SILENCE_S = 600.0
"""How long a writer may say nothing; it speaks every few seconds, but a disk may hold it up."""

AT_ONCE = 4
"""Writers that make segments at the same time, so that there are never many more than a few."""

_LONGEST_GAP_S = 5.0


class SharedStore(Store, Protocol):
    """A store that other ranks write into too."""

    def adopting(self, sealed: Iterable[tuple[Collection[str], Collection[str]]]) -> Iterator[None]:
        """Show segments that others have made, then delete the journals that they were made of, in steps."""

    def lose(self, writer: int) -> None:
        """Another writer has died; what it has left is this one's."""

    def outcomes(self) -> Outcomes:
        """How every trial with a record has ended, of those that this writer sees."""


class WriterRanks(OwnArchive):
    """Other ranks write what groups find; what is the driver's own is written here.

    Args:
        transport: The way to them.
        layout: Which ranks they are.
        store: Of rank 0.
    """

    def __init__(self, transport: Transport, layout: Layout, store: SharedStore) -> None:
        super().__init__(store)
        self._transport = transport
        self._layout = layout
        self._shared = store
        self._living = list(layout.writers)
        # For how long each has said nothing while this rank could hear it.
        self._silent_s = dict.fromkeys(layout.writers, 0.0)
        self._looked_s = time.monotonic()
        # The round of segments: who has yet to answer, and what has been answered.
        self._asked: set[int] = set()
        self._sealed: list[Sealed] = []
        self._turn = 0

    def take(self, message: Results) -> list[Event]:
        """What a writer hands on has failed, and has no record."""
        return [Failed(message.group, message.results)]

    def told(self, message: Written) -> list[Event]:
        """Its records are safe."""
        return [Stored(message.group, message.results)]

    def close(self, group: int) -> bool:
        """Have its writer take no more of it."""
        rank = self._layout.writer_of(group)
        if rank not in self._living:
            return True
        self._transport.send(rank, Fence(group))
        return False

    def recover(self, rank: int, unfinished: Mapping[int, tuple[int, int]]) -> list[Event]:
        """Look into what a writer has left."""
        self._lose(rank)
        wanted = {
            number: (attempt, group)
            for number, (attempt, group) in unfinished.items()
            if group >= 0 and self._layout.writer_of(group) == rank
        }
        outcomes = self._shared.outcomes()
        events: list[Event] = []
        for row, number in enumerate(outcomes.numbers.tolist()):
            if number in wanted:
                attempt, group = wanted[number]
                state = TrialState(int(outcomes.states[row]))
                values = tuple(outcomes.values[row].tolist()) if state is TrialState.COMPLETE else ()
                about = (0.0, 0.0, outcomes.errors.get(number, ""), False, b"", outcomes.reported(number))
                events.append(Stored(group, (Result(number, attempt, state, values, *about),)))
        return events

    def heard(self, rank: int) -> None:
        """It is alive."""
        if rank in self._silent_s:
            self._silent_s[rank] = 0.0

    def tick(self, now_s: float) -> None:
        """Sync, now and then; and are the others still there?"""
        super().tick(now_s)
        self._look(self._living, now_s, "waiting for results to be written")

    def sealing(self) -> Iterator[None]:
        """Of the own store; and ask the next writers for it, unless the last ones have not done it yet."""
        if not self._asked:
            count = min(AT_ONCE, len(self._living))
            self._asked = {self._living[(self._turn + index) % len(self._living)] for index in range(count)}
            self._turn += count
            for rank in sorted(self._asked):
                self._transport.send(rank, Seal())
        return super().sealing()

    def sealed(self, message: Sealed) -> None:
        """One has done it."""
        self._asked.discard(message.rank)
        if message.rank in self._living:
            self._sealed.append(message)

    def chores(self) -> Iterator[None] | None:
        """Show what all have made that were asked."""
        if self._asked or not self._sealed:
            return None
        sealed, self._sealed = self._sealed, []
        return self._shared.adopting([(message.segments, message.journals) for message in sealed])

    def finish(self, state: RunState, between: Callable[[], None], trials: int) -> Sequence[str]:
        """Let the others finish, then take over what they leave.

        Raises:
            StoreError: One cannot write, or records are missing.
            WaitTimeout: One says nothing any more.
        """
        notes: list[str] = []
        waiting, backoff = set(self._living), Backoff()
        for rank in self._living:
            self._transport.send(rank, Finish(state))
        while waiting:
            between()
            envelope = self._transport.poll()
            self._look(waiting, time.monotonic(), "finishing its results")
            if envelope is None:
                backoff.pause()
                continue
            backoff.reset()
            self.heard(envelope.source)
            notes += self._answered(envelope.message, waiting)
        return [*notes, *super().finish(state, between, trials)]

    def _answered(self, message: Message, waiting: set[int]) -> Sequence[str]:
        if isinstance(message, Finished):
            waiting.discard(message.rank)
            return message.notes
        if isinstance(message, WriterFailed):
            raise failure_of(message)
        self.lost_ranks += isinstance(message, RankLost)
        if isinstance(message, RankLost) and message.rank in self._living:
            self._lose(message.rank)
            waiting.discard(message.rank)
            return [f"rank {message.rank}, a writer, was killed at the end; rank 0 has done what it had left"]
        return ()  # whatever a group says now comes too late

    def _lose(self, rank: int) -> None:
        self._living.remove(rank)
        self._asked.discard(rank)
        self._shared.lose(rank)

    def _look(self, ranks: Collection[int], now_s: float, phase: str) -> None:
        """Has one been silent for too long?"""
        # A job that was suspended, or a sampler that took its time, is no silence of theirs.
        passed_s = max(0.0, min(now_s - self._looked_s, _LONGEST_GAP_S))
        self._looked_s = now_s
        for rank in ranks:
            self._silent_s[rank] += passed_s
            if self._silent_s[rank] > SILENCE_S:
                raise WaitTimeout(rank, phase, SILENCE_S, hint="this rank writes results; is its disk stuck?")
