"""Where trials come from: how many points have been asked for, and when a generation is over. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from mpiens.driver.config import DriverConfig
from mpiens.driver.live import LiveTrial
from mpiens.errors import ProtocolError
from mpiens.record import Params
from mpiens.samplers.base import FinishedTrial

ASKED_AHEAD = 1 / 4
"""So many points per group wait for a free group when a sampler learns: none goes hungry while a point is chosen, and
no point is much older than those that run."""


class Supply:
    """Counts points, and gathers the results of a generation.

    Points of a sampler that learns are asked for one by one, because that may take a while and messages must not wait
    for long.

    Args:
        config: What it must know of the run.

    Attributes:
        asked: Points that there are.
        asking: Points that are being asked for.
        is_exhausted: The sampler has no more.
    """

    def __init__(self, config: DriverConfig) -> None:
        self._config = config
        self.asked = 0
        self.asking = 0
        self.is_exhausted = False
        self._generation: list[FinishedTrial] = []
        # Points of the generation that have yet to be asked for, where that is done one by one.
        self._to_ask = 0

    @property
    def left(self) -> int:
        """Points that may still be asked for."""
        return 0 if self.is_exhausted else max(0, self._config.total - self.asked)

    def take_over(self, asked: int, untold: Iterable[FinishedTrial], has_live: bool) -> tuple[FinishedTrial, ...]:
        """Go on after so many points; results that are to be told at once."""
        config = self._config
        self.asked = asked
        if config.batch and config.is_adaptive:
            self._to_ask = min(-asked % config.batch, config.total - asked)
        if config.batch and (has_live or self._to_ask):
            self._generation = list(untold)
            return ()
        return tuple(untold)

    def wants_point(self, waiting: int, ahead: int, is_hungry: bool) -> bool:
        """True when the next point of a sampler that learns should be chosen.

        Args:
            waiting: Trials that wait for a group.
            ahead: How many should.
            is_hungry: Some group has room for a trial.
        """
        if self.asking or not self.left:
            return False
        if self._config.batch:
            return self._to_ask > 0
        return is_hungry or waiting < ahead

    def wanted(self, room: int, has_live: bool) -> int:
        """How many points to ask for, for groups that can take so many trials and find none."""
        config = self._config
        wanted = room
        if config.batch:
            wanted = 0 if has_live or self._generation else min(config.batch, self.left)
            if wanted and config.is_adaptive:
                # One by one: the first groups begin while the points of the others are being chosen.
                self._to_ask, wanted = wanted, 1
        elif config.is_adaptive:
            wanted = 0
        return min(wanted, self.left)

    def take(self, points: list[Params]) -> list[LiveTrial]:
        """Trials of these points; fewer than asked for mean that there are no more.

        Raises:
            ProtocolError: More.
        """
        if len(points) > self.asking:
            raise ProtocolError(f"the sampler was asked for {self.asking} points and gave {len(points)}")
        if len(points) < self.asking:
            self.is_exhausted = True
        self.asking = 0
        self._to_ask = 0 if self.is_exhausted else max(0, self._to_ask - len(points))
        trials = list(map(LiveTrial, itertools.count(self.asked), points))
        self.asked += len(trials)
        return trials

    def gather(self, finished: Iterable[FinishedTrial]) -> None:
        """Results wait until their generation is over."""
        self._generation += finished

    def generation(self, has_live: bool) -> tuple[FinishedTrial, ...]:
        """The generation's results by number, once there are all of them; otherwise nothing."""
        if has_live or self._to_ask:
            return ()
        told = tuple(sorted(self._generation, key=lambda trial: trial.number))
        self._generation = []
        return told
