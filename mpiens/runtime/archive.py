"""Where rank 0 has results kept: by itself, or by ranks that do nothing else (`mpiens.runtime.writers`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from mpiens.driver.events import Event, Failed, Stored
from mpiens.errors import ProtocolError, StoreError
from mpiens.messages import Result, Results, Sealed, WriterFailed, Written
from mpiens.store.base import SYNC_EVERY_S, RunState, Store


class Archive(Protocol):
    """What the run needs of whoever keeps its results.

    Attributes:
        lost_ranks: Ranks that have died during `finish`.
    """

    lost_ranks: int

    def take(self, message: Results) -> list[Event]:
        """What follows from attempts that have ended.

        Raises:
            StoreError: A record cannot be written.
        """

    def told(self, message: Written) -> list[Event]:
        """What follows from records that another rank has written."""

    def keep(self, group: int, result: Result) -> Stored:
        """Write the record of a trial that has failed for good.

        Raises:
            StoreError: It cannot be written.
        """

    def close(self, group: int) -> bool:
        """A group is lost: take nothing more of it. False: what it has said is not all known until `Fenced` arrives."""

    def recover(self, rank: int, unfinished: Mapping[int, tuple[int, int]]) -> list[Event]:
        """A rank that wrote has died: what it had written and not told.

        Args:
            rank: World rank.
            unfinished: Attempt and group of each trial that is not finished.
        """

    def heard(self, rank: int) -> None:
        """This rank has said something."""

    def tick(self, now_s: float) -> None:
        """Time passes: force what was written to the disk, and see that whoever writes is still there.

        Raises:
            StoreError: The disk refuses.
            WaitTimeout: A rank that writes says nothing any more.
        """

    def sealing(self) -> Iterator[None]:
        """As `mpiens.store.base.Store` has it."""

    def sealed(self, message: Sealed) -> None:
        """Another rank has done that."""

    def chores(self) -> Iterator[None] | None:
        """What is to be done besides, in steps; None: nothing."""

    def finish(self, state: RunState, between: Callable[[], None], trials: int) -> Sequence[str]:
        """As `mpiens.store.base.Store` has it."""


def failure_of(message: WriterFailed) -> StoreError:
    """What ends a run of which a rank cannot write any more."""
    return StoreError(f"rank {message.rank} cannot write results: {message.error}")


class OwnArchive:
    """Rank 0 writes everything itself.

    Args:
        store: Where to.

    Attributes:
        lost_ranks: As `Archive` has it.
    """

    def __init__(self, store: Store) -> None:
        self.lost_ranks = 0
        self._store = store
        self._synced_s = 0.0

    def take(self, message: Results) -> list[Event]:
        """Write the records."""
        stored = tuple([result for result in message.results if result.record])
        events: list[Event] = []
        if stored:
            self._store.append([result.record for result in stored])
            events.append(Stored(message.group, stored))
        if len(stored) < len(message.results):
            events.append(Failed(message.group, tuple([result for result in message.results if not result.record])))
        return events

    def told(self, message: Written) -> list[Event]:
        """No other rank writes."""
        raise ProtocolError(f"group {message.group} says that another rank than 0 has written its results")

    def keep(self, group: int, result: Result) -> Stored:
        """Write the record."""
        self._store.append([result.record])
        return Stored(group, (result,))

    def close(self, group: int) -> bool:  # noqa: ARG002
        """Nothing is under way: what has arrived has been taken."""
        return True

    def recover(self, rank: int, unfinished: Mapping[int, tuple[int, int]]) -> list[Event]:  # noqa: ARG002
        """No other rank writes."""
        return []

    def heard(self, rank: int) -> None:
        """No other rank is needed."""

    def tick(self, now_s: float) -> None:
        """Sync, now and then."""
        if now_s - self._synced_s >= SYNC_EVERY_S:
            self._synced_s = now_s
            self._store.sync()

    def sealing(self) -> Iterator[None]:
        """Of the store."""
        return self._store.sealing()

    def sealed(self, message: Sealed) -> None:
        """No other rank writes."""

    def chores(self) -> Iterator[None] | None:
        """Nothing."""
        return None

    def finish(self, state: RunState, between: Callable[[], None], trials: int) -> Sequence[str]:
        """Of the store."""
        return self._store.finish(state, between, trials)
