"""Starting MPI programs from inside a running job, on what belongs to the group."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpiens import launcher
from mpiens.errors import InstallationError, TrialError

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group is.

    Attributes:
        slots: Ranks of the group on each of its hosts; the root's host is the first.
        cores: Processors that the group's ranks on this host may use.
    """

    slots: tuple[tuple[str, int], ...]
    cores: frozenset[int]


def survey(comm: MPI.Intracomm) -> Place:
    """Where this group is. Collective over `comm`."""
    # Slurm may know the host by another name than it calls itself.
    host = os.environ.get("SLURMD_NODENAME") or platform.node()
    own = (host, frozenset(os.sched_getaffinity(0)))
    found = comm.allgather(own) if comm.Get_size() > 1 else [own]
    slots: dict[str, int] = {}
    for name, _ in found:
        slots[name] = slots.get(name, 0) + 1
    cores = frozenset().union(*(part for name, part in found if name == host))
    return Place(tuple(slots.items()), cores)


def choose_launch(launch: str, place: Place, environment: Mapping[str, str]) -> str:
    """``mpiexec`` or ``srun``.

    Raises:
        InstallationError: It is not there.
    """
    if launch == "auto":
        # On one host mpiexec needs nobody's help; over several, Slurm's own launcher knows how to get there.
        is_slurm = "SLURM_JOB_ID" in environment and shutil.which("srun") is not None
        launch = "srun" if is_slurm and len(place.slots) > 1 else "mpiexec"
    if launch == "mpiexec":
        launcher.find_mpiexec()
    elif shutil.which("srun") is None:
        raise InstallationError("model.launch: srun is not on PATH; use launch: mpiexec, or run inside a Slurm job")
    return launch


def launch_argv(launch: str, ranks: int, threads: int | None, place: Place) -> list[str]:
    """What stands before the program."""
    hosts = [host for host, _ in place.slots]
    if launch == "srun":
        cpus = [f"--cpus-per-task={threads}"] if threads else []
        where = [f"--nodes={min(len(hosts), ranks)}", f"--nodelist={','.join(hosts[:ranks])}"]
        return [launch, "--overlap", "--exact", f"--ntasks={ranks}", *where, *cpus]
    mpiexec, *flags = launcher.mpiexec_argv(ranks)
    if len(hosts) > 1:
        word = "--host" if launcher.is_open_mpi(launcher.find_mpiexec()) else "-hosts"
        return [mpiexec, word, ",".join(f"{host}:{count}" for host, count in place.slots), *flags]
    if launcher.is_open_mpi(launcher.find_mpiexec()):
        return [mpiexec, *flags]
    return [mpiexec, "-launcher", "fork", "-host", "localhost", *flags]


def launch_environment(environment: Mapping[str, str], place: Place) -> dict[str, str]:
    """The environment for a launcher or a program: nothing of the job's own MPI."""
    clean = launcher.launch_environment(environment)
    if len(place.slots) == 1:
        # Open MPI's launcher would spread over all nodes that the scheduler has given to the job.
        for prefix in ("PRTE_MCA_", "OMPI_MCA_"):
            clean[f"{prefix}ras"] = "^slurm,gridengine,pbs,lsf"
            clean[f"{prefix}plm"] = "^slurm,pbs,lsf"
    elif "SLURM_JOB_ID" in clean:
        # mpiexec starts its helpers by srun, which would wait until the job's own step has given its cores back.
        clean["SLURM_OVERLAP"] = "1"
    return clean


def whole_ranks(value: object, source: str) -> int:
    """`value` as a number of ranks.

    Raises:
        TrialError: It is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value) and value >= 1:
        return int(value)
    raise TrialError(f"{source} gives {value} ranks; expected a whole number from 1")
