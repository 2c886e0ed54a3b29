"""Whether memory and time of NetPyNE trials stay flat over a long run in one process.

    python benchmarks/long_run.py [--trials 500] [--isolation process | --serial | --reuse]

The network of `examples/network`, 50 ms of it, again and again on one rank beside the driver, or in the driver's own
process. Each trial sends the
memory of its process and the processor time that the process has used. Goals: memory within 5 %, time of a trial within
10 %, between the tenth trial and the last. NEURON 9.0 itself loses 96 bytes for each Vector, NetCon, Random, List or
ParallelContext that is made from Python: about 23 kB a trial with this network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from mpiens.launcher import launch_environment, mpiexec_argv

NETWORK = Path(__file__).resolve().parents[1] / "examples" / "network"
SENDING = """
import os, time
from pathlib import Path
pages = int(Path("/proc/self/statm").read_text().split()[1])
comm.send({"rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6, "cpu_s": time.process_time()})
"""
SPEC = """
name: long
model: {{netpyne: init.py, fixed: {{duration: 50}}, isolation: {isolation},
  reuse: {reuse}}}
space: {{input_hz: {{linspace: [60.0, {last}, {trials}]}}}}
search: {{algorithm: grid}}
"""
WINDOW = 50


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--isolation", choices=("none", "process"), default="none")
    parser.add_argument("--serial", action="store_true", help="one rank drives and simulates")
    parser.add_argument("--reuse", action="store_true", help="keep the network; the input differs from trial to trial")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mpiens-long-run-") as name:
        folder = Path(name)
        shutil.copytree(NETWORK, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.run", "__pycache__"))
        script = folder / "init.py"
        script.write_text(script.read_text().replace("comm.close()", SENDING))
        (folder / "spec.yaml").write_text(_spec(options))
        subprocess.run(
            [
                *([] if options.serial else mpiexec_argv(2)),
                sys.executable,
                "-m",
                "mpiens",
                "run",
                "spec.yaml",
                "--progress",
                "off",
            ],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**launch_environment(os.environ), "OMP_NUM_THREADS": "1"},
        )
        with h5py.File(folder / "long.run" / "results.h5") as file:
            rss_mb, cpu_s = file["results/rss_mb"][()], file["results/cpu_s"][()]
    window = min(WINDOW, options.trials // 4)
    growth = rss_mb[-1] / rss_mb[9] - 1
    kb_a_trial = 1000 * (rss_mb[-1] - rss_mb[9]) / (options.trials - 10)
    print(f"memory  {rss_mb[9]:.1f} MB to {rss_mb[-1]:.1f} MB, {growth:+.1%}, {kb_a_trial:+.1f} kB a trial")
    if options.isolation == "none":
        times = np.diff(cpu_s)
        first, last = np.median(times[9 : 9 + window]), np.median(times[-window:])
        print(f"time    {first:.4f} s to {last:.4f} s of processor time (medians of {window}), {last / first - 1:+.1%}")


def _spec(options: argparse.Namespace) -> str:
    last_hz = 61.0 if options.reuse else 60.0
    return SPEC.format(
        trials=options.trials, isolation=options.isolation, reuse=str(options.reuse).lower(), last=last_hz
    )


if __name__ == "__main__":
    main()
