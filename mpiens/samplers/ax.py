"""Bayesian optimisation by Ax and BoTorch.

Source: Olson et al. (2025), Ax: a platform for adaptive experimentation, AutoML, https://ax.dev.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mpiens.samplers.base import Plan
from mpiens.samplers.observed import MOST_RUNNING, WINDOW, ObservingSampler
from mpiens.samplers.options import check_choice, check_count, library, with_defaults
from mpiens.space import Domain
from mpiens.trial import trial_seed

_METHODS = ("fast", "quality")
_DEFAULTS = {"init_points": 10, "method": "fast", "window": WINDOW}


class AxSampler(ObservingSampler):
    """A new experiment for every point, with the trials of the window; points that are being tried are pending in it.

    Raises:
        SpecError: The library is not installed, or the options are not such as it takes.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        options = with_defaults(plan.algorithm, plan.options, _DEFAULTS)
        startup = check_count(options["init_points"], 1, "init_points")
        window = check_count(options["window"], 20, "window")
        self._method = check_choice(options["method"], _METHODS, "method")
        with _quietly():
            self._client: Any = library("ax.api.client", plan.algorithm, "ax").Client
            self._range: Any = library("ax.api.configs", plan.algorithm, "ax").RangeParameterConfig
            self._torch: Any = library("torch", plan.algorithm, "ax")
        super().__init__(plan, domains, startup, window)
        self.begin()

    def propose(self, number: int, rows: np.ndarray, losses: Sequence[float], running: np.ndarray) -> Sequence[float]:
        """Coordinates of the next point."""
        names = [f"x{index}" for index in range(self.cube.dimensions)]
        with _quietly(), self._on_one_core():
            client = self._client(random_seed=trial_seed(self.plan.seed, number) & 0x7FFFFFFF)
            client.configure_experiment(
                parameters=[self._range(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in names]
            )
            client.configure_optimization(objective="-loss")
            client.configure_generation_strategy(method=self._method, initialization_budget=0)
            for row, loss in zip(rows, losses, strict=True):
                index = client.attach_trial(dict(zip(names, row.tolist(), strict=True)))
                client.complete_trial(index, {"loss": loss})
            for row in running[-MOST_RUNNING:]:
                client.attach_trial(dict(zip(names, row.tolist(), strict=True)))
            (point,) = client.get_next_trials(max_trials=1).values()
        return [float(point[name]) for name in names]

    @contextmanager
    def _on_one_core(self) -> Iterator[None]:
        """The other cores belong to simulations."""
        threads = self._torch.get_num_threads()
        self._torch.set_num_threads(1)
        try:
            yield
        finally:
            self._torch.set_num_threads(threads)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what Ax says to a person who uses it by hand."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
