"""What a trial reports while it runs: a value at growing steps. Pure."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import SupportsFloat, SupportsIndex

from mpiens.errors import TrialError, TrialPruned

Report = tuple[int, float]
"""A step and the value there."""

_MOST = 2**63


class Reports:
    """Those of one attempt.

    Attributes:
        made: In the order of their steps.
    """

    def __init__(self) -> None:
        self.made: list[Report] = []

    def add(self, value: SupportsFloat, step: SupportsIndex) -> None:
        """Take one in; a step that was reported before keeps its value.

        Raises:
            TrialError: The value is no number, or the step no whole number from 0 on, or before the last one.
        """
        try:
            at = operator.index(step)
        except TypeError:
            raise TrialError(f"trial.report: the step must be a whole number, found {step!r}") from None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise TrialError(f"trial.report: the value must be a number, found {value!r}") from None
        if not 0 <= at < _MOST:
            raise TrialError(f"trial.report: the step must be 0 or above, found {at}")
        last = self.made[-1][0] if self.made else -1
        if at > last:
            self.made.append((at, number))
        elif all(at != known for known, _ in self.made):
            raise TrialError(f"trial.report: steps must grow, found {at} after {last}")


def results_of_pruned(error: BaseException) -> Mapping[str, object] | None:
    """Results that a model gives with the exception that ends a trial as PRUNED; None for any other exception.

    Optuna's own `TrialPruned` counts too, by its name: workers do not import Optuna.
    """
    if isinstance(error, TrialPruned):
        return error.results
    for base in type(error).__mro__:
        if base.__name__ == "TrialPruned" and base.__module__.partition(".")[0] == "optuna":
            return {}
    return None
