"""Which columns a run has: the one place that knows the layout of results.h5 below its root. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from mpiens.history import MOST_BYTES
from mpiens.record import TrialRecord
from mpiens.store.columns import MISSING, Column
from mpiens.store.encode import column, fixed_column, text_column
from mpiens.store.forms import Form
from mpiens.trial import TrialState

Key = tuple[str, str]
"""Group and name of a column."""

Table = dict[Key, Column]
"""Columns of the same length."""

TRIALS, PARAMS, VALUES, RESULTS = "trials", "trials/params", "trials/values", "results"
GROUPS = (TRIALS, PARAMS, VALUES, RESULTS)
NUMBER: Key = (TRIALS, "number")
STATE: Key = (TRIALS, "state")
HISTORY: Key = (TRIALS, "history")
REPORTS: Key = (TRIALS, "reports")

STATES = {state.name: int(state) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}
"""Members of the enumeration in /trials/state."""

MOST_ERROR_BYTES = 1000
"""Longer causes are cut: every trial's cause takes as much room as the longest."""


def table(records: Sequence[TrialRecord], objectives: Iterable[str] = (), parameters: Iterable[str] = ()) -> Table:
    """The columns of these records; see `columns`."""
    return dict(columns(records, objectives, parameters))


def columns(
    records: Sequence[TrialRecord], objectives: Iterable[str] = (), parameters: Iterable[str] = ()
) -> Iterator[tuple[Key, Column]]:
    """The columns of these records, each worked out when it is asked for.

    Args:
        records: One a row, in this order.
        objectives: Names that have a column even when no record has a value.
        parameters: Likewise.
    """
    yield NUMBER, fixed_column((record.number for record in records), "i8")
    yield STATE, fixed_column((int(record.state) for record in records), "i1")
    yield (TRIALS, "attempt"), fixed_column((record.attempt for record in records), "i8")
    yield (TRIALS, "group"), fixed_column((record.group for record in records), "i8")
    yield (TRIALS, "seed"), fixed_column((record.seed for record in records), "i8")
    yield (TRIALS, "started_s"), fixed_column((record.started_s for record in records), "f8")
    yield (TRIALS, "elapsed_s"), fixed_column((record.elapsed_s for record in records), "f8")
    yield (TRIALS, "error"), text_column((record.error for record in records), MOST_ERROR_BYTES)
    yield HISTORY, text_column((record.history for record in records), MOST_BYTES)
    if any(record.reports for record in records):  # most runs report nothing
        yield REPORTS, column([np.array(record.reports) if record.reports else MISSING for record in records])
    for name in _names(parameters, (record.params for record in records)):
        yield (PARAMS, name), column([record.params.get(name, MISSING) for record in records], strict=True)
    complete = [record.values if record.state is TrialState.COMPLETE else {} for record in records]
    for name in _names(objectives, complete):
        yield (VALUES, name), fixed_column((values.get(name, float("nan")) for values in complete), "f8")
    for name in _names((), (record.results for record in records)):
        yield (RESULTS, name), column([record.results.get(name, MISSING) for record in records])


def absent_form(key: Key) -> Form:
    """Form of a column in a part of the run that does not have it."""
    return Form(has_missing=key[0] in (PARAMS, RESULTS) or key in (HISTORY, REPORTS), strict=key[0] == PARAMS)


def _names(declared: Iterable[str], mappings: Iterable[Mapping[str, object]]) -> list[str]:
    names = dict.fromkeys(declared)
    for mapping in mappings:
        if mapping.keys() - names.keys():
            names.update(dict.fromkeys(mapping))
    return list(names)
