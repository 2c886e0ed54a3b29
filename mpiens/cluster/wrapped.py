"""The run inside a launcher's command line: which one it is, and how the line goes on with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_VERBS = ("run", "resume")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command such as ``mpiexec -n 4 python -m mpiens run spec.yaml``.

    Attributes:
        launcher: All before the verb.
        verb: run or resume.
        arguments: All behind it.
    """

    launcher: tuple[str, ...]
    verb: str
    arguments: tuple[str, ...]

    @property
    def first(self) -> list[str]:
        """The command as it was given."""
        return [*self.launcher, self.verb, *self.arguments]

    @property
    def overwrites(self) -> bool:
        """True when the command puts its run in the place of another."""
        return "--overwrite" in self.arguments

    @property
    def again(self) -> list[str]:
        """The command that goes on with the run."""
        if self.verb == "resume":
            return self.first
        kept = [word for word in self.arguments if word not in ("--overwrite", "--resume")]
        return [*self.launcher, self.verb, "--resume", *kept]


def find_verb(command: Sequence[str]) -> Wrapped | None:
    """Split a command at ``mpiens run`` or ``mpiens resume``; None when it has neither."""
    for place in range(len(command) - 1):
        if Path(command[place]).name == "mpiens" and command[place + 1] in _VERBS:
            return Wrapped(tuple(command[: place + 1]), command[place + 1], tuple(command[place + 2 :]))
    return None
