"""The same grid of a NetPyNE project under netpyne.batchtools and under mpiens, side by side: numbers and wall time.

    python -m venv rival && rival/bin/pip install netpyne==1.1.1 neuron==9.0.2 batchtk ray[tune] optuna scikit-learn
    python benchmarks/batchtools.py --rival rival/bin/python [--concurrent 2] [--rounds 3]

Both run one batch script, which imports `search` from the one or the other, with as many trials at a time. They take
turns; the figure is the wall time of the whole script in seconds, with the least and the largest of the rounds behind
it. The results of every trial must be the same, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

_TIMEOUT_S = 1800

CFG = """
from netpyne.batchtools import specs
cfg = specs.SimConfig()
cfg.duration = 100
cfg.verbose = False
cfg.weights = {"E->I": 0.01, "in->E": 0.02}
cfg.counts = [5, 3]
cfg.pair = [1, 1]
cfg.update()
"""
NET_PARAMS = """
from netpyne import specs
from cfg import cfg
netParams = specs.NetParams()
for name, count in zip("EI", cfg.counts):
    netParams.popParams[name] = {"cellType": "A", "numCells": count}
netParams.cellParams["A"] = {"conds": {"cellType": "A"},
    "secs": {"soma": {"geom": {"diam": 10, "L": 10}, "mechs": {"hh": {}}}}}
netParams.synMechParams["e"] = {"mod": "ExpSyn", "tau": 2, "e": 0}
netParams.stimSourceParams["s"] = {"type": "NetStim", "rate": 60, "noise": 1.0}
netParams.stimTargetParams["t"] = {"source": "s", "conds": {"pop": "E"}, "weight": cfg.weights["in->E"], "delay": 1,
    "synMech": "e"}
netParams.connParams["E->I"] = {"preConds": {"pop": "E"}, "postConds": {"pop": "I"}, "weight": cfg.weights["E->I"],
    "delay": 2, "synMech": "e", "probability": 0.6}
"""
INIT = """
from netpyne.batchtools import specs, comm
from netpyne import sim
from cfg import cfg
from netParams import netParams
comm.initialize()
sim.createSimulate(netParams=netParams, simConfig=cfg)
if comm.is_host():
    times = sim.allSimData["spkt"]
    comm.send({"loss": abs(len(times) - 30.0) + cfg.pair[0] * cfg.pair[1], "spikes": len(times),
        "times_ms": round(sum(times), 3)})
    comm.close()
"""
BATCH = """
import sys
kind, concurrent = sys.argv[1], int(sys.argv[2])
if kind == "mpiens":
    from mpiens import search
    more = {}
else:
    from netpyne.batchtools.search import search
    more = dict(sample_interval=1, advanced_logging=False, max_concurrent=concurrent)
if __name__ == "__main__":
    search(job_type="sh", comm_type="sfs", run_config={"command": sys.executable + " init.py"},
        params={"weights.E->I": [0.005, 0.05], "counts.1": range(2, 4), "pair": [(1, 2), (3, 4)]},
        algorithm="variant_generator", label="grid", output_path="./batch", checkpoint_path="./checkpoint",
        metric="loss", mode="min", **more)
"""


def main() -> None:
    """Run both in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rival", required=True, help="Python of an environment with netpyne, batchtk and ray")
    parser.add_argument("--concurrent", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    mpiexec = Path(sys.executable).with_name("mpiexec")
    commands = {
        "mpiens": [mpiexec, "-n", str(options.concurrent + 1), sys.executable],
        # Not resolved: the interpreter of an environment is a link.
        "netpyne.batchtools": [Path(options.rival).absolute()],
    }
    times: dict[str, list[float]] = {kind: [] for kind in commands}
    found: dict[str, list[tuple[object, ...]]] = {}
    for _ in range(options.rounds):
        for kind, command in commands.items():
            with tempfile.TemporaryDirectory(prefix="mpiens-batchtools-") as name:
                folder = Path(name)
                elapsed_s = _run(folder, [*command, "batch.py", kind, str(options.concurrent)])
                times[kind].append(elapsed_s)
                found[kind] = _trials(folder / "grid.csv")
        if found["mpiens"] != found["netpyne.batchtools"]:
            sys.exit(f"the results differ:\n{found['mpiens']}\n{found['netpyne.batchtools']}")
    print(f"{len(found['mpiens'])} trials, {options.concurrent} at a time; the same results")
    for kind, all_s in times.items():
        print(f"{kind:<20}{median(all_s):>8.1f} s   {min(all_s):.1f} to {max(all_s):.1f}")
    ratios = [slow / fast for fast, slow in zip(*times.values(), strict=True)]
    print(f"{'ratio':<20}{median(ratios):>8.1f}     {min(ratios):.1f} to {max(ratios):.1f}")


def _run(folder: Path, command: list[str | Path]) -> float:
    for name, code in {"cfg": CFG, "netParams": NET_PARAMS, "init": INIT, "batch": BATCH}.items():
        (folder / f"{name}.py").write_text(code)
    start_s = time.monotonic()
    with (folder / "log").open("w") as log:
        status = subprocess.run(
            list(map(str, command)), cwd=folder, stdout=log, stderr=log, timeout=_TIMEOUT_S, check=False
        ).returncode
    elapsed_s = time.monotonic() - start_s
    if status or not (folder / "grid.csv").exists():
        shutil.copy(folder / "log", "batchtools-failed.log")
        sys.exit(f"{' '.join(map(str, command))} failed; see batchtools-failed.log")
    return elapsed_s


def _trials(table: Path) -> list[tuple[object, ...]]:
    """Parameters and results of each trial, in the order of parameters."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("weights.E->I", "counts.1", "loss", "spikes", "times_ms")
    return sorted((*ast.literal_eval(row["pair"]), *(float(row[name]) for name in numbers)) for row in rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
