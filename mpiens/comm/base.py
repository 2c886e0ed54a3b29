"""What a transport is: messages between the driver and the groups' roots, never blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mpiens.messages import Message


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message that has arrived.

    Attributes:
        source: World rank of the sender.
        message: What it says.
    """

    source: int
    message: Message


class Transport(Protocol):
    """Point-to-point messages between world ranks. Messages of one sender arrive in the order of sending."""

    def send(self, dest: int, message: Message) -> None:
        """Hand over `message`; returns at once."""

    def poll(self) -> Envelope | None:
        """The next message that has arrived, or None. Never blocks."""

    def flush(self, timeout_s: float) -> None:
        """Wait until every message sent has left this rank.

        Raises:
            WaitTimeout: Some have not, within the bound.
        """
