"""Compiling a folder of .mod files into the library that NEURON loads. The driver does it once per run directory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from mpiens.environment import without_mpi
from mpiens.errors import InstallationError, ModelError, SpecError
from mpiens.small_files import write_whole

LIBRARY = "libnrnmech.so"
LOG = "nrnivmodl.log"
_STAMP = "sources.sha256"
_SHOWN_LINES = 12
_MOST_LINES = 60
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""A terminal's codes, such as those of colours."""

_TIMEOUT_S = 1800.0


def compile_mechanisms(folder: Path, build_dir: Path, is_kept: bool = True) -> Path:
    """Compile the .mod files of `folder`, unless that has been done and nothing has changed since.

    Args:
        folder: With .mod files, and what they include.
        build_dir: Where the library and the compiler's log go; made if need be.
        is_kept: `build_dir` stays, so that errors may name the log in it; otherwise they show more of it.

    Returns:
        Absolute path of the library.

    Raises:
        SpecError: The folder is not there, or has no .mod files.
        InstallationError: nrnivmodl or a compiler is missing.
        ModelError: A .mod file does not compile; the message shows the compiler's last lines.
    """
    folder, build_dir = folder.resolve(), build_dir.resolve()
    sources = _sources(folder)
    digest = _digest(sources, folder)
    library, stamp = build_dir / LIBRARY, build_dir / _STAMP
    if library.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return library
    command = _nrnivmodl()
    _check_tools()
    build_dir.mkdir(parents=True, exist_ok=True)
    log = build_dir / LOG
    stamp.unlink(missing_ok=True)
    # In a folder of its own: nrnivmodl links whatever objects it finds, those of removed .mod files too.
    with tempfile.TemporaryDirectory(prefix="build-", dir=build_dir) as work:
        status = _run([str(command), str(folder)], Path(work), log)
        if status is None:
            where = f"; its output is in {log}" if is_kept else ""
            raise ModelError(f"nrnivmodl has not ended after {_TIMEOUT_S:g} s{where}")
        built = sorted(Path(work).glob(f"*/**/{LIBRARY}")) or sorted(Path(work).glob(f"*/{LIBRARY}"))
        if status != 0 or not built:
            raise ModelError(_failure(folder, log, status, is_kept))
        fresh = library.with_suffix(".new")
        shutil.copy2(built[0], fresh)
        fresh.replace(library)
    write_whole(stamp, digest)
    return library


def _sources(folder: Path) -> list[Path]:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise SpecError(f"{folder} {what}; expected a folder of .mod files", key="model.mechanisms")
    if not any(folder.glob("*.mod")):
        below = sorted({str(path.parent) for path in folder.glob("*/*.mod")})
        hint = f"; there are some in {', '.join(below)}" if below else ""
        raise SpecError(f"{folder} holds no .mod files{hint}", key="model.mechanisms")
    # Included files count too, so every file of the kinds that nrnivmodl or its compiler reads does.
    return sorted(path for path in folder.iterdir() if path.suffix in (".mod", ".inc", ".c", ".cpp", ".h", ".hpp"))


def _digest(sources: list[Path], folder: Path) -> str:
    digest = hashlib.sha256(f"{_neuron_version()} {sysconfig.get_platform()}\n".encode())
    for path in sources:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _neuron_version() -> str:
    for name in ("neuron", "neuron-nightly", "neuron-gpu"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "neuron, version unknown"


def _nrnivmodl() -> Path:
    # The one beside this Python belongs to the NEURON that will load the library; another one need not.
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (folder / "nrnivmodl").is_file():
            return folder / "nrnivmodl"
    found = shutil.which("nrnivmodl")
    if found is not None:
        return Path(found)
    raise InstallationError(
        f"no nrnivmodl beside {sys.executable}: model.mechanisms needs NEURON; install it with "
        "`pip install 'mpiens[neuron]'`"
    )


def _check_tools() -> None:
    compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "g++"
    for tool, what in ((str(compiler).split()[0], "C++ compiler"), ("make", "build tool"), ("perl", "interpreter")):
        if shutil.which(tool) is None:
            raise InstallationError(
                f"compiling mechanisms needs the {what} {tool!r}, which is not on PATH; install it (Debian: `apt "
                "install g++ make perl`), load the cluster's compiler module"
                + (", or set CXX to a compiler" if what == "C++ compiler" else "")
            )


def _run(command: list[str], work: Path, log: Path) -> int | None:
    """Run `command` in `work` with its output in `log`. Returns its exit status, None when it took too long."""
    with log.open("wb") as output:
        # A session of its own, so that on a time-out the compiler's processes go with it.
        process = subprocess.Popen(
            command,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=without_mpi(os.environ),
            start_new_session=True,
        )
        try:
            return process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _failure(folder: Path, log: Path, status: int, is_kept: bool) -> str:
    lines = _ESCAPES.sub("", log.read_text(errors="replace")).rstrip().splitlines()
    # The wrapper's Python traceback and make's summary come last and say nothing about the cause.
    end = next((index for index, line in enumerate(lines) if line.startswith("Traceback (most recent")), len(lines))
    shown = "\n".join(f"  {line}" for line in lines[:end][-(_SHOWN_LINES if is_kept else _MOST_LINES) :])
    how = f"status {status}" if status else "no library"
    if not is_kept:
        shown = shown.replace(f"{log.parent}{os.sep}", "")
    where = f"all its output is in {log}, the end" if is_kept else "its output"
    return f"the mechanisms in {folder} do not compile (nrnivmodl: {how}); {where}:\n{shown}"
