"""Models: what runs a trial on a group's ranks. Each kind is imported only where it is used."""

from __future__ import annotations

import importlib

from mpiens.errors import SpecError
from mpiens.messages import ModelSettings
from mpiens.models.base import Model

_ADAPTERS = {
    "python": ("mpiens.models.python", "PythonModel"),
    "netpyne": ("mpiens.models.netpyne", "NetpyneModel"),
    "command": ("mpiens.models.command", "CommandModel"),
}


def build_model(settings: ModelSettings) -> Model:
    """The adapter that runs `settings.kind`, not yet set up.

    Raises:
        SpecError: There is no such kind.
    """
    if settings.is_isolated:
        from mpiens.models.isolated import IsolatedModel

        return IsolatedModel(settings)
    try:
        module, name = _ADAPTERS[settings.kind]
    except KeyError:
        raise SpecError(f"no model of kind {settings.kind!r}; kinds are {', '.join(_ADAPTERS)}", key="model") from None
    model: Model = getattr(importlib.import_module(module), name)(settings)
    return model
