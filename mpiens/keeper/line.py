"""A child that asks something while it runs: through the keeper to its rank, and the answer back."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from mpiens.keeper.frames import HEAD_BYTES, frame_bytes, is_there, parse_frame, read_frame, take_in, write_frame


class Line:
    """A connection between the keeper and a child that it forks.

    Attributes:
        fd: The keeper's end.
        child_fd: The child's end.
    """

    def __init__(self) -> None:
        ends = socket.socketpair()
        self.fd, self.child_fd = (end.detach() for end in ends)
        self._data = bytearray()

    def pump(self) -> int:
        """Take in some of what is there; how many bytes, 0 at the end, -1 when nothing is there yet."""
        return take_in(self.fd, self._data)

    def asked(self) -> list[Any]:
        """Questions that have come in whole."""
        found = []
        while len(self._data) >= HEAD_BYTES and len(self._data) >= (size := frame_bytes(self._data)):
            found.append(parse_frame(self._data[:size]))
            del self._data[:size]
        return found

    def say(self, answer: Any) -> None:
        """Hand the child its answer; one that has ended meanwhile needs none."""
        with contextlib.suppress(OSError):
            write_frame(self.fd, answer)

    def close(self) -> None:
        """Close the keeper's end."""
        os.close(self.fd)


def ask(fd: int, question: Any, timeout_s: float) -> Any:
    """As the child: the answer to a question.

    Raises:
        TimeoutError: There is none within the bound.
        EOFError: The keeper has gone away.
    """
    write_frame(fd, question)
    if not is_there(fd, timeout_s):
        raise TimeoutError
    return read_frame(fd)
