"""What the driver and the ranks that write say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fence:
    """A group is lost, and what it may still have to say must not count."""

    group: int


@dataclass(frozen=True, slots=True)
class Fenced:
    """The answer to `Fence`: from here on nothing of the group is taken."""

    group: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Time to make segments."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """The answer to `Seal`: segments that results.h5 may not show yet.

    Attributes:
        rank: Of the writer.
        segments: Their file names.
        journals: File names of the journals that they were made of, and that go once results.h5 shows them.
    """

    rank: int
    segments: tuple[str, ...]
    journals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The run has ended.

    Attributes:
        state: What results.h5 is to say of it.
    """

    state: Literal["running", "stopped", "complete"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A writer has done all that it had to.

    Attributes:
        rank: Of the writer.
        notes: What a person should know, a sentence each.
    """

    rank: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriterFailed:
    """A writer cannot go on.

    Attributes:
        rank: Of the writer.
        error: Cause, one line.
    """

    rank: int
    error: str
