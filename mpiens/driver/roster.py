"""The groups: what each of them has, and which can take more. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from mpiens.driver.actions import Dispatch
from mpiens.driver.live import LiveTrial
from mpiens.driver.queueing import Durations
from mpiens.messages import Result


class Roster:
    """Hands trials to groups.

    Args:
        is_adaptive: The sampler learns from results, so that queueing far ahead would cost search quality.

    Attributes:
        depth: How many trials a group may hold, the running one included.
    """

    def __init__(self, is_adaptive: bool) -> None:
        self.depth = 1
        self._is_adaptive = is_adaptive
        # By group: the trials that it has, in the order in which it runs them.
        self._groups: dict[int, dict[int, None]] = {}
        self._hungry: dict[int, None] = {}
        self._durations = Durations()

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, group: object) -> bool:
        return group in self._groups

    @property
    def busy(self) -> int:
        """Groups that have a trial."""
        return sum(1 for trials in self._groups.values() if trials)

    @property
    def is_hungry(self) -> bool:
        """Some group has room for as many trials as it has."""
        return bool(self._hungry)

    @property
    def free(self) -> list[int]:
        """Groups that have nothing."""
        return [group for group in self._hungry if not self._groups[group]]

    @property
    def room(self) -> int:
        """How many trials the hungry groups can take."""
        return sum(max(0, self.depth - len(self._groups[group])) for group in self._hungry)

    def in_flight(self) -> Iterator[int]:
        """Trials that groups have, group by group, each in the order in which it runs them."""
        for trials in self._groups.values():
            yield from trials

    def queues(self) -> list[int]:
        """How many trials each group has."""
        return [len(trials) for trials in self._groups.values()]

    def join(self, group: int) -> None:
        """A group takes trials."""
        self._groups[group] = {}
        self._hungry[group] = None

    def leave(self, group: int) -> list[int]:
        """A group takes no more; the trials that it had."""
        self._hungry.pop(group, None)
        return list(self._groups.pop(group, ()))

    def recall(self) -> list[int]:
        """Take all trials from all groups."""
        recalled = list(self.in_flight())
        for trials in self._groups.values():
            trials.clear()
        return recalled

    def release(self, group: int, results: Sequence[Result]) -> None:
        """These attempts no longer occupy their group."""
        trials = self._groups.get(group)
        if trials is None:
            return
        for result in results:
            trials.pop(result.number, None)
        self._durations.took([result.elapsed_s for result in results])
        if len(trials) * 2 <= self.depth:
            self._hungry[group] = None

    def set_depth(self, is_single: bool, left: int) -> None:
        """Find how many trials a group may hold.

        Args:
            is_single: One, however short they are.
            left: Trials that are not finished.
        """
        depth = 1 if is_single else self._durations.depth(self._is_adaptive)
        if depth > 1 and not self._is_adaptive:
            # Towards the end the groups share what is left.
            depth = min(depth, max(1, left // max(1, len(self._groups))))
        if depth > self.depth:
            self._hungry.update((group, None) for group, trials in self._groups.items() if len(trials) * 2 <= depth)
        self.depth = depth

    def hand_out(self, waiting: deque[LiveTrial]) -> Iterator[Dispatch]:
        """Give trials from the front of `waiting` to the hungry groups, each its share."""
        if not waiting:
            return
        hungry = sorted(self._hungry, key=lambda group: len(self._groups[group]))
        share = -(-len(waiting) // len(hungry))
        for group in hungry:
            trials = self._groups[group]
            assignments = []
            for _ in range(min(max(0, self.depth - len(trials)), share, len(waiting))):
                trial = waiting.popleft()
                trials[trial.number] = None
                assignments.append(trial.dispatch(group))
            if assignments:
                yield Dispatch(group, tuple(assignments))
            if len(trials) >= self.depth:
                del self._hungry[group]

    def hand_one(self, group: int, trial: LiveTrial) -> Dispatch:
        """Give a trial to a group that has nothing, which takes no other besides."""
        self._groups[group][trial.number] = None
        del self._hungry[group]
        return Dispatch(group, (trial.dispatch(group),))
