"""What waiting costs: processor time of the driver and of idle groups during a run whose trials sleep.

    python benchmarks/idle.py [--seconds 20]

Five ranks: the driver, two groups of two, of which one has a sleeping trial and the other has none, because the space
has one point only. From the second second on, the processor time of each rank is read from the operating system at
the start and at the end of the interval. Goal: below 5 % of a core each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from mpiens.launcher import launch_environment, mpiexec_argv

MODEL = """
import os, pathlib, time
here = pathlib.Path(__file__).parent

from mpi4py import MPI
(here / f"pid{MPI.COMM_WORLD.rank}").write_text(str(os.getpid()))

def sleep(trial):
    (here / f"busy{MPI.COMM_WORLD.rank}").touch()
    time.sleep(trial.params["seconds"])
    return {"loss": 0}
"""
SPEC = """
name: idle
model: {{python: model.py:sleep}}
space: {{seconds: [{seconds}]}}
search: {{algorithm: grid, objectives: {{loss: minimize}}}}
groups: {{size: 2}}
"""
TIMEOUT_S = 120


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.py").write_text(MODEL)
        (folder / "spec.yaml").write_text(SPEC.format(seconds=seconds + 4))
        # Rank 0 is not in any group and does not import the model: the shell tells its process.
        run = subprocess.Popen(
            [*mpiexec_argv(5), sys.executable, "-m", "mpiens", "run", "spec.yaml", "--progress", "off"],
            cwd=folder,
            env=launch_environment(os.environ),
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline_s = time.monotonic() + TIMEOUT_S
            while len(list(folder.glob("pid*"))) < 4 or len(list(folder.glob("busy*"))) < 2:
                if time.monotonic() > deadline_s or run.poll() is not None:
                    sys.exit("the run has not started")
                time.sleep(0.1)
            time.sleep(2)
            groups = {int((folder / f"pid{rank}").read_text()): f"rank {rank}" for rank in range(1, 5)}
            python = [p for p in psutil.Process(run.pid).children(recursive=True) if "mpiens" in p.cmdline()]
            ranks = {p: groups.get(p.pid, "rank 0") for p in python if p.pid in groups or "mpiexec" not in p.name()}
            ranks = {p: label for p, label in ranks.items() if "python" in p.name()}
            before = {p: sum(p.cpu_times()[:2]) for p in ranks}
            start_s = time.monotonic()
            time.sleep(seconds)
            passed_s = time.monotonic() - start_s
            roles = {f"rank {rank}": "idle" for rank in range(1, 5)} | {"rank 0": "driver"}
            roles |= {f"rank {mark.name[4:]}": "in the trial" for mark in folder.glob("busy*")}
            for process, label in sorted(ranks.items(), key=lambda item: item[1]):
                share = (sum(process.cpu_times()[:2]) - before[process]) / passed_s
                print(f"{label}  {share:6.2%} of a core  ({roles[label]})")
            run.wait(TIMEOUT_S)
        finally:
            run.kill()


if __name__ == "__main__":
    main()
