"""Which points of a run have no record."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from mpiens.record import Params
from mpiens.runtime.growth import run_points
from mpiens.runtime.recovery import find_checkpoint
from mpiens.samplers.grid import GridSampler


def missing_points(run_dir: Path, recorded: Collection[int], total: int) -> Iterator[tuple[int, Params]]:
    """Trials without a record and their points: all of a grid's, of a sampler's those that were chosen already.

    Args:
        run_dir: The run directory.
        recorded: Trials with a record.
        total: Trials that there will be.
    """
    parts = run_points(run_dir)
    if parts:
        points = sum(part.count() for part in parts)
        sampler = GridSampler(parts, total // points if points else 0)
        yield from (pair for pair in enumerate(sampler.points_from(0)) if pair[0] not in recorded)
        return
    saved = find_checkpoint(run_dir).saved
    for number, _attempt, _group, params, *_ in sorted(saved.pending if saved else [], key=lambda trial: trial[0]):
        if number not in recorded:
            yield number, params
