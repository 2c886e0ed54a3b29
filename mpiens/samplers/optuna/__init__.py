"""Optuna's samplers. Only this package knows Optuna."""

from mpiens.samplers.optuna.independent import IndependentSampler
from mpiens.samplers.optuna.sampler import OptunaSampler

__all__ = ["IndependentSampler", "OptunaSampler"]
