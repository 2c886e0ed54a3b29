"""The names that `search.algorithm` may have, and what each needs."""

from __future__ import annotations

import re

from mpiens.errors import SpecError
from mpiens.space.values import nearest

ALGORITHMS = (
    "grid",
    "random",
    "tpe",
    "cmaes",
    "nsga2",
    "nsga3",
    "gp",
    "qmc",
    "brute_force",
    "lhs",
    "nevergrad",
    "ax",
    "bayesopt",
    "hyperopt",
    "hebo",
    "pymoo",
)
GRIDS = ("grid",)
"""Go through all points of a space."""

WITHOUT_OBJECTIVE = ("grid", "random", "brute_force", "lhs", "qmc")
"""Do not learn from what they are told, so they need no objective."""

GONE = {
    "sigopt": "the service of SigOpt has been closed; the nearest are gp and bayesopt",
    "zoopt": "the library zoopt is not kept up any more (its last release is of 2022); the nearest is nevergrad",
}
"""Names that netpyne.batchtools knows that cannot be had, and why. For its other names see the schema's `ALIASES`."""

_CUSTOM = re.compile(r"([^:]+\.py|[^\W\d][\w.]*):[^\W\d]\w*")


def is_custom(algorithm: str) -> bool:
    """True for a class of the user's own, ``file.py:Class`` or ``package.module:Class``."""
    return bool(_CUSTOM.fullmatch(algorithm))


def check_algorithm(algorithm: str) -> None:
    """Accept a known name, or a class of the user's own.

    Raises:
        SpecError: It is neither.
    """
    if algorithm in GONE:
        raise SpecError(f"{algorithm}: {GONE[algorithm]}", key="search.algorithm")
    if algorithm not in ALGORITHMS and not is_custom(algorithm):
        hint = nearest(algorithm, ALGORITHMS)
        raise SpecError(
            f"unknown algorithm {algorithm!r}{hint}; known are {', '.join(ALGORITHMS)}, or my_module.py:MySampler",
            key="search.algorithm",
        )
