"""What a process for each trial costs: trials in the rank, forked trials, and a new Python for each, side by side.

    python benchmarks/isolation.py [--trials 30] [--rounds 5]

Two models do nothing: one has imported nothing, the other NEURON and NetPyNE, which makes the process to fork larger.
All are run in turn, several rounds; the figure is the median time of a trial in milliseconds, with the least and the
largest of the rounds behind it.
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

_TIMEOUT_S = 600

MODELS = {"empty": "", "loaded": "from netpyne import sim, specs\n"}
CODE = "def simulate(trial):\n    return {'loss': 0.0}\n"
ALONE = "print('OUT', 0.0)\n"
KINDS = {
    "in the rank": "python: {name}.py:simulate",
    "isolation: process": "python: {name}.py:simulate, isolation: process",
    "a new Python": "command: ['{python}', {name}_alone.py], result: {{marker: OUT}}",
}


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mpiens-isolation-") as name:
        folder = Path(name)
        for model, imports in MODELS.items():
            (folder / f"{model}.py").write_text(imports + CODE)
            (folder / f"{model}_alone.py").write_text(imports + ALONE)
        times: dict[tuple[str, str], list[float]] = {}
        for _ in range(options.rounds):
            for model in MODELS:
                for kind, form in KINDS.items():
                    spec = _write_spec(folder, form.format(name=model, python=sys.executable), options.trials)
                    times.setdefault((model, kind), []).append(_run(spec))
    print(f"{'model':<10}{'trials run':<22}{'ms':>9}   least to largest")
    for (model, kind), found in times.items():
        print(f"{model:<10}{kind:<22}{median(found):>9.2f}   {min(found):.2f} to {max(found):.2f}")


def _write_spec(folder: Path, model: str, count: int) -> Path:
    spec = folder / "spec.yaml"
    spec.write_text(
        f"name: bench\nmodel: {{{model}}}\nspace: {{x: {{range: [0, {count}, 1]}}}}\n"
        "search: {algorithm: grid, objectives: {loss: minimize}}\n"
    )
    return spec


def _run(spec: Path) -> float:
    """Median time of a trial, in milliseconds."""
    subprocess.run(
        [sys.executable, "-m", "mpiens", "run", str(spec), "--overwrite", "--progress", "off"],
        check=True,
        timeout=_TIMEOUT_S,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with h5py.File(spec.with_name("bench.run") / "results.h5") as file:
        return 1000 * float(median(file["trials/elapsed_s"][()]))


if __name__ == "__main__":
    main()
