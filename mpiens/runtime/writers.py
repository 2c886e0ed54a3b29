"""Ranks that do nothing but write, as rank 0 sees them.

A group sends its results to its writer, the writer puts them into its own journal and tells rank 0, which never sees a
record. Messages of one rank arrive in order, those of two ranks need not: so a group that is lost is given up only when
its writer has said that nothing more will come of it (`Fence`), and no result is ever stored twice or told too late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mpiens.comm.backoff import Backoff
from mpiens.comm.base import Transport
from mpiens.driver.events import Event, Failed, Stored
from mpiens.errors import StoreError, WaitTimeout
from mpiens.layout import Layout
from mpiens.messages import (
    Fence,
    Finish,
    Finished,
    Keep,
    Message,
    RankLost,
    Result,
    Results,
    Seal,
    WriterFailed,
    WriterSetup,
    Written,
)
from mpiens.store.base import RunState, Store
from mpiens.store.intake import Intake

SILENCE_S = 600.0
"""How long a writer may say nothing; it speaks every few seconds, but a disk may hold it up."""


class WriterRanks:
    """An archive of other ranks.

    Args:
        transport: The way to them.
        layout: Which ranks they are.
        setups: What each must know.
        open_own: Makes a store of this rank's own, for the case that nobody else is left to write.
    """

    def __init__(
        self, transport: Transport, layout: Layout, setups: Sequence[WriterSetup], open_own: Callable[[], Store]
    ) -> None:
        self._transport = transport
        self._layout = layout
        self._folder = Path(setups[0].run_dir) / "journal"
        self._open_own = open_own
        self._own: Store | None = None
        self._living = list(layout.writers)
        self._heard_s = dict.fromkeys(layout.writers, time.monotonic())
        self._keeping: dict[int, Keep] = {}
        for rank, setup in zip(layout.writers, setups, strict=True):
            transport.send(rank, setup)

    def take(self, message: Results) -> list[Event]:
        """What a writer hands on has failed, and has no record."""
        return [Failed(message.group, message.results)]

    def told(self, message: Written) -> list[Event]:
        """Its records are safe."""
        if self._keeping:
            for result in message.results:
                self._keeping.pop(result.number, None)
        return [Stored(message.group, message.results)]

    def keep(self, group: int, result: Result) -> Stored | None:
        """Have the record written."""
        if not self._living:
            self._own_store().append([result.record])
            return Stored(group, (result,))
        message = self._keeping[result.number] = Keep(group, result)
        rank = self._layout.writer_of(max(group, 0))
        self._transport.send(rank if rank in self._living else self._living[0], message)
        return None

    def close(self, group: int) -> bool:
        """Have its writer take no more of it."""
        rank = self._layout.writer_of(group)
        if rank not in self._living:
            return True
        self._transport.send(rank, Fence(group))
        return False

    def recover(self, rank: int, unfinished: Mapping[int, tuple[int, int]]) -> list[Event]:
        """Read the journals of a writer that has died."""
        self._living.remove(rank)
        events: list[Event] = []
        writers = self._layout.writers
        for record, _size in Intake(self._folder, writers.index(rank), len(writers)).records():
            if unfinished.get(record.number) == (record.attempt, record.group):
                about = (record.started_s, record.elapsed_s, record.error, False, b"", record.reports)
                result = Result(record.number, record.attempt, record.state, tuple(record.values.values()), *about)
                self._keeping.pop(record.number, None)
                events.append(Stored(record.group, (result,)))
        for message in list(self._keeping.values()):
            if self._layout.writer_of(max(message.group, 0)) == rank:
                stored = self.keep(message.group, message.result)
                events += [stored] if stored else []
        return events

    def heard(self, rank: int) -> None:
        """It is alive."""
        if rank in self._heard_s:
            self._heard_s[rank] = time.monotonic()

    def tick(self, now_s: float) -> None:
        """Writers sync by themselves; are they still there?"""
        for rank in self._living:
            self._check(rank, now_s, "waiting for results to be written")

    def sealing(self) -> Iterator[None]:
        """Ask all writers for it. They do it in their own time."""
        for rank in self._living:
            self._transport.send(rank, Seal())
        return iter(())

    def finish(self, state: RunState, between: Callable[[], None]) -> Sequence[str]:
        """Let all finish, and the first one last, which takes over what the others leave.

        Raises:
            StoreError: One cannot write.
            WaitTimeout: One says nothing any more.
        """
        first = self._layout.writers[0]
        notes = self._finish([rank for rank in self._living if rank != first], state, between)
        if first in self._living:
            notes += self._finish([first], state, between)
        if first not in self._living:
            notes += self._own_store().finish(state, between)
        return notes

    def _finish(self, ranks: Sequence[int], state: RunState, between: Callable[[], None]) -> list[str]:
        """Send `Finish` to these, and wait until each has answered or died."""
        waiting, notes, backoff = set(ranks), list[str](), Backoff()
        for rank in ranks:
            self._heard_s[rank] = time.monotonic()
            self._transport.send(rank, Finish(state))
        while waiting:
            between()
            envelope = self._transport.poll()
            if envelope is None:
                for rank in waiting:
                    self._check(rank, time.monotonic(), "finishing its results")
                backoff.pause()
                continue
            backoff.reset()
            self.heard(envelope.source)
            notes += self._take_answer(envelope.message, waiting)
        return notes

    def _take_answer(self, message: Message, waiting: set[int]) -> Sequence[str]:
        if isinstance(message, Finished):
            waiting.discard(message.rank)
            return message.notes
        if isinstance(message, WriterFailed):
            raise StoreError(f"rank {message.rank} cannot write results: {message.error}")
        if isinstance(message, RankLost) and message.rank in self._living:
            self._living.remove(message.rank)
            waiting.discard(message.rank)
        return ()  # whatever a group says now comes too late

    def _check(self, rank: int, now_s: float, phase: str) -> None:
        if now_s - self._heard_s[rank] > SILENCE_S:
            raise WaitTimeout(rank, phase, SILENCE_S, hint="this rank writes results; is its disk stuck?")

    def _own_store(self) -> Store:
        """Opened when no other rank can write any more."""
        if self._own is None:
            self._own = self._open_own()
        return self._own
