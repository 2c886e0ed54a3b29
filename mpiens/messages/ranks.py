"""What ranks say about themselves and their groups."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ready:
    """The group is set up."""

    group: int


@dataclass(frozen=True, slots=True)
class SetupFailed:
    """The group cannot be set up.

    Attributes:
        error: One line that names the cause.
        is_usage: The spec is to blame, rather than the model's code or the machine.
    """

    group: int
    rank: int
    error: str
    is_usage: bool = False


@dataclass(frozen=True, slots=True)
class GroupStuck:
    """One member has ended a trial and the others have not, for longer than `Setup.group_timeout_s`."""

    group: int
    rank: int
    number: int
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing new."""


@dataclass(frozen=True, slots=True)
class Left:
    """This rank has nothing more to say."""

    rank: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """No more work."""


@dataclass(frozen=True, slots=True)
class RankLost:
    """The rank has died, and the job goes on. Nobody sends this: a transport finds it out."""

    rank: int
