"""Sends that leave when their receiver takes them."""

from __future__ import annotations

from typing import Any

import pytest

from mpiens.comm.outbox import Outbox
from mpiens.errors import WaitTimeout


class Slow:
    """A communicator, and each of its requests: done after so many looks."""

    rank = 3

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def isend(self, content: Any, dest: int, tag: int) -> Slow:
        assert (content, dest, tag) == ("all", 0, 1)
        return self

    def Test(self) -> bool:  # noqa: N802 - mpi4py's name
        self.looks -= 1
        return self.looks < 0


def outbox_of(comm: Any) -> Outbox:
    made = Outbox(comm)
    made.send(0, 1, "all")
    return made


def test_what_is_taken_late_is_waited_for() -> None:
    comm = Slow(150)
    outbox = outbox_of(comm)
    assert outbox.settle(60.0)
    assert comm.looks < 0
    assert outbox.settle(0.0), "nothing is left"


def test_what_is_never_taken_is_waited_for_in_vain() -> None:
    outbox = outbox_of(Slow(10**9))
    assert not outbox.settle(0.01)
    with pytest.raises(WaitTimeout, match="1 messages"):
        outbox.flush(0.01)
