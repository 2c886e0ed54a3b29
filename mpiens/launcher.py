"""The mpiexec that belongs to this environment, and the flags that its MPI needs."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mpiens.environment import without_mpi
from mpiens.errors import InstallationError


def find_mpiexec() -> Path:
    """The launcher beside this interpreter, else that of the library that mpi4py is told to load, else PATH's first.

    Raises:
        InstallationError: There is none.
    """
    # Not resolved: a virtual environment's python is a link to the interpreter it was made of.
    beside = Path(sys.executable).absolute().parent / "mpiexec"
    if beside.exists():
        return beside
    library = os.environ.get("MPI4PY_LIBMPI", "")
    if library.startswith("/") and (own := Path(library).parent.parent / "bin" / "mpiexec").exists():
        return own
    found = shutil.which("mpiexec")
    if found is None:
        raise InstallationError(
            f"no mpiexec beside {sys.executable} and none on PATH; install one: pip install 'mpiens[mpich]'"
        )
    return Path(found)


@functools.cache
def is_open_mpi(mpiexec: Path) -> bool:
    """True for Open MPI's launcher."""
    text = _about(mpiexec)
    return "open-mpi" in text or "Open MPI" in text or "OpenRTE" in text


@functools.cache
def _about(mpiexec: Path) -> str:
    done = subprocess.run(
        [str(mpiexec), "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=launch_environment(os.environ),
    )
    return done.stdout + done.stderr


def has_ulfm(mpiexec: Path) -> bool:
    """True for a launcher whose jobs survive the loss of a rank: Open MPI's from version 5 on."""
    version = re.search(r"(\d+)\.\d+", _about(mpiexec))
    return is_open_mpi(mpiexec) and version is not None and int(version[1]) >= 5


def available_cores() -> int:
    """Cores that a job started here may use: what the scheduler has given, otherwise those of this machine."""
    for name in ("SLURM_NTASKS", "NSLOTS", "PBS_NP", "LSB_DJOB_NUMPROC"):
        given = os.environ.get(name, "")
        if given.isdecimal() and int(given):
            return int(given)
    return len(os.sched_getaffinity(0))


def launch_argv(ranks: int) -> list[str]:
    """The start of a command that runs a program on so many ranks, with what a person at a desk would want.

    Raises:
        InstallationError: There is no mpiexec.
    """
    mpiexec = find_mpiexec()
    flags = []
    if is_open_mpi(mpiexec):
        if has_ulfm(mpiexec):
            flags += ["--with-ft", "ulfm"]
        if ranks > available_cores():
            flags += ["--oversubscribe"]
        # Two jobs on one machine would bind their ranks to the same cores.
        flags += ["--bind-to", "none"]
    return [str(mpiexec), *flags, "-n", str(ranks)]


def mpiexec_argv(ranks: int) -> list[str]:
    """The start of a command that runs a program on so many ranks of this machine."""
    mpiexec = find_mpiexec()
    flags = ["--oversubscribe", "--bind-to", "none"] if is_open_mpi(mpiexec) else []
    return [str(mpiexec), *flags, "-n", str(ranks)]


def launch_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a new launcher: nothing of an outer job, and Open MPI's consent to run as root."""
    clean = without_mpi(environment)
    if os.geteuid() == 0:
        clean["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        clean["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return clean
