"""A Python function as a model."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mpiens.errors import SpecError, TrialError
from mpiens.messages import ModelSettings
from mpiens.models import neuron
from mpiens.models.base import GroupContext, Trial
from mpiens.models.leftovers import Drift
from mpiens.models.loading import load_function
from mpiens.models.randomness import may_draw, seed_globals
from mpiens.models.renewal import RenewedComm


class PythonModel:
    """Calls ``function(trial)``. What the function builds, it owns: it removes it itself."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._function: Callable[..., Any] | None = None
        self._comm: RenewedComm | None = None
        self._has_failed = False
        self._may_draw = True
        self._drift = Drift()

    def setup(self, context: GroupContext) -> None:
        """Load the function, then call the spec's setup function on this rank.

        Raises:
            SpecError: A function is not there, or takes the wrong number of arguments.
            ModelError: The file raises on import.
            InstallationError: NEURON does not fit the MPI in use.
        """
        settings = self._settings
        self._comm = RenewedComm(context.comm)
        neuron.install_hook(context.comm, settings.library, settings.folder)
        known = set(sys.modules)
        self._function = load_model_function(settings.target, settings.folder)
        if settings.setup is not None:
            call_setup(settings.setup, settings.folder, context)
        own = sys.modules.get(self._function.__module__)
        loaded = [sys.modules[name] for name in set(sys.modules) - known]
        self._may_draw = own is None or own not in loaded or may_draw(loaded)

    def run(self, trial: Trial) -> Mapping[str, object] | None:
        """Call the function, with Python's and NumPy's global random states set if it may use them."""
        if self._function is None or self._comm is None:
            raise AssertionError("setup() comes before run()")
        trial.comm = self._comm.current
        if self._may_draw:
            seed_globals(trial.seed)
        self._has_failed = True
        returned = self._function(trial)
        if type(returned) is dict or returned is None or isinstance(returned, Mapping):
            self._has_failed = False
            return returned
        raise TrialError(
            f"{_name(self._function)} returned {type(returned).__name__}, expected a dict of results by name"
        )

    def clear(self) -> None:
        """Fresh communicators after a failure; all else the function owns, and is told what of it stays in NEURON."""
        if self._comm is not None:
            self._comm.settle(self._has_failed)
        self._has_failed = False
        if neuron.is_loaded():
            self._drift.look()


def load_model_function(target: str, folder: str) -> Callable[..., Any]:
    """Load a function that takes a trial.

    Raises:
        SpecError: It is not there, or does not take one argument.
        ModelError: The file raises on import.
    """
    function = load_function(target, folder)
    if not accepts(function, 1):
        raise SpecError(f"{target} must take one argument, the trial: def {_name(function)}(trial)")
    return function


def call_setup(target: str, folder: str, context: GroupContext) -> None:
    """Call a spec's setup function, with the group's context if it takes an argument."""
    function = load_function(target, folder)
    function(context) if accepts(function, 1) else function()


def accepts(function: Callable[..., Any], count: int) -> bool:
    """True when `function` can be called with `count` positional arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # built in: its signature cannot be seen
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
