"""What the driver knows of the run so far, for displays, status.json and the summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mpiens.goals import Goals, dominates
from mpiens.messages import Result
from mpiens.record import Params
from mpiens.trial import TrialState

_MOST_CAUSES = 200


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial so far."""

    number: int
    values: tuple[float, ...]
    params: Params

    def is_like(self, other: Best) -> bool:
        """True for a repeat with the same result."""
        # As text, because NaN equals NaN here.
        return self.values == other.values and repr(self.params) == repr(other.params)


@dataclass(slots=True)
class Tally:
    """Counts of a run.

    Attributes:
        total: Trials that there will be.
        finished: How many have ended in each state.
        retried: Attempts that were given up and tried again.
        repeated: Those by cause.
        busy_s: Time that groups have spent in finished attempts.
        best: Best feasible trial; None before the first, and unless there is one objective.
        front: With several objectives: the feasible trials that no other one dominates; of repeats that are alike, one.
        causes: Failures by cause.
        lost_groups: Cause by group, of groups that can run no more.
    """

    total: int
    finished: dict[TrialState, int] = field(
        default_factory=lambda: dict.fromkeys((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), 0)
    )
    retried: int = 0
    busy_s: float = 0.0
    best: Best | None = None
    front: list[Best] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    lost_groups: dict[int, str] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Finished trials."""
        return sum(self.finished.values())

    def repeat(self, cause: str) -> None:
        """Take in an attempt that is to be repeated."""
        self.retried += 1
        add_cause(self.repeated, cause)

    def count(self, result: Result, params: Params, goals: Goals) -> None:
        """Take in a finished trial."""
        self.finished[result.state] += 1
        self.busy_s += result.elapsed_s
        values, best = result.values, self.best
        if result.state is TrialState.FAIL:
            add_cause(self.causes, result.error)
        elif values:
            if best is not None and len(goals.directions) == 1:
                # Most values of an only objective are worse than the best one.
                known = best.values[0]
                if values[0] > known if goals.directions[0] == "minimize" else values[0] < known:
                    return
            if goals.is_feasible(values):
                self.note(Best(result.number, values, params), goals)

    def note(self, found: Best, goals: Goals) -> None:
        """Take in the values of a feasible trial."""
        losses = goals.losses(found.values)
        if len(losses) > 1:
            twin = next((kept for kept in self.front if goals.repeats > 1 and kept.is_like(found)), None)
            if twin is not None:
                self.front.remove(twin)
                found = min(twin, found, key=lambda best: best.number)
            others = [(kept, goals.losses(kept.values)) for kept in self.front]
            if not any(dominates(known, losses) for _, known in others):
                self.front = [kept for kept, known in others if not dominates(losses, known)]
                self.front.append(found)
        # On a tie the lower number wins, so that the best does not depend on the order of arrival.
        elif losses and (
            self.best is None or (losses, found.number) < (goals.losses(self.best.values), self.best.number)
        ):
            self.best = found


def add_cause(causes: Counter[str], cause: str, many: int = 1) -> None:
    """Count a cause; when there are too many different ones, the others are counted together."""
    known = cause in causes or len(causes) < _MOST_CAUSES
    causes[cause if known else "other causes"] += many
