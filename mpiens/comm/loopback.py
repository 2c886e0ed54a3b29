"""A world of one rank: the driver and the only group take turns in one process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mpiens.comm.base import Envelope
from mpiens.messages import Message


class LoopbackTransport:
    """The driver's side of a world of one rank. The group works while the driver polls."""

    def __init__(self) -> None:
        self._arrived: deque[Message] = deque()

    def connect(self, deliver: Callable[[Message], None], work: Callable[[], bool]) -> None:
        """Name the group.

        Args:
            deliver: Takes a message for the group.
            work: Lets the group do one piece of work; False when it has none.
        """
        self._deliver = deliver
        self._work = work

    def say(self, message: Message) -> None:
        """As the group: tell the driver."""
        self._arrived.append(message)

    def send(self, dest: int, message: Message) -> None:  # noqa: ARG002 - there is one destination
        """Hand `message` to the group."""
        self._deliver(message)

    def poll(self) -> Envelope | None:
        """What the group has to say; it works when it has said everything."""
        if not self._arrived:
            self._work()
        return Envelope(0, self._arrived.popleft()) if self._arrived else None

    def flush(self, timeout_s: float) -> None:
        """Nothing waits here."""
