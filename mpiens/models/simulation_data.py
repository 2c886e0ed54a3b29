"""Parts of NetPyNE's simulation data that a spec names in `model.results`.

=========  =========================================================================================================
part       results
=========  =========================================================================================================
spikes     ``spikes.t_ms`` and ``spikes.gid``, a spike each, ordered by time, then cell; ``spikes.pops``, names of the
           populations, and ``spikes.pop_of_gid``, the index of each cell's population there (-1: no cell)
rates      ``rates.<population>`` in Hz: spikes by cell and second, over the whole simulation
traces     ``traces.t_ms`` where time was recorded, and for every name in ``cfg.recordTraces``
           ``traces.<name>``, ``[cells, samples]``, and ``traces.<name>.gid``, the cell of each row
lfp        ``lfp``, ``[samples, electrodes]``, in mV
any other  the entry of that name in ``sim.allSimData``, as it is
=========  =========================================================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mpiens.errors import TrialError


def take_results(names: Sequence[str], sim: Any) -> dict[str, object]:
    """These parts of the data that `sim`, NetPyNE's module, has gathered on this rank.

    Raises:
        TrialError: Nothing was gathered, or there is no such part.
    """
    data = getattr(sim, "allSimData", None)
    if not isinstance(data, Mapping) or not data:
        raise TrialError(
            "model.results: the script has gathered no data, or cleared it; call sim.gatherData() after sim.runSim()"
        )
    results: dict[str, object] = {}
    for name in names:
        results.update(_PARTS[name](sim, data) if name in _PARTS else {name: _entry(name, data)})
    return results


def _entry(name: str, data: Mapping[str, Any]) -> object:
    if name not in data:
        near = difflib.get_close_matches(name, [*_PARTS, *map(str, data)], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join([*_PARTS, *sorted(map(str, data))])}"
        raise TrialError(f"model.results: no part {name!r} in sim.allSimData; {hint}")
    return data[name]


def _spikes(sim: Any, data: Mapping[str, Any]) -> dict[str, object]:
    t_ms, gid = _spike_columns(data)
    pops = _cells_by_pop(sim)
    last = max((cells.max() for cells in pops.values() if len(cells)), default=-1)
    pop_of_gid = np.full(int(last) + 1, -1, dtype=np.int32)
    for index, cells in enumerate(pops.values()):
        pop_of_gid[cells] = index
    return {
        "spikes.t_ms": t_ms,
        "spikes.gid": gid,
        "spikes.pops": np.array(list(pops), dtype=np.str_),
        "spikes.pop_of_gid": pop_of_gid,
    }


def _rates(sim: Any, data: Mapping[str, Any]) -> dict[str, object]:
    _t_ms, gid = _spike_columns(data)
    duration_s = float(sim.cfg.duration) / 1000
    return {
        f"rates.{pop}": float(np.isin(gid, cells).sum() / len(cells) / duration_s)
        for pop, cells in _cells_by_pop(sim).items()
        if len(cells)
    }


def _traces(sim: Any, data: Mapping[str, Any]) -> dict[str, object]:
    names = list(getattr(sim.cfg, "recordTraces", {}))
    if not names:
        raise TrialError("model.results: traces: the script records none; name some in cfg.recordTraces")
    results: dict[str, object] = {}
    if len(data.get("t", ())):
        results["traces.t_ms"] = np.asarray(data["t"], dtype=float)
    for name in names:
        rows = {int(str(cell).rpartition("_")[2]): np.asarray(row, dtype=float) for cell, row in _rows(name, data)}
        if not rows:
            cells = list(getattr(sim.cfg, "recordCells", ())) + list(
                getattr(sim.cfg, "analysis", {}).get("plotTraces", ())
            )
            why = "does any cell have it?" if cells else "cfg.recordCells is empty; name cells there, or ['all']"
            raise TrialError(f"model.results: traces: nothing was recorded for {name!r}; {why}")
        if len({len(row) for row in rows.values()}) > 1:
            raise TrialError(f"model.results: traces: those of {name!r} differ in length; record with a fixed step")
        results[f"traces.{name}"] = np.array([rows[gid] for gid in sorted(rows)])
        results[f"traces.{name}.gid"] = np.array(sorted(rows), dtype=np.int64)
    return results


def _rows(name: str, data: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    found = data.get(name)
    return list(found.items()) if isinstance(found, Mapping) else []


def _lfp(sim: Any, data: Mapping[str, Any]) -> dict[str, object]:  # noqa: ARG001 - the form of a part
    if "LFP" not in data:
        raise TrialError("model.results: lfp: the script records none; give cfg.recordLFP the electrodes' positions")
    return {"lfp": np.asarray(data["LFP"], dtype=float)}


_PARTS: dict[str, Callable[[Any, Mapping[str, Any]], dict[str, object]]] = {
    "spikes": _spikes,
    "rates": _rates,
    "traces": _traces,
    "lfp": _lfp,
}


def _spike_columns(data: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    t_ms, gid = np.asarray(data["spkt"], dtype=float), np.asarray(data["spkid"], dtype=np.int64)
    # The order in which ranks have sent them must not matter.
    order = np.lexsort((gid, t_ms))
    return t_ms[order], gid[order]


def _cells_by_pop(sim: Any) -> dict[str, np.ndarray]:
    pops = getattr(sim.net, "allPops", {})
    return {str(name): np.asarray(pop["cellGids"], dtype=np.int64) for name, pop in pops.items()}
