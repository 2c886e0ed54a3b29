"""What a store is to the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

JOURNAL_MAGIC = b"\x89MPIENSJ"
"""The first bytes of every journal."""

SYNC_EVERY_S = 1.0
"""How often whoever appends calls `Store.sync`."""

RunState = Literal["running", "stopped", "complete"]


class Store(Protocol):
    """Keeps the records of finished trials. When `append` has returned, a record survives a kill of this process."""

    def append(self, records: Sequence[bytes]) -> None:
        """Write packed `TrialRecord`s.

        Raises:
            StoreError: It cannot be written; the message names file and cause.
        """

    def sync(self) -> None:
        """Force what was appended to the disk, so that it survives the machine."""

    def seal(self) -> None:
        """Turn what was appended into a segment, and renew results.h5."""

    def sealing(self) -> Iterator[None]:
        """`seal` in steps of some milliseconds. Records may be appended between them; another sealing ends this one."""

    def finish(self, state: RunState, between: Callable[[], None] = lambda: None, trials: int = 0) -> Sequence[str]:
        """Seal, and when `state` is complete make results.h5 self-contained. The store is closed.

        Args:
            state: What results.h5 is to say of the run.
            between: Called between the steps, because all of them may take long.
            trials: So many have a record, as far as anybody knows. With fewer nothing is deleted.

        Returns:
            What a person should know, a sentence each.

        Raises:
            StoreError: It cannot be written, or records are missing.
        """
