"""What share of their time groups wait for the driver while its sampler thinks.

    python benchmarks/starving.py [--groups 64] [--trial 1.0] [--finished 10000] [--trials 1500] [--algorithm tpe]

The real driver and the real sampler, groups that are simulated: the clock is virtual, advances by the CPU time that the
driver and the sampler really take, and jumps to the next end of a trial when they have nothing to do. A trial takes
--trial seconds, give or take a tenth. Messages, results on disk and MPI are left out (see dispatch.py for their cost).
With and without asking ahead; the run begins after --finished trials.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
import warnings
from collections import deque

from asking import OURS, loss, points

from mpiens.driver import Driver, DriverConfig, Start, machine
from mpiens.driver.actions import Action, Ask, Dispatch, Shutdown, Tell
from mpiens.driver.events import Asked, Event, GroupReady, Idle, Stored
from mpiens.driver.tally import Tally
from mpiens.messages import Assignment, Result
from mpiens.samplers import FinishedTrial, Past, PastTrial, Plan
from mpiens.samplers.optuna import OptunaSampler
from mpiens.trial import TrialState


class Simulation:
    """Groups, a clock, and a driver."""

    def __init__(self, algorithm: str, groups: int, trial_s: float, finished: int, trials: int, batch: int) -> None:
        total = finished + trials
        self.sampler = OptunaSampler(Plan(algorithm, total, seed=-2, directions=("minimize",)), OURS)
        past = [
            PastTrial(params, FinishedTrial(number, TrialState.COMPLETE, loss(params, False)))
            for number, params in enumerate(points(finished))
        ]
        self.sampler.restore(Past(finished, (), past))
        tally = Tally(total)
        tally.finished[TrialState.COMPLETE] = finished
        self.driver = Driver(DriverConfig(total, groups, batch, is_adaptive=True), Start(finished, tally))
        self.chance = random.Random(1)
        self.trial_s = trial_s
        self.now_s = 0.0
        self.free_since_s = dict.fromkeys(range(groups), 0.0)
        self.waited_s: list[float] = []
        self.ends: list[tuple[float, int, Assignment]] = []
        self.is_over = False
        self.groups = groups

    def run(self) -> tuple[float, float]:
        """Shares of the groups' time spent on waiting: all, and after each group's first trial."""
        self.handle(*map(GroupReady, range(self.groups)))
        while not self.is_over:
            arrived = []
            while self.ends and self.ends[0][0] <= self.now_s:
                end_s, group, assignment = heapq.heappop(self.ends)
                values = loss(assignment.params, False)
                ended = Result(assignment.number, 1, TrialState.COMPLETE, values, 0.0, self.trial_s, "", False, b"r")
                self.free_since_s[group] = end_s
                arrived.append(Stored(group, (ended,)))
            if arrived:
                self.handle(*arrived)
            elif self.driver.wants_point:
                self.handle(Idle())
            elif self.ends:
                self.now_s = max(self.now_s, self.ends[0][0])
        later = self.waited_s[self.groups :]
        return share(self.waited_s, self.trial_s), share(later, self.trial_s)

    def handle(self, *events: Event) -> None:
        start_s = time.process_time()
        actions: deque[Action] = deque(self.driver.handle(*events))
        sent: list[Dispatch] = []
        while actions:
            action = actions.popleft()
            if isinstance(action, Ask):
                actions.extend(self.driver.handle(Asked(self.sampler.ask(action.count))))
            elif isinstance(action, Tell):
                self.sampler.tell(action.trials)
            elif isinstance(action, Dispatch):
                sent.append(action)
            elif isinstance(action, Shutdown):
                self.is_over = True
        self.now_s += time.process_time() - start_s
        for dispatch in sent:
            (assignment,) = dispatch.assignments
            self.waited_s.append(self.now_s - self.free_since_s[dispatch.group])
            lasts_s = self.trial_s * self.chance.uniform(0.9, 1.1)
            heapq.heappush(self.ends, (self.now_s + lasts_s, dispatch.group, assignment))


def share(waited_s: list[float], trial_s: float) -> float:
    return sum(waited_s) / (sum(waited_s) + trial_s * len(waited_s))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--algorithm", default="tpe")
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--trial", type=float, default=1.0)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=0, help="generations of so many; groups wait for their ends too")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    ahead = machine.ASKED_AHEAD
    for label, value in (("asking ahead", ahead), ("not ahead", 0.0), ("asking ahead", ahead), ("not ahead", 0.0)):
        machine.ASKED_AHEAD = value
        simulation = Simulation(
            chosen.algorithm, chosen.groups, chosen.trial, chosen.finished, chosen.trials, chosen.batch
        )
        whole, steady = simulation.run()
        print(f"{label:13} groups wait {whole:7.2%} of their time, {steady:7.2%} after their first trial", flush=True)


if __name__ == "__main__":
    main()
