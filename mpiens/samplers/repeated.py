"""Points that are evaluated several times: the sampler sees points, the run sees trials.

Trial ``p * repeats + r`` is repeat `r` of point `p`, so a point's trials run beside each other. The sampler is told of
a point when the last of its trials has finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial, Past, PastTrial, Sampler
from mpiens.trial import TrialState


class RepeatedSampler:
    """Gives each point of another sampler several times.

    Args:
        sampler: Gives the points.
        repeats: How often each is evaluated.
        total: How many trials there will be; the last point is evaluated less often where that does not go up.

    Attributes:
        total: How many trials there will be.
        needs_history: As the sampler.
    """

    def __init__(self, sampler: Sampler, repeats: int, total: int) -> None:
        self._sampler = sampler
        self._repeats = repeats
        self.total = min(total, sampler.total * repeats)
        self._asked = 0
        self._ready: list[Params] = []
        self._open: dict[int, list[FinishedTrial]] = {}
        self.needs_history = sampler.needs_history

    def ask(self, n: int) -> list[Params]:
        """The next points, `n` at most; fewer only when no more are left."""
        n = min(n, self.total - self._asked)
        missing = n - len(self._ready)
        if missing > 0:
            for point in self._sampler.ask(-(-missing // self._repeats)):
                self._ready += [point] * self._repeats
            # A sampler that has no more points says so then.
            self.total = min(self.total, self._sampler.total * self._repeats)
        points, self._ready = self._ready[:n], self._ready[n:]
        self._asked += len(points)
        return [dict(point) for point in points]

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        """Take in what came of points asked for before. Each is told once."""
        whole = []
        for trial in trials:
            point = trial.number // self._repeats
            found = self._open.setdefault(point, [])
            found.append(trial)
            if len(found) == self._count(point):
                whole.append(merged(point, self._open.pop(point)))
        if whole:
            self._sampler.tell(whole)

    def restore(self, past: Past) -> Mapping[int, Params]:
        """Go on where an earlier process has left off."""
        self._asked = past.asked
        asked = self._point_after(past.asked)
        lost = {number // self._repeats for number in past.lost}
        known: dict[int, Params] = {}
        if not self.needs_history:
            # To give the rest of a point that has been begun, it must be known.
            begun = {asked - 1} if past.asked % self._repeats else set()
            known.update(self._sampler.restore(Past(asked, sorted(lost | begun))))
        else:
            wanted = lost | {asked - 1}
            points = Past(asked, sorted(lost), self._points(past.trials, wanted, known), self._tells(past.tells))
            known = {**self._sampler.restore(points), **known}
        if past.asked % self._repeats:
            self._ready = [known[asked - 1]] * (asked * self._repeats - past.asked)
        return {number: dict(known[number // self._repeats]) for number in past.lost}

    def _count(self, point: int) -> int:
        """How many trials this point has."""
        return min(self._repeats, self.total - point * self._repeats)

    def _point_after(self, asked: int) -> int:
        """How many points there are in so many trials."""
        return -(-asked // self._repeats)

    def _points(self, trials: Iterable[PastTrial], wanted: set[int], known: dict[int, Params]) -> Iterator[PastTrial]:
        """Points of an earlier process; those of the `wanted` ones that are known go to `known`."""
        params: Params | None = None
        for number, trial in enumerate(trials):
            point, repeat = divmod(number, self._repeats)
            if repeat == 0:
                params = None
            params = params or trial.params
            if trial.ending is not None:
                self._open.setdefault(point, []).append(trial.ending)
            if repeat == self._repeats - 1 or number == self._asked - 1:
                if params is not None and point in wanted:
                    known[point] = params
                is_whole = len(self._open.get(point, ())) == self._count(point)
                yield PastTrial(params, merged(point, self._open.pop(point)) if is_whole else None)

    def _tells(self, tells: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        told: dict[int, int] = {}
        for asked, number in tells:
            point = number // self._repeats
            told[point] = told.get(point, 0) + 1
            if told[point] == self._count(point):
                del told[point]
                yield self._point_after(asked), point


def merged(point: int, trials: Sequence[FinishedTrial]) -> FinishedTrial:
    """What a sampler is told of a point: the means over its complete trials.

    A point is pruned when one of its trials has been, because the mean of the others would flatter it; it has failed
    when all of them have.
    """
    trials = sorted(trials, key=lambda trial: trial.number)
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if pruned or not complete:
        return (pruned or trials)[0]._replace(number=point)
    means = np.mean([trial.values for trial in complete], axis=0).tolist()
    return FinishedTrial(point, TrialState.COMPLETE, tuple(means))
