"""Drop-in for netpyne.batchtools: ``from mpiens.netpyne import specs, comm, sim``.

In a trial, ``cfg.update()`` applies its parameters and ``comm.send({...})`` hands in its results. In a script run by
hand, ``cfg.update()`` changes nothing and ``comm.send`` prints the results as JSON. Importing this module does nothing;
NEURON and NetPyNE are imported with the first name taken from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netpyne import sim, specs

    from mpiens.models.batchtools import Comm

    comm: Comm

__all__ = ["comm", "sim", "specs"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from mpiens.models import batchtools

    batchtools.install()
    return batchtools.comm if name == "comm" else getattr(__import__("netpyne", fromlist=[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
