"""What the driver must know of a run, and where the run is. Pure values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from mpiens.goals import Goals


class Phase(enum.Enum):
    """Where the run is."""

    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class DriverConfig:
    """What the driver must know of the run.

    Attributes:
        total: Trials that there will be at most.
        groups: How many groups will say that they are ready, or lost.
        batch: Size of a generation; 0: asynchronous.
        max_attempts: How often a trial may be dispatched.
        checkpoint_every_s: Time between checkpoints.
        goals: What is searched for.
        is_adaptive: The sampler learns from results, so that queueing far ahead would cost search quality.
        start_timeout_s: How long a group may take to be set up.
        drain_s: How long running trials may take when the run must stop.
        deadline_s: When the job will be ended from outside, on the clock of the ticks; None: never.
        wind_down_s: How long before that it begins to stop.
        attributes_deaths: When a rank is killed it is usually known which, and at which trial it was.
    """

    total: int
    groups: int
    batch: int = 0
    max_attempts: int = 1
    checkpoint_every_s: float = 60.0
    goals: Goals = field(default_factory=Goals)
    is_adaptive: bool = False
    start_timeout_s: float = 3600.0
    drain_s: float = 300.0
    deadline_s: float | None = None
    wind_down_s: float = 0.0
    attributes_deaths: bool = False
