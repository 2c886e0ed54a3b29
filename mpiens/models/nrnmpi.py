"""NEURON's own MPI interface, started on a communicator that it is given.

In the order in which NEURON starts it (nrnmpi_dynam.cpp, nrnmpi.cpp): resolve the interface, then hand it the
communicator in the place where it would put its duplicate of MPI_COMM_WORLD, then initialise with
``nrnmpi_under_nrncontrol = 0``, which takes that communicator and leaves MPI_Finalize to others. The symbols are
private to NEURON: each is looked up before anything is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiens.errors import InstallationError

if TYPE_CHECKING:
    from mpi4py import MPI

_STRING_BYTES = 64
"""Room for a std::string (32 bytes in libstdc++, 24 in libc++), which the caller provides."""

_LOAD_SYMBOLS = {
    "_Z11nrnmpi_loadB5cxx11v": "NEURON 9",  # std::string nrnmpi_load()
    "_Z11nrnmpi_loadv": "NEURON 9, built with another std::string",
}
_STUB_SYMBOLS = ("_Z12nrnmpi_stubsv", "nrnmpi_stubs")

ADVICE = "install a NEURON wheel of version 9 (`pip install 'neuron>=9,<10'`), or set groups.size: 1"
"""What to do about a NEURON that does not fit."""


def start_mpi(comm: MPI.Intracomm) -> ctypes.CDLL:
    """Start NEURON's MPI interface on `comm`, which nobody else may use.

    Returns:
        The interface's library, NEURON's ``libnrnmpi_*``.

    Raises:
        InstallationError: This NEURON does not fit the MPI library in use.
    """
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        raise InstallationError("NEURON in groups of several ranks needs a 64-bit machine; set groups.size: 1")
    mpi_path = loaded_mpi()
    if mpi_path is None:
        raise InstallationError(
            "cannot find the MPI library that mpi4py has loaded: none of the libraries in this process is a shared "
            "libmpi; install mpi4py from its wheel or against a shared MPI, or set groups.size: 1"
        )
    # mpi4py loads MPI for itself alone; NEURON looks for it among the global symbols and would load another one.
    mpi = ctypes.CDLL(mpi_path, mode=ctypes.RTLD_GLOBAL | os.RTLD_NOLOAD)
    flavour = "ompi" if hasattr(mpi, "ompi_mpi_comm_world") else "mpich"

    import neuron

    neuron_path = _mapped("libnrniv")
    if neuron_path is None:
        raise InstallationError(f"NEURON {neuron.__version__} has no libnrniv.so; {ADVICE}")
    core = ctypes.CDLL(neuron_path)
    load = _symbol(core, tuple(_LOAD_SYMBOLS), neuron_path)
    stubs = _symbol(core, _STUB_SYMBOLS, neuron_path)
    init = _symbol(core, ("nrnmpi_init",), neuron_path)
    in_use = ctypes.c_bool.in_dll(core, "nrnmpi_use") if hasattr(core, "nrnmpi_use") else None
    if in_use is not None and in_use.value:
        raise InstallationError(
            "NEURON has started MPI on its own before mpiens could give it the group's communicator; import neuron "
            "inside the model only, never before mpiens runs"
        )
    interface_path = Path(neuron_path).with_name(f"libnrnmpi_{flavour}.so")
    if not interface_path.is_file():
        raise InstallationError(
            f"this NEURON has no interface to the MPI in use: {interface_path} is missing; {libraries()}; {ADVICE}"
        )

    stubs.restype = None
    stubs()
    # The returned std::string comes through a hidden pointer, the first argument; an empty one has length 0 at byte 8.
    message = ctypes.create_string_buffer(_STRING_BYTES)
    load.restype = ctypes.c_void_p
    load.argtypes = [ctypes.c_void_p]
    load(ctypes.cast(message, ctypes.c_void_p))
    length = ctypes.c_size_t.from_buffer(message, 8).value
    if length:
        start = ctypes.c_void_p.from_buffer(message, 0).value or 0
        text = " ".join(ctypes.string_at(start, length).decode(errors="replace").split())
        raise InstallationError(f"NEURON cannot use MPI: {text[:400]}; {libraries()}; {ADVICE}")
    loaded = _mapped("libnrnmpi_")
    if loaded is None or Path(loaded).name != interface_path.name:
        raise InstallationError(
            f"NEURON took {loaded or 'no MPI interface'}, but the MPI in use needs {interface_path.name}; "
            f"{libraries()}; {ADVICE}"
        )
    interface = ctypes.CDLL(loaded)
    for name in ("nrnmpi_world_comm", "nrnmpi_comm", "nrn_bbs_comm"):
        if not hasattr(interface, name):
            raise InstallationError(f"NEURON {neuron.__version__}: {loaded} has no symbol {name}; {ADVICE}")
    write_handle(interface, "nrnmpi_world_comm", comm)
    init.restype = None
    init.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    with _standard_output_discarded():
        init(0, None, None)  # prints "numprocs=" once per group
    return interface


@contextlib.contextmanager
def _standard_output_discarded() -> Iterator[None]:
    """Throw away what C code prints on standard output meanwhile."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    saved, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    try:
        yield
    finally:
        libc.fflush(None)
        os.dup2(saved, 1)
        os.close(saved)
        os.close(sink)


def write_handle(interface: ctypes.CDLL, name: str, comm: MPI.Intracomm) -> None:
    """Store the C handle of `comm`, an int in MPICH and a pointer in Open MPI, in a variable of `interface`."""
    kind = ctypes.c_void_p if interface._name.endswith("_ompi.so") else ctypes.c_int
    kind.in_dll(interface, name).value = comm.handle


def _symbol(library: ctypes.CDLL, names: tuple[str, ...], path: str) -> Any:
    for name in names:
        if hasattr(library, name):
            return getattr(library, name)
    import neuron

    raise InstallationError(
        f"NEURON {neuron.__version__} cannot run on a group of ranks: {path} has no symbol {names[0]}; {ADVICE}"
    )


def loaded_mpi() -> str | None:
    """Path of the MPI library in this process, or None."""
    return _mapped("libmpi.so", "libmpi.", "libmpich.so", "libmpi_abi.so", "libmpi-")


def _mapped(*prefixes: str) -> str | None:
    """Path of the first library in this process whose file name starts with one of `prefixes`, in their order."""
    paths = []
    with Path("/proc/self/maps").open() as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith("/"):
                paths.append(fields[5])
    for prefix in prefixes:
        for path in paths:
            if Path(path).name.startswith(prefix) and ".so" in Path(path).name:
                return path
    return None


def libraries() -> str:
    """Which libraries are in use, for messages."""
    interface = _mapped("libnrnmpi_")
    return f"mpi4py uses {loaded_mpi() or 'no shared MPI library'}, NEURON uses {interface or 'no MPI interface'}"
