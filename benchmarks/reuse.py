"""What keeping the network from trial to trial saves: the same trials with `model.reuse` and without, in turn.

    python benchmarks/reuse.py [--trials 40] [--rounds 5] [--ranks 1]

Two networks of 100 cells: one sparse, as `examples/network`, and one with eight times the connections, which takes long
to build. 20 ms of each are simulated, with other weights in each trial. The figure is a trial's median processor time,
on the group's root, in milliseconds, with the least and the largest of the rounds behind it; then the ratio of both
ways in each round. Results must be the same to the last bit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import h5py
import numpy as np
from launched import spread

from mpiens.launcher import launch_environment, mpiexec_argv

_TIMEOUT_S = 1800
NETWORKS = {"sparse": 0.05, "dense": 0.4}
SCRIPT = """
import time
from netpyne.batchtools import comm, sim, specs


cfg = specs.SimConfig()
cfg.duration, cfg.weight, cfg.probability, cfg.random123 = 20, 0.001, 0.05, True
cfg.saveCellSecs = cfg.saveCellConns = cfg.progressBar = False
cfg.update()
net = specs.NetParams()
net.popParams["E"] = {"cellType": "E", "numCells": 100}
net.cellParams["E"] = {"conds": {"cellType": "E"}, "secs": {"soma": {"geom": {"diam": 20, "L": 20},
    "mechs": {"hh": {}}}}}
net.synMechParams["exc"] = {"mod": "Exp2Syn", "tau1": 0.5, "tau2": 3, "e": 0}
net.stimSourceParams["in"] = {"type": "NetStim", "rate": 100, "noise": 1}
net.stimTargetParams["in->E"] = {"source": "in", "conds": {"pop": "E"}, "weight": 0.01, "delay": 1, "synMech": "exc"}
net.connParams["E->E"] = {"preConds": {"pop": "E"}, "postConds": {"pop": "E"}, "probability": cfg.probability,
    "weight": cfg.weight, "delay": "uniform(1, 5)", "synMech": "exc"}
sim.createSimulate(net, cfg)
if comm.is_host():
    comm.send({"cpu_s": time.process_time(), "spkt": sim.allSimData["spkt"], "spkid": sim.allSimData["spkid"]})
"""
SPEC = """
name: bench
model: {{netpyne: init.py, reuse: {reuse}, fixed: {{probability: {probability}}}}}
space: {{weight: {{linspace: [0.0001, 0.002, {trials}]}}}}
search: {{algorithm: grid}}
groups: {{size: {ranks}, max_concurrent: 1}}
"""


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=1, help="of a group")
    options = parser.parse_args()
    print(f"{'network':<10}{'built anew, ms':<26}{'kept, ms':<26}ratio")
    with tempfile.TemporaryDirectory(prefix="mpiens-reuse-") as name:
        folder = Path(name)
        (folder / "init.py").write_text(SCRIPT)
        for network, probability in NETWORKS.items():
            times: dict[str, list[float]] = {"false": [], "true": []}
            for _ in range(options.rounds):
                spikes = []
                for reuse, found in times.items():
                    text = SPEC.format(reuse=reuse, probability=probability, trials=options.trials, ranks=options.ranks)
                    (folder / "spec.yaml").write_text(text)
                    time_ms, data = _run(folder, options.ranks)
                    found.append(time_ms)
                    spikes.append(data)
                assert spikes[0] == spikes[1], "the results differ"
            ratios = [built / kept for built, kept in zip(times["false"], times["true"], strict=True)]
            columns = "".join(f"{spread(found, '.1f'):<26}" for found in times.values())
            print(f"{network:<10}{columns}{spread(ratios, '.2f')}", flush=True)


def _run(folder: Path, ranks: int) -> tuple[float, bytes]:
    """Median processor time of a trial in milliseconds, and all spikes."""
    launcher = mpiexec_argv(ranks + 1) if ranks > 1 else []
    subprocess.run(
        [*launcher, sys.executable, "-m", "mpiens", "run", "spec.yaml", "--overwrite", "--progress", "off"],
        cwd=folder,
        check=True,
        timeout=_TIMEOUT_S,
        stdout=subprocess.DEVNULL,
        env={**launch_environment(os.environ), "OMP_NUM_THREADS": "1"},
    )
    with h5py.File(folder / "bench.run" / "results.h5") as file:
        results = file["results"]
        data = b"".join(results[name]["values"][()].tobytes() for name in ("spkt", "spkid"))
        # From the end of one simulation to the end of the next; the first trials check, and warm up.
        return 1000 * float(median(np.diff(results["cpu_s"][()])[4:])), data


if __name__ == "__main__":
    main()
