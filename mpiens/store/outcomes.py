"""How trials have ended, without their results: what the driver needs to take up a run again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpiens.record import Params, TrialRecord
from mpiens.reports import Report
from mpiens.store.columns import decode_text, decoded
from mpiens.store.files import explaining
from mpiens.store.hdf5 import node_path, opened
from mpiens.store.segment import Segment, read_rows
from mpiens.store.table import HISTORY, NUMBER, PARAMS, REPORTS, STATE, TRIALS, VALUES
from mpiens.trial import TrialState


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How trials have ended, a row each.

    Attributes:
        numbers: The trials, int64, ascending.
        attempts: Which dispatch it was, int64.
        states: int8, COMPLETE, PRUNED or FAIL.
        values: Objectives in the spec's order, NaN unless COMPLETE, ``[n, objectives]``.
        errors: Cause of each failure by its trial.
        histories: Attempts that have failed, by trial, of trials that had several attempts.
        reports: What trials have reported, by trial: step and value, float64 ``[k, 2]``.
    """

    numbers: np.ndarray
    attempts: np.ndarray
    states: np.ndarray
    values: np.ndarray
    errors: Mapping[int, str]
    histories: Mapping[int, str] = field(default_factory=dict)
    reports: Mapping[int, np.ndarray] = field(default_factory=dict)

    def reported(self, number: int) -> tuple[Report, ...]:
        """What a trial has reported, in the order of the steps."""
        found = self.reports.get(number)
        return () if found is None else tuple([(int(step), value) for step, value in found.tolist()])


def read_outcomes(segment: Segment, objectives: Sequence[str]) -> Outcomes:
    """Those of a segment's rows that count.

    Raises:
        StoreError: It cannot be read.
    """
    rows = segment.rows
    with opened(segment.path) as file, explaining(segment.path, "read how trials have ended"):
        numbers = file[node_path(NUMBER)][()][rows]
        states = file[node_path(STATE)][()][rows].astype(np.int8)
        attempts = file[node_path((TRIALS, "attempt"))][()][rows]
        values = np.full((len(rows), len(objectives)), np.nan)
        for index, name in enumerate(objectives):
            path = node_path((VALUES, name))
            if path in file:
                values[:, index] = file[path][()][rows]
        failed = np.flatnonzero(states == TrialState.FAIL)
        texts = file[node_path((TRIALS, "error"))][()][rows[failed]] if len(failed) else np.zeros(0, dtype="S1")
        errors = dict(zip(numbers[failed].tolist(), decode_text(texts).tolist(), strict=True))
        histories = {}
        again = np.flatnonzero(attempts > 1)
        if len(again) and node_path(HISTORY) in file:
            texts = file[node_path(HISTORY)][()][rows[again]]
            histories = dict(zip(numbers[again].tolist(), decode_text(texts).tolist(), strict=True))
        reports = {}
        if REPORTS in segment.forms:
            found = read_rows(file, segment, REPORTS, rows)
            absent = set(found.missing.tolist())
            pairs = zip(numbers.tolist(), decoded(found), strict=True)
            reports = {number: data for row, (number, data) in enumerate(pairs) if row not in absent}
    return Outcomes(numbers, attempts, states, values, errors, histories, reports)


def outcomes_of(records: Mapping[int, TrialRecord], objectives: Sequence[str]) -> Outcomes:
    """Those of records in memory."""
    found = list(records.values())
    nan = float("nan")
    rows = [[record.values.get(name, nan) for name in objectives] for record in found]
    return Outcomes(
        np.array([record.number for record in found], dtype=np.int64),
        np.array([record.attempt for record in found], dtype=np.int64),
        np.array([record.state for record in found], dtype=np.int8),
        np.array(rows, dtype=float).reshape(len(found), len(objectives)),
        {record.number: record.error for record in found if record.state is TrialState.FAIL},
        {record.number: record.history for record in found if record.attempt > 1},
        {record.number: np.array(record.reports) for record in found if record.reports},
    )


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """All of these, by number."""
    numbers = np.concatenate([part.numbers for part in parts])
    order = np.argsort(numbers, kind="stable")
    return Outcomes(
        numbers[order],
        np.concatenate([part.attempts for part in parts])[order],
        np.concatenate([part.states for part in parts])[order],
        np.concatenate([part.values for part in parts])[order],
        {number: error for part in parts for number, error in part.errors.items()},
        {number: history for part in parts for number, history in part.histories.items()},
        {number: reports for part in parts for number, reports in part.reports.items()},
    )


def read_points(segment: Segment, numbers: Collection[int]) -> dict[int, Params]:
    """Parameters of those of these trials that have a row here.

    Raises:
        StoreError: It cannot be read.
    """
    wanted = np.fromiter(numbers, dtype=np.int64, count=len(numbers))
    rows = segment.rows[np.isin(segment.numbers[segment.rows], wanted)]
    points: dict[int, Params] = {number: {} for number in segment.numbers[rows].tolist()}
    if not points:
        return points
    with opened(segment.path) as file, explaining(segment.path, "read parameters"):
        for key in segment.forms:
            if key[0] == PARAMS:
                values = decoded(read_rows(file, segment, key, rows))
                plain = values.tolist() if isinstance(values, np.ndarray) else values
                for point, value in zip(points.values(), plain, strict=True):
                    point[key[1]] = value.tolist() if isinstance(value, np.ndarray) else value
    return points
