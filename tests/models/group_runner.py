"""Runs trials on groups of ranks as a worker does; started under mpiexec by the tests.

Argument: a JSON file with `group_size`, `driver` (rank 0 stays out), `settings`, `trials` (number and params),
`keep_results` and `run_dir`. The root of each group writes `<output>.<group>` with an entry per trial.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from mpi4py import MPI

from mpiens.blame import describe_exception
from mpiens.messages import ModelSettings
from mpiens.models import build_model
from mpiens.models.base import GroupContext, Trial
from mpiens.record import plain_results
from mpiens.trial import trial_seed


def main(plan_path: str) -> None:
    """Run the plan."""
    plan = json.loads(Path(plan_path).read_text())
    world = MPI.COMM_WORLD
    first = int(plan["driver"])
    if world.rank < first:
        world.Split(MPI.UNDEFINED, 0)
        # A driver that imports NEURON would take part in collectives that are none of its business.
        assert "neuron" not in sys.modules
        return
    group = (world.rank - first) // plan["group_size"]
    comm = world.Split(group, world.rank)
    control = comm.Dup()
    model = build_model(ModelSettings(**plan["settings"]))
    context = GroupContext(comm, group, world.rank, Path(plan["run_dir"]))
    model.setup(context)
    entries = []
    for number, params in plan["trials"]:
        trial = Trial(context, number, 1, trial_seed(1, number), dict(params))
        error, returned = "", None
        try:
            with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink):
                returned = model.run(trial)
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - as a worker does
            error = describe_exception(raised, plan["settings"]["folder"])
        if comm.rank != 0:
            returned = None  # only the root's results count
        errors = control.allgather(error)
        model.clear()
        entries.append(
            {
                "number": number,
                "results": {name: exact(value) for name, value in plain_results(returned or {}).items()}
                if plan["keep_results"]
                else {},
                "errors": errors,
                "left": control.allgather(left_over()),
                "resident_kb": resident_kb(),
            }
        )
    if comm.rank == 0:
        Path(f"{plan_path}.{group}").write_text(json.dumps({"trials": entries, "neuron": "neuron" in sys.modules}))


def exact(value: Any) -> Any:
    """`value` in a form that JSON keeps to the last bit."""
    if hasattr(value, "tolist"):
        return [exact(item) for item in value.tolist()]
    return value.hex() if isinstance(value, float) else value


def left_over() -> list[int]:
    """Sections and connections that are still there."""
    if "neuron" not in sys.modules:
        return [0, 0]
    from neuron import h

    return [len(list(h.allsec())), int(h.List("NetCon").count())]


def resident_kb() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    main(sys.argv[1])
