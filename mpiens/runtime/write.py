"""A rank that does nothing but write: takes results of groups, and tells the driver when they are safe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from mpiens.comm.backoff import Backoff
from mpiens.comm.base import Transport
from mpiens.comm.mpi import World
from mpiens.errors import ProtocolError, StoreError
from mpiens.messages import (
    Alive,
    Fence,
    Fenced,
    Finish,
    Finished,
    Message,
    Results,
    Seal,
    Sealed,
    WriterFailed,
    WriterSetup,
    Written,
)
from mpiens.runtime.serve import Lifeline
from mpiens.store import FileStore
from mpiens.store.base import SYNC_EVERY_S

_ALIVE_EVERY_S = 5.0
_DRAIN_S = 0.01


def write(world: World, lifeline: Lifeline, setup: WriterSetup) -> None:
    """Until the driver says that the run has ended, or to leave."""
    rank, transport = world.rank, world.transport
    try:
        writer = Writer(rank, transport, setup)
        try:
            writer.work(lifeline)
        finally:
            writer.close()
    except (StoreError, OSError) as error:
        text = str(error) if isinstance(error, StoreError) else f"{error.strerror}: {error.filename}"
        transport.send(0, WriterFailed(rank, text))


class Writer:
    """One writer.

    Args:
        rank: World rank.
        transport: The way to the driver.
        setup: What to write.

    Raises:
        StoreError: The run directory cannot be written.
    """

    def __init__(self, rank: int, transport: Transport, setup: WriterSetup) -> None:
        self._rank = rank
        self._transport = transport
        self._store = FileStore(
            Path(setup.run_dir),
            name=setup.name,
            spec_text=setup.spec_text,
            provenance=setup.provenance,
            objectives=setup.objectives,
            parameters=setup.parameters,
            writer=setup.index,
            writers=setup.writers,
            first_serial=setup.first_serial,
        )
        self._fenced: set[int] = set()
        self._sealing: Iterator[None] | None = None
        self._has_finished = False
        self._synced_s = self._spoke_s = time.monotonic()

    def work(self, lifeline: Lifeline) -> None:
        """Write until the run has ended.

        Raises:
            StoreError: The disk refuses.
        """
        backoff = Backoff()
        while not (self._has_finished or lifeline.is_over):
            has_heard = self._listen(lifeline)
            if has_heard or self._do_chore():
                backoff.reset()
            else:
                backoff.pause()
            self._tick()

    def close(self) -> None:
        """Force what was written to the disk."""
        if not self._has_finished:
            self._store.close()

    def _listen(self, lifeline: Lifeline) -> bool:
        """Take in what has arrived; the results in one piece."""
        found: list[Results] = []
        others: list[Message] = []
        end_s = time.monotonic() + _DRAIN_S
        while not others and time.monotonic() < end_s:
            message = lifeline.poll()
            if message is None or lifeline.is_over:
                break
            if not isinstance(message, Results):
                others.append(message)
            elif message.group not in self._fenced:
                found.append(message)
        if found:
            self._write(found)
        for message in others:
            self._obey(message)
        return bool(found or others)

    def _write(self, messages: list[Results]) -> None:
        self._store.append([result.record for message in messages for result in message.results if result.record])
        for message in messages:
            written = tuple([result._replace(record=b"") for result in message.results if result.record])
            failed = tuple([result for result in message.results if not result.record])
            if written:
                self._transport.send(0, Written(message.group, written))
            if failed:
                self._transport.send(0, Results(message.group, failed))

    def _obey(self, message: Message) -> None:
        if isinstance(message, Fence):
            self._fenced.add(message.group)
            self._transport.send(0, Fenced(message.group))
        elif isinstance(message, Seal):
            self._sealing = self._store.sealing()
        elif isinstance(message, Finish):
            notes = self._store.finish(message.state, self._speak)
            self._has_finished = True
            self._transport.send(0, Finished(self._rank, tuple(notes)))
        else:
            raise ProtocolError(f"rank {self._rank}, a writer, cannot handle {type(message).__name__}")

    def _do_chore(self) -> bool:
        """One step of making segments, of some milliseconds; False when there is nothing to do."""
        if self._sealing is None:
            return False
        for _step in self._sealing:
            return True
        self._sealing = None
        self._transport.send(0, Sealed(self._rank, *self._store.sealed()))
        return True

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._synced_s >= SYNC_EVERY_S:
            self._synced_s = now_s
            self._store.sync()
        self._speak()

    def _speak(self) -> None:
        """The driver gives up a writer that is silent."""
        if (now_s := time.monotonic()) - self._spoke_s >= _ALIVE_EVERY_S:
            self._spoke_s = now_s
            self._transport.send(0, Alive())
