"""Which of two trials is better: objectives with their directions, and constraints. Pure values.

A trial's values are its objectives, then its constraints; it is feasible when no constraint is above zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONSTRAINT = "constraint"
"""What a constraint has in place of a direction."""


@dataclass(frozen=True, slots=True)
class Goals:
    """What is searched for.

    Attributes:
        directions: ``minimize`` or ``maximize`` for each objective.
        constraints: How many there are.
        repeats: How often each point is evaluated.
    """

    directions: tuple[str, ...] = ()
    constraints: int = 0
    repeats: int = 1

    @classmethod
    def of(cls, kinds: Mapping[str, str], repeats: int = 1) -> Goals:
        """From ``minimize``, ``maximize`` or ``constraint`` by name, constraints last."""
        directions = tuple(kind for kind in kinds.values() if kind != CONSTRAINT)
        return cls(directions, len(kinds) - len(directions), repeats)

    def is_feasible(self, values: Sequence[float]) -> bool:
        """True when no constraint is above zero."""
        return all(value <= 0 for value in values[len(self.directions) :])

    def losses(self, values: Sequence[float]) -> tuple[float, ...]:
        """The objectives, to be minimised."""
        return tuple(v if d == "minimize" else -v for v, d in zip(values, self.directions, strict=False))


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """True when these losses are nowhere worse and somewhere better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def front(goals: Goals, values: np.ndarray) -> np.ndarray:
    """Rows of ``values`` ``[n, objectives + constraints]`` that are feasible and that no other such row dominates.

    Rows with NaN do not count.
    """
    count = len(goals.directions)
    signs = np.array([1.0 if direction == "minimize" else -1.0 for direction in goals.directions])
    losses = values[:, :count] * signs
    counts = np.isfinite(losses).all(axis=1) & (values[:, count:] <= 0).all(axis=1)
    rows = np.flatnonzero(counts)
    if count == 1 and len(rows):
        return np.flatnonzero(counts & (losses[:, 0] == losses[rows, 0].min()))
    rows = rows[np.lexsort(losses[rows].T[::-1])]
    kept: list[int] = []
    # By the first loss: only those before can dominate a row.
    for row in rows.tolist():
        if not kept or not _is_dominated(losses[row], losses[kept]):
            kept.append(row)
    return np.sort(np.array(kept, dtype=np.int64))


def _is_dominated(row: np.ndarray, others: np.ndarray) -> bool:
    return bool(np.any(np.all(others <= row, axis=1) & np.any(others < row, axis=1)))
