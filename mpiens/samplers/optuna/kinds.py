"""Which of Optuna's samplers there are, and what is special about each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIIISampler, NSGAIISampler

from mpiens.samplers.options import arguments, refused
from mpiens.samplers.optuna.tpe import PreparedTPE
from mpiens.trial import trial_seed

_SET_BY_US = ("seed", "constraints_func", "independent_sampler", "source_trials")

IDLE = {"restart_strategy": None, "inc_popsize": -1}
"""Options that Optuna 5 takes, warns of and does nothing with; and their defaults."""


@dataclass(frozen=True)
class Kind:
    """One of Optuna's samplers.

    Attributes:
        sampler: Its class.
        window: How many finished trials it is shown; 0: as many as it needs.
        best: How many of these are the best ones.
        prepared: How many it is shown where mpiens looks through them for it, which takes less time.
        replays: What it chooses depends on the order of asks and tells.
        takes_several: It can have several objectives.
    """

    sampler: type[BaseSampler]
    window: int = 0
    best: int = 0
    prepared: int = 0
    replays: bool = False
    takes_several: bool = False

    def options(self) -> list[str]:
        """Names of its options."""
        own = ["window"] if self.window else []
        return [*arguments(self.sampler.__init__, _SET_BY_US), *own]


KINDS = {
    "tpe": Kind(PreparedTPE, window=400, best=30, prepared=1000, takes_several=True),
    "gp": Kind(GPSampler, window=200, best=100, takes_several=True),
    "cmaes": Kind(CmaEsSampler, replays=True),
    "nsga2": Kind(NSGAIISampler, replays=True, takes_several=True),
    "nsga3": Kind(NSGAIIISampler, replays=True, takes_several=True),
}


def make(algorithm: str, options: Mapping[str, Any], root_seed: int) -> Callable[[int], BaseSampler]:
    """Makes the sampler for the point with a number.

    Raises:
        SpecError: It refuses these options.
    """
    kind = KINDS[algorithm].sampler
    given = dict(options)
    if kind is CmaEsSampler:
        given.setdefault("warn_independent_sampling", False)

    def make_one(number: int) -> BaseSampler:
        with warnings.catch_warnings():
            # Of what is experimental, or will be gone in a version of Optuna that mpiens does not take.
            warnings.simplefilter("ignore")
            return kind(**{"seed": trial_seed(root_seed, number), **given})

    try:
        make_one(0)
    except (TypeError, ValueError) as error:
        raise refused(algorithm, error, options) from error
    return make_one
