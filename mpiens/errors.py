"""Every error that mpiens raises on purpose.

The message of each is written for the person at the terminal: what was expected, what was found, where, and what
to do. ``exit_status`` is what the command line returns for it. All of them survive pickling, because an error may
have to travel from one rank to another: an error with fields hands all of them to ``super().__init__`` and forms
its text in ``__str__``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

EXIT_COMPLETE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_RESUMABLE = 75


class MpiensError(Exception):
    """Root of all errors of mpiens."""

    exit_status = EXIT_FAILED


class UsageError(MpiensError):
    """The command cannot be carried out as it was given."""

    exit_status = EXIT_USAGE


class SpecError(UsageError):
    """Something in a spec is wrong.

    Args:
        problem: What is wrong and what to do, one sentence.
        file: The spec (or another file) it stands in.
        line: Line in that file, counted from 1.
        key: Dotted path of the key, such as ``groups.size``.
    """

    def __init__(
        self, problem: str, file: str | Path | None = None, line: int | None = None, key: str | None = None
    ) -> None:
        super().__init__(problem, file, line, key)
        self.problem = problem
        self.file = file
        self.line = line
        self.key = key

    def __str__(self) -> str:
        where = "" if self.file is None else str(self.file)
        if where and self.line is not None:
            where += f":{self.line}"
        return ": ".join(part for part in (where, self.key, self.problem) if part)

    def within(self, file: str | Path, lines: dict[str, int]) -> SpecError:
        """The same error with the place of its key, found in `lines` (dotted path to line number)."""
        line = None
        parts = (self.key or "").split(".")
        while parts and line is None:
            line = lines.get(".".join(parts))
            parts.pop()
        return type(self)(self.problem, self.file or file, self.line or line, self.key)


class UnavailableError(SpecError):
    """A part of the spec that is valid, but that this version does not act on."""


class LayoutError(UsageError):
    """The world has too few ranks for the groups that the spec asks for."""


class RunExistsError(UsageError):
    """The run directory already holds a run."""


class InstallationError(MpiensError):
    """The installation does not fit together: MPI, NEURON, compiler."""


class ModelError(MpiensError):
    """A model cannot be set up, or does not do what a model must do."""


class TrialError(MpiensError):
    """One trial failed; the run goes on."""


class AttemptError(TrialError):
    """One attempt at a trial failed, for a reason that may pass: another one makes sense."""


class TrialPruned(MpiensError):
    """Raised by a model, on every rank of its group: the trial ends here, as PRUNED. It is no failure.

    Args:
        results: Results by name, which are kept; anything else, such as a remark, is not.
    """

    def __init__(self, results: object = None) -> None:
        super().__init__(results)
        self.results: dict[str, object] = dict(results) if isinstance(results, Mapping) else {}

    def __str__(self) -> str:
        return "the trial is pruned"


class SearchError(MpiensError):
    """The sampler or the pruner has failed; a restart would end in the same way."""


class StoreError(MpiensError):
    """Results cannot be written or read."""


class ProtocolError(MpiensError):
    """Two ranks disagree about what may happen next: a defect of mpiens, reported with its story."""


class InvalidTransition(ProtocolError):
    """A trial was told to do what its state does not allow. Nothing has changed.

    Args:
        number: The trial.
        state: Name of its state.
        event: Name of the event that came.
        story: Events that the trial has seen, oldest first.
    """

    def __init__(self, number: int, state: str, event: str, story: tuple[str, ...] = ()) -> None:
        super().__init__(number, state, event, story)
        self.number, self.state, self.event, self.story = number, state, event, story

    def __str__(self) -> str:
        text = f"trial {self.number}: cannot handle {self.event} in state {self.state}"
        return text + (f" after {', '.join(self.story)}" if self.story else "")


class PeerLost(MpiensError):
    """A rank that this one works with has died.

    Args:
        rank: World rank of the dead.
    """

    def __init__(self, rank: int) -> None:
        super().__init__(rank)
        self.rank = rank

    def __str__(self) -> str:
        return f"rank {self.rank} has died" + (", the driver" if self.rank == 0 else "")


class WaitTimeout(MpiensError):
    """A wait between ranks has ended at its bound.

    Args:
        rank: World rank that waited.
        phase: What it was doing.
        timeout_s: The bound.
        trial: Number of the trial concerned, if any.
        hint: What to do about it.
    """

    def __init__(self, rank: int, phase: str, timeout_s: float, trial: int | None = None, hint: str = "") -> None:
        super().__init__(rank, phase, timeout_s, trial, hint)
        self.rank, self.phase, self.timeout_s, self.trial, self.hint = rank, phase, timeout_s, trial, hint

    def __str__(self) -> str:
        trial = "" if self.trial is None else f", trial {self.trial}"
        text = f"rank {self.rank}{trial}: gave up after {self.timeout_s:g} s while {self.phase}"
        return f"{text}; {self.hint}" if self.hint else text
