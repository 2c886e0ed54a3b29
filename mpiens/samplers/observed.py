"""What samplers share that are built anew for every point from what is known: the points of a window, as numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from mpiens.errors import SpecError
from mpiens.record import Params
from mpiens.samplers.adaptive import AdaptiveSampler
from mpiens.samplers.base import FinishedTrial, Plan
from mpiens.samplers.unit import UnitCube
from mpiens.samplers.window import Window
from mpiens.space import Domain
from mpiens.trial import TrialState, trial_seed

WINDOW = 100
"""So many finished points are looked at, where a point costs a matrix of them."""

MOST_RUNNING = 64
"""So many points that are being tried are taken into account, those with the highest numbers."""


class ObservingSampler(AdaptiveSampler):
    """Chooses a point from the losses of a window of earlier ones, and from its number. One objective.

    Args:
        plan: What all samplers are told.
        domains: Parameters by name.
        startup: So many points are random.
        window: How many finished trials are looked at.

    Raises:
        SpecError: There is more than one objective.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain], startup: int, window: int) -> None:
        super().__init__(plan)
        if len(plan.directions) != 1:
            raise SpecError(
                f"{plan.algorithm} takes one objective, found {len(plan.directions)}; for several use nsga2, nsga3 "
                "or tpe",
                key="search.objectives",
            )
        self.cube = UnitCube(domains)
        self.cube.check_searchable(plan.algorithm)
        self._startup = startup
        self._sign = 1.0 if plan.directions[0] == "minimize" else -1.0
        self._window = Window(window, window // 2, window // 10)
        self._rows: dict[int, list[float]] = {}
        self._losses: dict[int, float] = {}
        self._finished = 0

    @abstractmethod
    def propose(self, number: int, rows: np.ndarray, losses: Sequence[float], running: np.ndarray) -> Sequence[float]:
        """Coordinates of the next point.

        Args:
            number: Its number.
            rows: Coordinates of finished points, ``[n, dimensions]``.
            losses: Theirs, to be minimised.
            running: Coordinates of points that are being tried.
        """

    def choose(self, number: int) -> Params:
        """The point with this number."""
        if self._finished < self._startup or not self._losses:
            row = np.random.default_rng(trial_seed(self.plan.seed, number)).random(self.cube.dimensions).tolist()
        else:
            shown = sorted(self._losses)
            rows = np.array([self._rows[n] for n in shown]).reshape(len(shown), self.cube.dimensions)
            tried = sorted(self._rows.keys() - self._losses.keys())
            running = np.array([self._rows[n] for n in tried]).reshape(len(tried), self.cube.dimensions)
            row = [float(x) for x in self.propose(number, rows, [self._losses[n] for n in shown], running)]
        point = self.cube.decode(row)
        self.adopt(number, point)
        return point

    def adopt(self, number: int, params: Params) -> None:
        """A point that somebody else has chosen is being tried."""
        self._rows.pop(number, None)
        try:
            self._rows[number] = self.cube.encode(params)
        except ValueError:
            return  # Of another space.

    def learn(self, trial: FinishedTrial) -> None:
        """What came of a point; failed ones are left out."""
        number = trial.number
        if trial.state is not TrialState.COMPLETE or number not in self._rows:
            self._rows.pop(number, None)
            return
        self._finished += 1
        self._losses[number] = self._sign * trial.values[0]
        for gone in self._window.add(number, (self._losses[number],)):
            del self._rows[gone], self._losses[gone]
