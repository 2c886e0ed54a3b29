"""NEURON on a group's own communicator, inside this process.

NEURON has no public call that takes a communicator: ``import neuron`` under MPI duplicates MPI_COMM_WORLD, which is
collective over ranks that never import it. So its MPI part is started by hand (`mpiens.models.nrnmpi`)
as soon as anybody imports it, and what would end the process or start MPI once more is made harmless.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from mpiens.errors import InstallationError, ModelError
from mpiens.models.nrnmpi import ADVICE, libraries, start_mpi, write_handle

if TYPE_CHECKING:
    from mpi4py import MPI


class _Attachment:
    """What this process has done about NEURON; there is one NEURON per process."""

    def __init__(self) -> None:
        self.comm: MPI.Intracomm | None = None
        self.library: str | None = None
        self.interface: ctypes.CDLL | None = None
        """NEURON's libnrnmpi_*; None in a group of one rank."""
        self.world: MPI.Intracomm | None = None
        """What NEURON takes for the world."""
        self.renewed: list[MPI.Intracomm] = []
        """What `renew_communicators` has put in NEURON's hands."""
        self.control: MPI.Intracomm | None = None
        """For making new ones; never used for anything else, so nothing stale can be on it."""


_attached = _Attachment()


def module_options(given: str | None) -> str:
    """What NEURON is to be told at its import; `given` is what the environment says.

    ``-mpi`` would make it take MPI_COMM_WORLD, which the driver is part of.
    """
    if given is None:
        return "-nogui -nobanner"
    return " ".join(option for option in given.split() if option != "-mpi")


def install_hook(comm: MPI.Intracomm, library: str | None = None, folder: str | None = None) -> None:
    """Attach NEURON to `comm` when something imports it for the first time; until then do nothing.

    Args:
        comm: The group's communicator. All its ranks must import NEURON, for that is collective over the group.
        library: Compiled mechanisms to load once, or None.
        folder: Without a library, NEURON loads what nrnivmodl has left in this folder, as it does in a working
            directory.

    Raises:
        InstallationError: NEURON is imported already and does not fit.
    """
    # NEURON must neither touch MPI_COMM_WORLD nor open a window nor print a banner on every rank.
    os.environ["NEURON_INIT_MPI"] = "0"
    os.environ["NEURON_MODULE_OPTIONS"] = module_options(os.environ.get("NEURON_MODULE_OPTIONS"))
    if "neuron" in sys.modules:
        _connect(comm, library)
    elif not any(isinstance(finder, _NeuronFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NeuronFinder(comm, library, folder))


def attach(comm: MPI.Intracomm, library: str | None = None, folder: str | None = None) -> None:
    """Import NEURON with `comm` as its world. Collective over `comm`; a second call does nothing.

    Args:
        comm: The group's communicator.
        library: Compiled mechanisms to load once, or None.
        folder: Without a library, NEURON loads what nrnivmodl has left in this folder, as it does in a working
            directory.

    Raises:
        InstallationError: NEURON is not installed, or does not fit the MPI library in use.
        ModelError: The mechanisms cannot be loaded.
    """
    install_hook(comm, library, folder)
    try:
        importlib.import_module("neuron")
    except ImportError as error:
        raise InstallationError(
            f"cannot import NEURON: {error}; install it with `pip install 'mpiens[neuron]'`"
        ) from error


def is_loaded() -> bool:
    """True once NEURON is attached in this process."""
    return _attached.comm is not None


def renew_communicators() -> list[MPI.Intracomm]:
    """Give NEURON fresh communicators. Collective over the group.

    After a trial that failed on one rank only, messages of its collectives may still be under way on the others. On new
    communicators the next trial cannot receive them.

    Returns:
        Those given at the last renewal, which nothing uses any more.
    """
    control, interface = _attached.control, _attached.interface
    if control is None or interface is None:
        return []
    replaced, _attached.renewed = _attached.renewed, []
    for name in ("nrnmpi_comm", "nrn_bbs_comm"):
        duplicate = control.Dup()
        write_handle(interface, name, duplicate)
        _attached.renewed.append(duplicate)
    return replaced


class _NeuronFinder(importlib.abc.MetaPathFinder):
    """Finds NEURON where Python would, and attaches it right after its import."""

    def __init__(self, comm: MPI.Intracomm, library: str | None, folder: str | None) -> None:
        self._comm = comm
        self._library = library
        self._folder = folder

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "neuron":
            return None
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _AttachingLoader(spec.loader, self._comm, self._library, self._folder)
        return spec


class _AttachingLoader(importlib.abc.Loader):
    def __init__(self, loader: Any, comm: MPI.Intracomm, library: str | None, folder: str | None) -> None:
        self._loader = loader
        self._comm = comm
        self._library = library
        self._folder = folder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # NEURON loads an x86_64/libnrnmech.so of the working directory, and cannot load the same mechanisms twice. So
        # with a library it is imported where there is none.
        folder = Path(self._library).parent if self._library else Path(self._folder or ".")
        with contextlib.chdir(folder) if folder.is_dir() else contextlib.nullcontext():
            self._loader.exec_module(module)
        _connect(self._comm, self._library)

    def __getattr__(self, name: str) -> Any:
        # Resource access and inspection (get_data, get_source, ...) stay those of the real loader.
        return getattr(self._loader, name)


def _connect(comm: MPI.Intracomm, library: str | None) -> None:
    if _attached.comm is None:
        neuron = sys.modules["neuron"]
        if comm.Get_size() > 1:
            _attached.world, _attached.control = comm.Dup(), comm.Dup()
            _attached.interface = start_mpi(_attached.world)
        _guard_interpreter(neuron)
        _check(neuron, comm)
        _attached.comm = comm
    if library is not None and _attached.library is None:
        load_library(library)
        _attached.library = library


def load_library(library: str) -> None:
    """Load compiled mechanisms.

    Raises:
        ModelError: NEURON cannot load them.
    """
    from neuron import h

    if not Path(library).is_file():
        raise ModelError(f"the compiled mechanisms {library} are not there; they are made when the run starts")
    try:
        loaded = h.nrn_load_dll(library)
    except RuntimeError as error:
        raise ModelError(f"NEURON cannot load the mechanisms {library}: {error}") from error
    if not loaded:
        raise ModelError(
            f"NEURON cannot load the mechanisms {library}: are the same mechanisms loaded twice, or was the library "
            "built for another NEURON?"
        )


def _guard_interpreter(neuron: ModuleType) -> None:
    """Replace ``neuron.h`` so that a script cannot end the process, start MPI on the world, or load a library twice."""
    h = neuron.h
    loaded: set[str] = set()

    class TopLevel(type(h)):  # type: ignore[misc]
        """``neuron.h`` with the calls made harmless that a script may make once in a process of its own."""

        def quit(self, status: float = 0) -> NoReturn:
            """End the script, not the process: h.quit() ends a rank without MPI_Finalize."""
            raise SystemExit(int(status))

        def nrnmpi_init(self) -> float:
            """Nothing to do: NEURON has the group's communicator already."""
            return 0.0

        def nrn_load_dll(self, library: str) -> float:
            """NEURON's own, once per library: a script that loads its mechanisms does so in every trial."""
            path = os.path.realpath(library)
            if path not in loaded:
                if not h.nrn_load_dll(library):
                    return 0.0
                loaded.add(path)
            return 1.0

    neuron.h = TopLevel()  # type: ignore[attr-defined]
    if hasattr(neuron, "n"):
        top = type(neuron.n)
        for name in ("quit", "nrnmpi_init", "nrn_load_dll"):
            setattr(top, name, getattr(TopLevel, name))


def _check(neuron: ModuleType, comm: MPI.Intracomm) -> None:
    pc = neuron.h.ParallelContext()
    # A hoc error is an exception of one trial; NEURON would abort the whole job for it.
    pc.mpiabort_on_error(0)
    # NEURON's watchdog shares SIGALRM with the trial's own time limit.
    pc.timeout(0)
    found, expected = (int(pc.nhost()), int(pc.id())), (comm.Get_size(), comm.Get_rank())
    if found != expected:
        raise InstallationError(
            f"NEURON does not share the group's MPI: rank {expected[1]} of {expected[0]} is rank {found[1]} of "
            f"{found[0]} to NEURON; {libraries()}; {ADVICE}"
        )
