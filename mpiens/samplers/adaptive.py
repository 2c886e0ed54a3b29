"""What samplers that learn have in common: numbers, points given from outside, and how to go on in another process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past, PastTrial, Plan


class NoMorePoints(Exception):
    """A sampler has given all its points."""


class AdaptiveSampler(ABC):
    """Chooses points one by one.

    A sampler whose choice depends on nothing but the set of trials so far, and the number of the point, is restored by
    giving it that set. Any other says `replays`: its course is gone through again, ask by ask and tell by tell, which
    ends in the same state because its seed is the same.

    Args:
        plan: What all samplers are told of the run.

    Attributes:
        total: ``search.trials``.
        replays: See above.
    """

    needs_history = True
    replays = False

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.total = plan.total
        self._asked = 0

    # --- for the libraries' adapters ----------------------------------------------------------------------------------

    @abstractmethod
    def choose(self, number: int) -> Params:
        """The point with this number, and remember that it is being tried.

        Raises:
            NoMorePoints: There are no more, before `total`.
        """

    @abstractmethod
    def adopt(self, number: int, params: Params) -> None:
        """A point that somebody else has chosen is being tried.

        After `choose` for the same number it takes the place of that choice. Points that the space does not hold are
        kept apart: nothing is learned from them.
        """

    @abstractmethod
    def learn(self, trial: FinishedTrial) -> None:
        """What came of a point."""

    # --- the protocol -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take in trials of earlier runs; to be called when the adapter is ready.

        They get the numbers -1, -2 and so on.
        """
        for index, (params, ending) in enumerate(self.plan.earlier, 1):
            assert params is not None and ending is not None
            self.adopt(-index, params)
            self._take_in(ending._replace(number=-index))

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        points: list[Params] = []
        try:
            while len(points) < n and self._asked < self.total:
                points.append(self._next())
        except NoMorePoints:
            self.total = self._asked
        return points

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """Take in what came of points asked for before. Each is told once."""
        for trial in trials:
            self._take_in(trial)

    def restore(self, past: Past) -> Mapping[int, Params]:
        """Go on where an earlier process has left off."""
        return self._replay(past) if self.replays else self._fill(past)

    def _next(self) -> Params:
        number = self._asked
        if number < len(self.plan.start):
            if self.replays:
                self.choose(number)  # so that the library knows of the trial
            point = dict(self.plan.start[number])
            self.adopt(number, point)
        else:
            point = self.choose(number)
        self._asked += 1
        return point

    def _fill(self, past: Past) -> dict[int, Params]:
        chosen = {}
        for number, (params, ending) in enumerate(past.trials):
            if params is None:
                chosen[number] = self._next()
            else:
                self.adopt(number, params)
                self._asked += 1
            if ending is not None:
                self._take_in(ending)
        return chosen

    def _take_in(self, trial: FinishedTrial) -> None:
        """Part constraints from objectives, which stand in one row everywhere else."""
        count = len(self.plan.directions)
        if len(trial.values) > count:
            trial = trial._replace(values=trial.values[:count], constraints=trial.values[count:])
        self.learn(trial)

    def _replay(self, past: Past) -> dict[int, Params]:
        trials = list(past.trials)
        chosen: dict[int, Params] = {}
        for asked, number in _course(past, trials, self.plan.batch):
            while self._asked < asked:
                self._repeat(trials[self._asked], chosen)
            ending = trials[number].ending
            if ending is not None:
                self._take_in(ending)
        while self._asked < len(trials):
            self._repeat(trials[self._asked], chosen)
        return chosen

    def _repeat(self, trial: PastTrial, chosen: dict[int, Params]) -> None:
        number = self._asked
        point = self._next()
        if trial.params is None:
            chosen[number] = point
        elif trial.params != point:
            # Another version of the library, or a spec that was changed by force: what was tried counts.
            self.adopt(number, trial.params)


def _course(past: Past, trials: Sequence[PastTrial], batch: int) -> list[tuple[int, int]]:
    """How many points had been asked for at each tell, and the number told."""
    course = list(past.tells)
    seen = {number for _, number in course}
    for number, trial in enumerate(trials):
        if trial.ending is not None and number not in seen:
            # Told by an earlier process, of whose course only the results are left.
            asked = (number // batch + 1) * batch if batch else len(trials)
            course.append((min(asked, len(trials)), number))
    return sorted(course, key=lambda tell: tell[0])
