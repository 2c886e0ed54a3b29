"""Spikes of one trial as a table."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_TIMES_AND_CELLS = (("spikes.t_ms", "spikes.gid"), ("spkt", "spkid"))
"""What ``model.results: [spikes]`` makes, and what scripts send under NetPyNE's own names."""


def has_spikes(names: Container[str]) -> bool:
    """True when results of these names hold spikes."""
    return any(times in names and cells in names for times, cells in _TIMES_AND_CELLS)


def spike_table(pandas: Any, names: Container[str], value: Callable[[str], Any]) -> pd.DataFrame:
    """Columns ``t_ms``, ``gid`` and, where it is known, ``pop``; a row a spike, by time.

    Args:
        pandas: The library.
        names: Names of the results.
        value: A result of the trial by its name; None where the trial has none.
    """
    times, cells = next(pair for pair in _TIMES_AND_CELLS if pair[0] in names and pair[1] in names)
    t_ms, gid = (_column(value(name), dtype) for name, dtype in ((times, float), (cells, np.int64)))
    order = np.lexsort((gid, t_ms))
    columns: dict[str, Any] = {"t_ms": t_ms[order], "gid": gid[order]}
    if "spikes.pop_of_gid" in names:
        pops = np.append(_column(value("spikes.pops"), np.str_), "").astype(object)
        pop_of_gid = _column(value("spikes.pop_of_gid"), np.int64)
        is_known = columns["gid"] < len(pop_of_gid)
        # Index -1 is the empty name behind the others.
        index = np.full(len(gid), -1, dtype=np.int64)
        index[is_known] = pop_of_gid[columns["gid"][is_known]]
        columns["pop"] = pandas.Categorical(pops[index], categories=[pop for pop in pops if pop])
    table: pd.DataFrame = pandas.DataFrame(columns)
    return table


def _column(value: Any, dtype: Any) -> np.ndarray:
    return np.asarray([] if value is None else value).ravel().astype(dtype)
