"""Rosenbrock's valley: a function whose minimum, 0 at (1, 1), lies in a long bent trough."""

from __future__ import annotations

from typing import Any


def rosenbrock(trial: Any) -> dict[str, float]:
    """Value of the function at the trial's x and y."""
    x, y = trial.params["x"], trial.params["y"]
    return {"loss": (1.0 - x) ** 2 + 100.0 * (y - x * x) ** 2}
