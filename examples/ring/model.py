"""A ring of cells that pass on a spike, in plain NEURON, its cells shared out over the ranks of the group."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuron import h

N_CELLS = 16
STARTERS = (0, 8)  # cells that get a current pulse
DURATION_MS = 250.0
TARGET_HZ = 30.0


class Cell:
    """One compartment with Hodgkin-Huxley channels and one synapse."""

    def __init__(self, gid: int, seed: int) -> None:
        self.soma = h.Section(name="soma", cell=self)
        self.soma.L = self.soma.diam = 20.0
        self.soma.insert("hh")
        # A stream per cell, so that a cell is the same whichever rank holds it.
        self.soma(0.5).hh.gl = 0.0003 * np.random.default_rng([seed, gid]).uniform(0.9, 1.1)
        self.synapse = h.ExpSyn(self.soma(0.5))
        self.synapse.tau = 2.0
        self.detector = h.NetCon(self.soma(0.5)._ref_v, None, sec=self.soma)
        self.detector.threshold = 0.0


def simulate(trial: Any) -> dict[str, Any] | None:
    """Run the ring once. Every rank of the group calls this; the first one returns the results."""
    pc = h.ParallelContext()
    try:
        return run_ring(pc, trial)
    finally:
        # Sections and point processes go with their last Python reference, which ended with run_ring.
        pc.gid_clear()


def run_ring(pc: Any, trial: Any) -> dict[str, Any] | None:
    """Build, run, gather."""
    rank, n_ranks = int(pc.id()), int(pc.nhost())
    cells = {gid: Cell(gid, trial.seed) for gid in range(rank, N_CELLS, n_ranks)}
    for gid, cell in cells.items():
        pc.set_gid2node(gid, rank)
        pc.cell(gid, cell.detector)

    connections = []
    for gid, cell in cells.items():
        connection = pc.gid_connect((gid - 1) % N_CELLS, cell.synapse)
        connection.weight[0] = trial.params["weight"]
        connection.delay = trial.params["delay"]
        connections.append(connection)

    pulses = []
    for gid in STARTERS:
        if gid in cells:
            pulse = h.IClamp(cells[gid].soma(0.5))
            pulse.delay, pulse.dur, pulse.amp = 2.0, 1.0, 2.0
            pulses.append(pulse)

    times, gids = h.Vector(), h.Vector()
    for gid in cells:
        pc.spike_record(gid, times, gids)

    h.CVode().active(False)
    h.dt = 0.025
    h.celsius = 6.3
    pc.set_maxstep(10)
    h.finitialize(-65.0)
    pc.psolve(DURATION_MS)

    spikes = trial.comm.gather((np.array(times), np.array(gids, dtype=np.int64)), root=0)
    if trial.comm.rank != 0:
        return None
    spikes_t = np.concatenate([part[0] for part in spikes])
    spikes_gid = np.concatenate([part[1] for part in spikes])
    order = np.lexsort((spikes_gid, spikes_t))
    rate = len(spikes_t) / N_CELLS / DURATION_MS * 1000.0
    return {
        "loss": (rate - TARGET_HZ) ** 2,
        "rate": rate,
        "spikes_t": spikes_t[order],
        "spikes_gid": spikes_gid[order],
    }
