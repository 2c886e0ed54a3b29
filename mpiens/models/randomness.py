"""The global random states of Python and NumPy, which a trial must not inherit from the trial before it.

Seeding both takes as long as the rest of the bookkeeping of a trial. A model that is done in microseconds and draws no
random number is spared it, but only when its source leaves no doubt.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np

_DOUBT = re.compile(rb"random|importlib|__import__|\bexec\b|\beval\b|^[ \t]+(?:import|from)\s", re.MULTILINE)
"""What a source may say that draws random numbers, or that brings in unseen code, such as imports within functions."""

_MOST_MODULES = 20
_MOST_BYTES = 200_000


def seed_globals(seed: int) -> None:
    """Set the global random states of Python and NumPy."""
    random.seed(seed)
    np.random.seed(seed % 2**32)


def may_draw(modules: Iterable[ModuleType]) -> bool:
    """False only when a model and all that its import has loaded, these modules, cannot use the global states."""
    loaded = list(modules)
    return len(loaded) > _MOST_MODULES or any(map(_leaves_doubt, loaded))


def _leaves_doubt(module: ModuleType) -> bool:
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix != ".py":
        return True  # compiled, or without a file
    try:
        if path.stat().st_size > _MOST_BYTES:
            return True
        return _DOUBT.search(path.read_bytes()) is not None
    except OSError:
        return True
