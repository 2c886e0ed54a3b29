"""What MPI launchers put into the environment of their ranks."""

from __future__ import annotations

from collections.abc import Mapping

_OUTER_MPI = (
    *("OMPI_", "PMIX_", "PRTE_", "ORTE_", "PMI_", "PMI2_", "HYDI_", "HYDRA_", "MPI_LOCAL", "MPIR_", "I_MPI_"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP", "SLURM_CPU_BIND", "SLURM_MPI_TYPE"),
    "SLURM_DISTRIBUTION",
)
"""Starts of the names of variables by which a launcher tells a process that it is a rank."""


_RANK = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")


SUPERVISED = "MPIENS_SUPERVISED"
"""Variable that marks all processes of a supervised job; its value is a name for this start of it."""


def has_fault_tolerance(environment: Mapping[str, str]) -> bool:
    """True in a rank of Open MPI that was started with ``mpiexec --with-ft ulfm``."""
    return environment.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true", "yes")


def rank_by_launcher(environment: Mapping[str, str]) -> int | None:
    """The rank that an MPI launcher has given this process, known before MPI starts; None without a launcher."""
    for name in _RANK:
        if environment.get(name, "").isdecimal():
            return int(environment[name])
    return None


def size_by_launcher(environment: Mapping[str, str]) -> int | None:
    """How many ranks an MPI launcher says that it has started; None without a launcher."""
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        if environment.get(name, "").isdecimal():
            return int(environment[name])
    return None


def launcher_kills_on_signal(environment: Mapping[str, str]) -> bool:
    """True under Open MPI's mpiexec: half a second after SIGINT or SIGTERM it kills all ranks, come what may."""
    return "OMPI_COMM_WORLD_SIZE" in environment


def without_mpi(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what an MPI launcher has put there for its own ranks.

    A child that sees these takes itself for a rank: under Open MPI it aborts, under MPICH it hangs.
    """
    return {name: value for name, value in environment.items() if not name.startswith(_OUTER_MPI)}
