"""For models that use NEURON: ``from mpiens.neuron import psolve``. Importing this imports NEURON not yet."""

from mpiens.models.intervals import psolve

__all__ = ["psolve"]
