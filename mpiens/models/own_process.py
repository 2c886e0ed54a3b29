"""Running the user's code in a process of its own, and getting one answer back.

What is read before a job is queued may import anything, print anything and end its process; none of that may happen to
the process that asks.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpiens.environment import without_mpi
from mpiens.errors import InstallationError, ModelError, MpiensError, SpecError
from mpiens.models.neuron import module_options

_KINDS: dict[str, type[MpiensError]] = {
    kind.__name__: kind for kind in (SpecError, ModelError, InstallationError, MpiensError)
}


def ask_process(module: str, arguments: list[str], subject: str, timeout_s: float) -> Any:
    """Run a module of mpiens on the user's code in a process of its own; what `answer_as_process` there returns.

    Raises:
        MpiensError: What the module raises there; or it ends without an answer, or takes too long.
    """
    # Imported from where this copy of mpiens is, wherever the process starts.
    root = str(Path(__file__).resolve().parents[2])
    environment = {**without_mpi(os.environ), "MPLBACKEND": "Agg"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{subject} has not been read after {timeout_s:g} s") from None
    lines = done.stdout.splitlines()
    try:
        kind, answer = json.loads(lines[-1] if lines else "")
    except (ValueError, TypeError):
        said = " ".join(done.stderr.split()[-40:]) or "nothing"
        raise ModelError(f"{subject} ended the process that read it (status {done.returncode}): {said}") from None
    if kind:
        raise _KINDS.get(kind, MpiensError)(answer)
    return answer


def answer_as_process(work: Callable[..., Any], *arguments: str) -> None:
    """Print what ``work(*arguments)`` returns, or the error of mpiens that it raises, as the last line."""
    os.environ["NEURON_INIT_MPI"] = "0"
    os.environ["NEURON_MODULE_OPTIONS"] = module_options(os.environ.get("NEURON_MODULE_OPTIONS"))
    kind, answer = "", None
    # What NEURON and the user's code print goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer = work(*arguments)
        except MpiensError as error:
            known = [base.__name__ for base in type(error).__mro__ if base.__name__ in _KINDS]
            kind, answer = known[0], str(error)
    print("\n" + json.dumps([kind, answer]))
