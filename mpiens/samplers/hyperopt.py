"""Hyperopt's tree of Parzen estimators, annealing and random search.

Source: Bergstra et al. (2013), Making a science of model search, ICML, https://github.com/hyperopt/hyperopt.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mpiens.samplers.base import Plan
from mpiens.samplers.observed import ObservingSampler
from mpiens.samplers.options import arguments, check_choice, check_options, library, refused
from mpiens.samplers.signatures import check_values
from mpiens.space import Choices, Domain
from mpiens.trial import trial_seed

_KINDS = ("tpe", "anneal", "rand")
_STARTUP = 20
_WINDOW = 300


class HyperoptSampler(ObservingSampler):
    """Asks Hyperopt's suggestion function with the trials of a window.

    Raises:
        SpecError: Hyperopt is not installed, or does not take these options.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._hyperopt: Any = library("hyperopt", plan.algorithm, "hyperopt")
        options = dict(plan.options)
        kind = check_choice(options.pop("algo", "tpe"), _KINDS, "algo")
        suggest: Callable[..., Any] = getattr(self._hyperopt, kind).suggest
        known = arguments(suggest, ("new_ids", "domain", "trials", "seed", "verbose"))
        check_options(plan.algorithm, plan.options, ["algo", *known])
        check_values(options, suggest, positive=("gamma", "prior_weight"))
        startup = options.get("n_startup_jobs", _STARTUP)
        self._suggest, self._options = suggest, options
        super().__init__(plan, domains, startup, _WINDOW)
        hp = self._hyperopt.hp
        self._counts = {n: len(d.values) for n, d in self.cube.domains.items() if isinstance(d, Choices)}
        space = {
            name: hp.randint(name, self._counts[name]) if name in self._counts else hp.uniform(name, 0.0, 1.0)
            for name in self.cube.domains
        }
        self._domain = self._hyperopt.base.Domain(lambda _: 0.0, space)
        try:
            self.propose(0, np.full((25, self.cube.dimensions), 0.5), [float(i) for i in range(25)], np.zeros((0, 0)))
        except Exception as error:  # Hyperopt has no class of its own for them
            raise refused(plan.algorithm, error, plan.options) from error
        self.begin()

    def propose(self, number: int, rows: np.ndarray, losses: Sequence[float], running: np.ndarray) -> Sequence[float]:  # noqa: ARG002
        """Coordinates of the next point. Hyperopt does not look at points that are being tried."""
        trials = self._hyperopt.Trials()
        documents = [
            self._document(index, row, loss) for index, (row, loss) in enumerate(zip(rows, losses, strict=True))
        ]
        trials.insert_trial_docs(documents)
        trials.refresh()
        seed = trial_seed(self.plan.seed, number) & 0x7FFFFFFF
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = self._suggest([len(documents)], self._domain, trials, seed, **self._options)
        values = found["misc"]["vals"]
        return [
            (values[name][0] + 0.5) / self._counts[name] if name in self._counts else values[name][0]
            for name in self.cube.domains
        ]

    def _document(self, index: int, row: np.ndarray, loss: float) -> dict[str, Any]:
        values: dict[str, list[float]] = {}
        for name, x in zip(self.cube.domains, row.tolist(), strict=True):
            values[name] = [int(x * self._counts[name]) if name in self._counts else x]
        base = self._hyperopt.base
        return {
            "tid": index,
            "spec": None,
            "result": {"status": self._hyperopt.STATUS_OK, "loss": float(loss)},
            "misc": {
                "tid": index,
                "cmd": ("domain_attachment", "FMinIter_Domain"),
                "workdir": None,
                "idxs": {name: [index] for name in values},
                "vals": values,
            },
            "state": base.JOB_STATE_DONE,
            "exp_key": None,
            "owner": None,
            "version": 0,
            "book_time": None,
            "refresh_time": None,
        }
