"""Points that fill the space evenly, by SciPy: Sobol and Halton sequences, Latin hypercubes.

Source: Owen (1998), Scrambling Sobol' and Niederreiter-Xing points, J. Complexity, doi:10.1006/jcom.1998.0487; McKay et
al. (1979), A comparison of three methods for selecting values of input variables, Technometrics, doi:10.2307/1268522.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from scipy.stats import qmc

from mpiens.record import Params
from mpiens.samplers.base import Plan
from mpiens.samplers.numbered import NumberedSampler
from mpiens.samplers.options import check_choice, check_options, refused
from mpiens.samplers.signatures import check_values
from mpiens.samplers.unit import UnitCube
from mpiens.space import Domain
from mpiens.trial import trial_seed

_SEQUENCES = {"sobol": qmc.Sobol, "halton": qmc.Halton}


class SequenceSampler(NumberedSampler):
    """A Sobol or Halton sequence, which can be continued at any time.

    Raises:
        SpecError: It does not take these options.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        check_options(plan.algorithm, plan.options, ("qmc_type", "scramble"))
        kind = check_choice(plan.options.get("qmc_type", "sobol"), _SEQUENCES, "qmc_type")
        check_values(plan.options, _SEQUENCES[kind].__init__)
        scramble = plan.options.get("scramble", True)
        self._cube = UnitCube(domains)
        if self._cube.dimensions:
            self._engine = _SEQUENCES[kind](self._cube.dimensions, scramble=scramble, seed=trial_seed(plan.seed, 0))
        self._at = 0
        super().__init__(plan.total, self._point_at, plan.start)

    def _point_at(self, number: int) -> Params:
        if not self._cube.dimensions:
            return self._cube.decode(())
        if number != self._at:
            self._engine.reset()
            if number:
                self._engine.fast_forward(number)
        with warnings.catch_warnings():
            # That the first points are balanced only in powers of two.
            warnings.simplefilter("ignore", UserWarning)
            row = self._engine.random(1)[0]
        self._at = number + 1
        return self._cube.decode(row.tolist())


class LatinHypercubeSampler(NumberedSampler):
    """A Latin hypercube of as many points as there are trials.

    Raises:
        SpecError: It does not take these options.
    """

    def __init__(self, plan: Plan, domains: Mapping[str, Domain]) -> None:
        check_options(plan.algorithm, plan.options, ("scramble", "strength", "optimization"))
        check_values(plan.options, qmc.LatinHypercube.__init__)
        self._cube = UnitCube(domains)
        self._rows = np.zeros((plan.total, 0))
        if self._cube.dimensions:
            seed = trial_seed(plan.seed, 0)
            try:
                engine = qmc.LatinHypercube(self._cube.dimensions, seed=seed, **plan.options)
                self._rows = engine.random(plan.total)
            except (ValueError, TypeError) as error:
                raise refused(plan.algorithm, error, plan.options) from error
        super().__init__(plan.total, lambda number: self._cube.decode(self._rows[number].tolist()), plan.start)
