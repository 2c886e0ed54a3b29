"""How a run is going: what rank 0 counts and measures for those who watch."""

from __future__ import annotations

import time

from mpiens.driver import Driver
from mpiens.runtime.observer import Snapshot
from mpiens.runtime.prepare import Job
from mpiens.trial import TrialState


class Gauge:
    """Measures one run.

    Args:
        job: What runs.
        driver: Who decides, and counts.

    Attributes:
        start_s: When it began, on `time.monotonic`'s clock.
        ticked_s: The last tick.
        lost_ranks: Ranks that have died.
    """

    def __init__(self, job: Job, driver: Driver) -> None:
        self._job = job
        self._driver = driver
        self._done_before = driver.tally.done
        self.start_s = time.monotonic()
        self.ticked_s = self.start_s
        self.lost_ranks = 0
        self._busy_s = 0.0
        self._ready_s = 0.0
        self._first_ready_s: float | None = None

    def ready(self) -> None:
        """A group is set up."""
        self._first_ready_s = self._first_ready_s or time.monotonic()

    def tick(self, now_s: float) -> None:
        """Time has passed."""
        passed_s = now_s - self.ticked_s
        self.ticked_s = now_s
        self._busy_s += self._driver.busy_groups * passed_s
        self._ready_s += self._driver.ready_groups * passed_s

    def snapshot(self, state: str = "running") -> Snapshot:
        """The run now."""
        tally, layout = self._driver.tally, self._job.layout
        elapsed_s = time.monotonic() - self.start_s
        working_s = 0.0 if self._first_ready_s is None else time.monotonic() - self._first_ready_s
        rate_per_s = (tally.done - self._done_before) / working_s if working_s > 0 else 0.0
        return Snapshot(
            name=self._job.loaded.spec.name,
            run_dir=self._job.run_dir,
            state=state,
            objectives=self._job.setup.objectives,
            total=tally.total,
            complete=tally.finished[TrialState.COMPLETE],
            pruned=tally.finished[TrialState.PRUNED],
            failed=tally.finished[TrialState.FAIL],
            running=self._driver.running,
            retried=tally.retried,
            elapsed_s=elapsed_s,
            rate_per_s=rate_per_s,
            time_left_s=(tally.total - tally.done) / rate_per_s if rate_per_s else None,
            best=tally.best,
            causes=dict(tally.causes),
            repeated=dict(tally.repeated),
            groups=len(layout.groups),
            group_size=layout.group_size,
            lost_groups=len(tally.lost_groups),
            lost_ranks=self.lost_ranks,
            busy_share=self._busy_share(),
            front=tuple(tally.front),
            ranks=layout.world_size,
        )

    def _busy_share(self) -> float:
        since_tick_s = time.monotonic() - self.ticked_s
        ready_s = self._ready_s + self._driver.ready_groups * since_tick_s
        # What finished trials took is exact, but leaves out the running ones; the samples of the ticks have both.
        busy_s = max(self._busy_s, self._driver.tally.busy_s)
        return min(1.0, busy_s / ready_s) if ready_s else 0.0
