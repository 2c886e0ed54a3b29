"""Rank 0's ear: messages of the other ranks become events for the driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mpiens.comm.base import Envelope, Transport
from mpiens.driver import Driver
from mpiens.driver.events import Event, GroupLost, GroupReady, Questioned
from mpiens.errors import ProtocolError
from mpiens.messages import (
    Alive,
    Fenced,
    GroupStuck,
    RankLost,
    Ready,
    Reported,
    Results,
    Sealed,
    SetupFailed,
    WriterFailed,
    Written,
)
from mpiens.runtime.archive import Archive, failure_of
from mpiens.runtime.gauge import Gauge
from mpiens.runtime.observer import Observer
from mpiens.runtime.prepare import Job
from mpiens.runtime.signals import Interrupted
from mpiens.watchdog import note_path, read_kill

_DRAIN_S = 0.01

_Loss = RankLost | GroupStuck | SetupFailed


class Inbox:
    """What arrives at rank 0.

    Args:
        job: What runs.
        transport: The way to the other ranks.
        archive: Who keeps the results.
        driver: Whom the events are for.
        gauge: Counts ranks.
        observer: Who watches.

    Attributes:
        has_stuck_group: True when ranks of some group will not answer any more.
    """

    def __init__(
        self, job: Job, transport: Transport, archive: Archive, driver: Driver, gauge: Gauge, observer: Observer
    ) -> None:
        self._job = job
        self._transport = transport
        self._archive = archive
        self._driver = driver
        self._gauge = gauge
        self._observer = observer
        self.has_stuck_group = False
        self._setup_errors: set[str] = set()
        # Groups of which this process must not give up anything before all that they have said is known.
        self._closing: dict[int, list[_Loss]] = {}
        self._handlers: dict[type[Any], Callable[[Any], list[Event]]] = {
            Results: self._on_results,
            Written: archive.told,
            Ready: self._on_ready,
            Reported: lambda message: [Questioned(message)],
            SetupFailed: self._on_group_failed,
            GroupStuck: self._on_group_failed,
            RankLost: self._on_rank_lost,
            Fenced: self._on_fenced,
            Sealed: self._on_sealed,
            WriterFailed: self._on_writer_failed,
            Alive: lambda _: [],
        }

    def receive(self) -> list[Event]:
        """All messages that have arrived, as events; results are stored on the way.

        Raises:
            StoreError: They cannot be.
        """
        events: list[Event] = []
        lost: set[int] = set()
        end_s = time.monotonic() + _DRAIN_S
        while (envelope := self._poll()) is not None:
            message = envelope.message
            # Its trials are about to be given to others.
            if not (isinstance(message, Results) and message.group in lost):
                found = self.hear(envelope)
                lost.update(event.group for event in found if isinstance(event, GroupLost))
                events += found
            if time.monotonic() > end_s:
                break
        return events

    def hear(self, envelope: Envelope) -> list[Event]:
        """What follows from one message.

        Raises:
            StoreError: Results cannot be stored.
        """
        handler = self._handlers.get(type(envelope.message))
        if handler is None:
            raise ProtocolError(f"the driver cannot handle {type(envelope.message).__name__}")
        self._archive.heard(envelope.source)
        return handler(envelope.message)

    def _poll(self) -> Envelope | None:
        try:
            return self._transport.poll()
        except Interrupted:
            return None  # the signals say the rest

    def _on_results(self, message: Results) -> list[Event]:
        if message.group in self._driver.tally.lost_groups:
            return []  # Its trials have been given to others.
        return self._archive.take(message)

    def _on_ready(self, message: Ready) -> list[Event]:
        self._gauge.ready()
        return [GroupReady(message.group)]

    # --- losses -----------------------------------------------------------------------------------------------------

    def _on_group_failed(self, message: SetupFailed | GroupStuck) -> list[Event]:
        if isinstance(message, GroupStuck):
            self.has_stuck_group = True
            self._observer.warned(f"group {message.group} is lost at trial {message.number}: {message.error}")
        elif message.error not in self._setup_errors:
            # A thousand groups fail for one reason: it is said once.
            self._setup_errors.add(message.error)
            self._observer.warned(f"group {message.group} cannot be set up: rank {message.rank}: {message.error}")
        return self._lose(message.group, message)

    def _on_rank_lost(self, message: RankLost) -> list[Event]:
        rank = message.rank
        self._gauge.lost_ranks += 1
        if rank in self._job.layout.writers:
            return self._lose_writer(rank)
        index = self._job.layout.group_of(rank)
        if index is None or index in self._driver.tally.lost_groups:
            self._observer.warned(f"rank {rank} is lost too")
            return []
        self._observer.warned(f"rank {rank} is lost, and group {index} with it; the other groups go on")
        return self._lose(index, message)

    def _lose(self, index: int, loss: _Loss) -> list[Event]:
        """Give a group up, once all is known that it has said."""
        if index in self._closing:
            self._closing[index].append(loss)
            return []
        if self._archive.close(index):
            return self._given_up(index, loss)
        self._closing[index] = [loss]
        return []

    def _on_fenced(self, message: Fenced) -> list[Event]:
        losses = self._closing.pop(message.group, [])
        return [event for loss in losses for event in self._given_up(message.group, loss)]

    def _given_up(self, index: int, loss: _Loss) -> list[Event]:
        if isinstance(loss, GroupStuck):
            return [GroupLost(index, loss.error, loss.number)]
        if isinstance(loss, SetupFailed):
            return [GroupLost(index, loss.error, None, loss.is_usage)]
        at = {(number, attempt) for number, attempt, group, *_ in self._driver.unfinished() if group == index}
        notes = read_kill(note_path(self._job.run_dir, loss.rank))
        kills = {key: cause for key, cause in notes.items() if key in at}
        if not kills:
            return [GroupLost(index, f"rank {loss.rank} was killed in the midst of it", is_death=True)]
        return [GroupLost(index, cause, number, is_death=True) for (number, _), cause in kills.items()]

    def _lose_writer(self, rank: int) -> list[Event]:
        """What it has told counts; what it had written and not told yet is in its journal; its groups end."""
        groups = [index for index in range(len(self._job.layout.groups)) if self._job.layout.writer_of(index) == rank]
        unfinished = {number: (attempt, group) for number, attempt, group, *_ in self._driver.unfinished()}
        events = self._archive.recover(rank, unfinished)
        for index in groups:
            self._closing.pop(index, None)
            events.append(GroupLost(index, f"rank {rank}, which wrote its results, was killed", -1, is_death=True))
        self._observer.warned(f"rank {rank}, a writer, is lost, and all groups whose results it wrote")
        return events

    def _on_sealed(self, message: Sealed) -> list[Event]:
        self._archive.sealed(message)
        return []

    def _on_writer_failed(self, message: WriterFailed) -> list[Event]:
        raise failure_of(message)
