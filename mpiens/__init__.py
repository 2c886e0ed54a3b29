"""mpiens: an HPC-native MPI ensemble runner for computational neuroscience.

Importing it imports nothing else: names are looked up when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpiens.api import run as run
    from mpiens.batch_search import search as search
    from mpiens.command import Command as Command
    from mpiens.errors import MpiensError as MpiensError
    from mpiens.errors import SpecError as SpecError
    from mpiens.errors import TrialPruned as TrialPruned
    from mpiens.mapping import map_space as map_space
    from mpiens.report.raster import plot_raster as plot_raster
    from mpiens.space import AmbiguousOperationError as AmbiguousOperationError
    from mpiens.space import Param as Param
    from mpiens.space import missing as missing
    from mpiens.store import open_results as open

_HOMES = {
    "AmbiguousOperationError": ("mpiens.space", "AmbiguousOperationError"),
    "Command": ("mpiens.command", "Command"),
    "MpiensError": ("mpiens.errors", "MpiensError"),
    "Param": ("mpiens.space", "Param"),
    "SpecError": ("mpiens.errors", "SpecError"),
    "TrialPruned": ("mpiens.errors", "TrialPruned"),
    "map_space": ("mpiens.mapping", "map_space"),
    "missing": ("mpiens.space", "missing"),
    "open": ("mpiens.store", "open_results"),
    "plot_raster": ("mpiens.report.raster", "plot_raster"),
    "search": ("mpiens.batch_search", "search"),
    "run": ("mpiens.api", "run"),
}

__all__ = [
    "AmbiguousOperationError",
    "Command",
    "MpiensError",
    "Param",
    "SpecError",
    "TrialPruned",
    "map_space",
    "missing",
    "open",
    "plot_raster",
    "run",
    "search",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mpiens")
    if name not in _HOMES:
        raise AttributeError(f"module 'mpiens' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
