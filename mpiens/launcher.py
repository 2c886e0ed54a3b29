"""The mpiexec that belongs to this environment, and the flags that its MPI needs."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mpiens.environment import without_mpi
from mpiens.errors import InstallationError


def find_mpiexec() -> Path:
    """The launcher beside this interpreter, otherwise the first one on PATH.

    Raises:
        InstallationError: There is none.
    """
    # Not resolved: a virtual environment's python is a link to the interpreter it was made of.
    beside = Path(sys.executable).absolute().parent / "mpiexec"
    if beside.exists():
        return beside
    found = shutil.which("mpiexec")
    if found is None:
        raise InstallationError(
            f"no mpiexec beside {sys.executable} and none on PATH; install one: pip install 'mpiens[mpich]'"
        )
    return Path(found)


@functools.cache
def is_open_mpi(mpiexec: Path) -> bool:
    """True for Open MPI's launcher."""
    done = subprocess.run(
        [str(mpiexec), "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=launch_environment(os.environ),
    )
    text = done.stdout + done.stderr
    return "open-mpi" in text or "Open MPI" in text or "OpenRTE" in text


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
