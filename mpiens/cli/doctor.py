"""``mpiens doctor``: what this environment uses, and whether it fits together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from mpiens.errors import EXIT_FAILED, MpiensError
from mpiens.launcher import find_mpiexec, launch_environment, mpiexec_argv

_TIMEOUT_S = 120

_MPI_PROBE = """
import json
from mpi4py import MPI
maps = open("/proc/self/maps").read().split()
paths = sorted({part for part in maps if part.startswith("/") and "libmpi" in part.rpartition("/")[2]})
print("MPIENS" + json.dumps({"rank": MPI.COMM_WORLD.rank, "size": MPI.COMM_WORLD.size,
    "library": MPI.Get_library_version().split("\\n")[0].strip("\\x00 "), "paths": paths}))
"""
_HDF5_PROBE = """
import json
import h5py
print("MPIENS" + json.dumps({"h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version,
    "parallel": bool(h5py.get_config().mpi)}))
"""
_NEURON_PROBE = """
import json
from mpi4py import MPI
from mpiens.models.neuron import attach
attach(MPI.COMM_WORLD)
from neuron import h
import neuron
pc = h.ParallelContext()
print("MPIENS" + json.dumps({"rank": MPI.COMM_WORLD.rank, "neuron": neuron.__version__, "nhost": int(pc.nhost())}))
"""


@click.command()
def doctor() -> int:
    """Show which MPI, HDF5 and NEURON each part loads, and whether they fit together."""
    problems: list[str] = []
    _say("python", f"{sys.version.split()[0]} at {sys.executable}")
    _say("mpiens", _version("mpiens"))
    _check_mpi(problems)
    _check_hdf5(problems)
    _check_neuron(problems)
    compiler = shutil.which("c++") or shutil.which("g++")
    _say("compiler", compiler or "none found; needed only for model.mechanisms")
    for problem in problems:
        click.echo(f"problem: {problem}")
    click.echo("everything fits together" if not problems else f"{len(problems)} problem(s)")
    return EXIT_FAILED if problems else 0


def _say(part: str, text: str) -> None:
    click.echo(f"{part:<9} {text}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _check_mpi(problems: list[str]) -> None:
    try:
        (alone,) = _probe([sys.executable, "-c", _MPI_PROBE])
    except MpiensError as error:
        problems.append(f"mpi4py cannot load MPI: {error}; try: pip install 'mpiens[mpich]'")
        return
    _say("mpi4py", f"{_version('mpi4py')}, {alone['library']}, from {', '.join(alone['paths']) or 'unknown'}")
    try:
        mpiexec = find_mpiexec()
        _say("mpiexec", str(mpiexec))
        said = _probe([*mpiexec_argv(2), sys.executable, "-c", _MPI_PROBE])
    except MpiensError as error:
        problems.append(str(error))
        return
    sizes = sorted(int(rank["size"]) for rank in said)
    if sizes == [2, 2]:
        _say("world", "mpiexec -n 2 gives one world of 2 ranks")
    else:
        problems.append(
            f"{mpiexec} -n 2 gives {len(said)} worlds of size {sizes[0]}: it belongs to another MPI than mpi4py's; "
            "call the mpiexec beside this environment's python"
        )


def _check_hdf5(problems: list[str]) -> None:
    try:
        (said,) = _probe([sys.executable, "-c", _HDF5_PROBE])
    except MpiensError as error:
        problems.append(f"h5py does not work: {error}")
        return
    parallel = "parallel" if said["parallel"] else "serial"
    _say("hdf5", f"{said['hdf5']} ({parallel}), h5py {said['h5py']}")


def _check_neuron(problems: list[str]) -> None:
    if _version("neuron") == "not installed":
        _say("neuron", "not installed; needed only for NEURON models: pip install 'mpiens[neuron]'")
        return
    _say("netpyne", _version("netpyne"))
    try:
        said = _probe([*mpiexec_argv(2), sys.executable, "-c", _NEURON_PROBE])
    except MpiensError as error:
        problems.append(f"NEURON does not attach to a group of 2 ranks: {error}")
        return
    hosts = sorted(int(rank["nhost"]) for rank in said)
    _say("neuron", f"{said[0]['neuron']}, {hosts[0]} hosts in a group of 2 ranks")
    if hosts != [2, 2]:
        problems.append(f"NEURON sees {hosts} hosts in a group of 2 ranks: it uses another MPI than mpi4py")


def _probe(argv: list[str]) -> list[Mapping[str, Any]]:
    """What these processes print about themselves.

    Raises:
        MpiensError: They fail; with the last line that they print.
    """
    with tempfile.TemporaryDirectory(prefix="mpiens-doctor-") as folder:
        log = Path(folder) / "log"
        try:
            done = subprocess.run(
                argv,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_S,
                env=launch_environment(os.environ),
                text=True,
                errors="replace",
                check=False,
                cwd=log.parent,
            )
        except subprocess.TimeoutExpired:
            raise MpiensError(f"{' '.join(argv[:3])} ...: no end within {_TIMEOUT_S} s") from None
        except OSError as error:
            raise MpiensError(f"{argv[0]}: {error.strerror}") from error
    # Launchers may glue the lines of two ranks together.
    said = [json.JSONDecoder().raw_decode(part)[0] for part in done.stdout.split("MPIENS")[1:]]
    if not said:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise MpiensError(lines[-1] if lines else f"exit status {done.returncode} and no output")
    return said
