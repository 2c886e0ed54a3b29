"""Every point of a space, in random order, each once."""

from __future__ import annotations

from mpiens.record import Params
from mpiens.samplers.base import Plan
from mpiens.samplers.numbered import NumberedSampler
from mpiens.samplers.options import check_options
from mpiens.space import Param
from mpiens.trial import trial_seed

_ROUNDS = 4


class ShuffledGridSampler(NumberedSampler):
    """As a grid, in another order for each repeat; whoever stops early has a sample of the whole space.

    Args:
        plan: What all samplers are told; a total of 0 means all points.
        points: All points.
        repeats: How often each is visited.
    """

    def __init__(self, plan: Plan, points: Param, repeats: int) -> None:
        check_options(plan.algorithm, plan.options, ())
        self._param = points
        self._count = points.count()
        self._seed = plan.seed
        total = self._count * repeats
        super().__init__(min(plan.total, total) if plan.total else total, self._point_at)

    def _point_at(self, number: int) -> Params:
        repeat, index = divmod(number, self._count)
        place = permuted(index, self._count, trial_seed(self._seed, repeat))
        return next(iter(self._param.iterate(place)))


def permuted(index: int, count: int, seed: int) -> int:
    """Where `index` goes in a random order of ``range(count)``, without a list of them.

    A Feistel network permutes a power of four that holds `count`; from outside it is entered again.
    Source: Black and Rogaway (2002), Ciphers with arbitrary finite domains, doi:10.1007/3-540-45760-7_9.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (trial_seed(seed * _ROUNDS + turn, right) & mask)
        index = left << half | right
        if index < count:
            return index
