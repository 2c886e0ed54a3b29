"""A simulation in NEURON that is looked at while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import SupportsFloat

from mpiens.errors import TrialError, TrialPruned, UsageError
from mpiens.models.base import Trial

_TINY = 1e-9


def psolve(trial: Trial, tstop_ms: float, every_ms: float, measure: Callable[[float], SupportsFloat | None]) -> None:
    """Do as ``ParallelContext.psolve(tstop_ms)``, report a measure at intervals, and stop when the trial is pruned.

    The simulation is run in pieces. NEURON takes the same time steps as without them, and the spikes are the same bit
    for bit. To be called on every rank of the group, after ``finitialize``, with the same times.

    Args:
        trial: The trial; its step is the number of the interval, from 1.
        tstop_ms: Where to stop.
        every_ms: Length of an interval of simulated time.
        measure: Called after each interval on every rank, with the time in ms, so that it may gather what it needs from
            all of them. What it returns on the group's root is reported: how good the trial is by now, in the terms of
            the objective.

    Raises:
        TrialError: What the measure returned on the group's root is no number.
        TrialPruned: The trial is to be given up. Not at the end, when nothing would be saved.
        UsageError: The times are none.
    """
    from neuron import h

    if not (every_ms > 0 and math.isfinite(every_ms) and math.isfinite(tstop_ms)):
        raise UsageError(f"psolve: expected finite times and an interval above 0, found {tstop_ms} and {every_ms} ms")
    pc, is_root = h.ParallelContext(), trial.comm.Get_rank() == 0
    last = math.ceil(tstop_ms / every_ms - _TINY)
    for step in range(int(h.t / every_ms + _TINY) + 1, last + 1):
        pc.psolve(min(step * every_ms, tstop_ms))
        value = measure(h.t)
        if is_root:
            if value is None:
                raise TrialError(
                    "psolve: measure returned None on the group's root; expected a number, NaN for none yet"
                )
            trial.report(value, step)
        if step < last and trial.should_prune():
            raise TrialPruned
