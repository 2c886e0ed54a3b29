"""Whether a Python model can be imported, found out before a job is queued.

``python -m mpiens.models.import_check target folder purpose library`` prints it as JSON. It imports the user's code, so
it belongs in a process of its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from mpiens.models.own_process import answer_as_process, ask_process

if TYPE_CHECKING:
    from mpi4py import MPI


def check_import(target: str, folder: str, library: str | None, *, takes_trial: bool, timeout_s: float = 120.0) -> None:
    """Import the function `target` in a process of its own.

    Args:
        target: As in the spec, with an absolute path.
        folder: The spec's folder.
        library: Compiled mechanisms, which an import of NEURON loads.
        takes_trial: The function is a model rather than a set-up.
        timeout_s: How long the import may take.

    Raises:
        SpecError: The file, the module or the function is not there, or it does not take a trial.
        ModelError: The import raises, ends the process, or takes too long.
    """
    arguments = [target, folder, "model" if takes_trial else "setup", library or ""]
    ask_process("mpiens.models.import_check", arguments, target, timeout_s)


class _OneRank:
    """As much of a communicator as NEURON needs in a group of one rank."""

    def Get_size(self) -> int:  # noqa: N802 - mpi4py's name
        """One."""
        return 1

    def Get_rank(self) -> int:  # noqa: N802 - mpi4py's name
        """Zero."""
        return 0


def _import_here(target: str, folder: str, purpose: str, library: str) -> None:
    from mpiens.models import neuron
    from mpiens.models.loading import load_function
    from mpiens.models.python import load_model_function

    neuron.install_hook(cast("MPI.Intracomm", _OneRank()), library or None, folder)
    (load_model_function if purpose == "model" else load_function)(target, folder)


if __name__ == "__main__":
    answer_as_process(_import_here, *sys.argv[1:])
