"""How many trials a second the driver can hand out: mpiens beside mpi4py.futures and a bare send/recv loop.

    python benchmarks/dispatch.py [--trials 20000] [--repetitions 5]

All three run no-op trials with two parameters on one driver and three workers of this machine, interleaved. mpiens
goes its full path: a grid, dispatch, the model's call, the record, the journal with its checksum. Its time runs from
the first trial's start to the last one's end, as stored in results.h5. The bare loop sends pickled tuples with two in
flight per worker and stores nothing; mpi4py.futures maps a function without chunks. Rates are medians with their
range; ratios are taken repetition by repetition.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from launched import launch, spread, trial_rate

RANKS = 4

MODEL = """
def nothing(trial):
    return {"loss": trial.params["x"]}
"""
SPEC = """
name: dispatch
model: {{python: model.py:nothing}}
space:
  x: {{range: [0, {rows}, 1]}}
  y: {{range: [0, 100, 1]}}
search: {{algorithm: grid, objectives: {{loss: minimize}}}}
"""
BARE = """
import sys, time
from mpi4py import MPI
comm, status, count = MPI.COMM_WORLD, MPI.Status(), int(sys.argv[1])
comm.Barrier()
if comm.rank == 0:
    start = time.perf_counter()
    sent = received = 0
    for _ in range(2):
        for worker in range(1, comm.size):
            comm.send((sent, {"x": sent, "y": 1}), worker)
            sent += 1
    while received < count:
        comm.recv(source=MPI.ANY_SOURCE, status=status)
        received += 1
        if sent < count:
            comm.send((sent, {"x": sent, "y": 1}), status.Get_source())
            sent += 1
    print("RATE", count / (time.perf_counter() - start))
    for worker in range(1, comm.size):
        comm.send(None, worker)
else:
    while (task := comm.recv(source=0)) is not None:
        comm.send((task[0], {"loss": task[1]["x"]}), 0)
"""
FUTURES = """
import sys, time
from mpi4py.futures import MPICommExecutor
def nothing(params):
    return {"loss": params["x"]}
if __name__ == "__main__":
    count = int(sys.argv[1])
    with MPICommExecutor() as executor:
        if executor is not None:
            list(executor.map(nothing, ({"x": i, "y": 1} for i in range(100))))
            start = time.perf_counter()
            for _ in executor.map(nothing, ({"x": i, "y": 1} for i in range(count)), unordered=True):
                pass
            print("RATE", count / (time.perf_counter() - start))
"""


def mpiens_rate(folder: Path, trials: int) -> float:
    """Trials a second through the whole of mpiens."""
    launch(folder, RANKS, "-m", "mpiens", "run", "spec.yaml", "--overwrite", "--progress", "off")
    return trial_rate(folder / "dispatch.run", trials)


def script_rate(folder: Path, script: str, trials: int) -> float:
    """The rate that a script prints."""
    said = launch(folder, RANKS, *(("-m", "mpi4py.futures") if script == "futures.py" else ()), script, str(trials))
    return float(said.split("RATE")[1].split()[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    trials = options.trials // 100 * 100
    rates: dict[str, list[float]] = {"mpiens": [], "bare loop": [], "mpi4py.futures": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.py").write_text(MODEL)
        (folder / "spec.yaml").write_text(SPEC.format(rows=trials // 100))
        (folder / "bare.py").write_text(BARE)
        (folder / "futures.py").write_text(FUTURES)
        for _ in range(options.repetitions):
            rates["mpiens"].append(mpiens_rate(folder, trials))
            rates["bare loop"].append(script_rate(folder, "bare.py", trials))
            rates["mpi4py.futures"].append(script_rate(folder, "futures.py", trials))
    for contender, values in rates.items():
        print(f"{contender:<15} {spread(values, ',.0f')} trials/s")
    for contender in ("bare loop", "mpi4py.futures"):
        ratios = [ours / theirs for ours, theirs in zip(rates["mpiens"], rates[contender], strict=True)]
        print(f"mpiens / {contender:<15} {spread(ratios, '.2f')}")
    if options.json:
        options.json.write_text(json.dumps(rates))


if __name__ == "__main__":
    main()
