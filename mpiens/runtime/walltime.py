"""When the job must have ended: `limits.walltime`, or what the scheduler says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mpiens.driver.stopping import wind_down_s
from mpiens.runtime.prepare import Job


@dataclass(frozen=True, slots=True)
class Allotment:
    """The time that a scheduler gives this job; seconds since 1970 (UTC).

    Attributes:
        began_s: Its start; None: not known.
        ends_s: When it is ended; None: not known, or never.
        problem: Why something is not known; empty where that is as it should be.
    """

    began_s: float | None = None
    ends_s: float | None = None
    problem: str = ""


def with_deadline(job: Job, ask_scheduler: Callable[[], Allotment]) -> Job:
    """The job with the end of its time, if it has one.

    Args:
        job: What to run.
        ask_scheduler: Finds out what the scheduler says.
    """
    limits = job.loaded.spec.limits
    allotment = ask_scheduler()
    now_s = time.time()
    began_s = now_s - _age_s() if allotment.began_s is None else allotment.began_s
    warnings = job.warnings
    if limits.walltime != "auto":
        ends_s = began_s + limits.walltime
    elif allotment.ends_s is not None:
        ends_s = allotment.ends_s
    else:
        if allotment.problem:
            warnings += (f"limits.walltime: auto: {allotment.problem}; the run does not stop by itself in time",)
        return replace(job, warnings=warnings, driver=replace(job.driver, drain_s=limits.drain))
    driver = replace(
        job.driver,
        drain_s=limits.drain,
        deadline_s=time.monotonic() + ends_s - now_s,
        wind_down_s=wind_down_s(limits.drain, max(0.0, ends_s - began_s)),
    )
    return replace(job, warnings=warnings, driver=driver)


def _age_s() -> float:
    """How long this process has lived."""
    try:
        # The start, in ticks since the system's own, is field 22; the name before may hold blanks and brackets.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, uptime_s - ticks / os.sysconf("SC_CLK_TCK"))
