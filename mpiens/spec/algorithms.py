"""The names that `search.algorithm` may have, and what each needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mpiens.errors import SpecError
from mpiens.space.values import nearest
from mpiens.spec.schema import ALIASES

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
    "pymoo",
)
GRIDS = ("grid",)
"""Go through all points of a space."""

WITHOUT_OBJECTIVE = ("grid", "random", "brute_force", "lhs", "qmc")
"""Do not learn from what they are told, so they need no objective."""

TAKE_CONSTRAINTS = ("tpe", "nsga2", "nsga3", "gp", "nevergrad", "pymoo")
"""Learn from constraints too. Those without an objective need not: what they visit does not depend on results."""

GONE = {
    "hebo": "the library HEBO does not work with today's NumPy and pymoo (its releases need NumPy before 1.25 or pymoo "
    "before 0.6); the nearest are ax, gp and bayesopt",
    "sigopt": "the service of SigOpt has been closed; the nearest are gp and bayesopt",
    "zoopt": "the library zoopt is not kept up any more (its last release is of 2022); the nearest is nevergrad",
}
"""Names that netpyne.batchtools knows that cannot be had, and why. For its other names see the schema's `ALIASES`."""

_OTHER_NAMES = {
    "nsga": ("nsga2", "nsga3"),
    "cma": ("cmaes",),
    "gaussianprocess": ("gp",),
    "quasimontecarlo": ("qmc",),
    "bayesianoptimization": ("bayesopt", "gp"),
    "bayesian": ("bayesopt", "gp"),
}
"""Other words for algorithms, in small letters and without signs."""

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
        hint = _likely(algorithm)
        raise SpecError(
            f"unknown algorithm {algorithm!r}{hint}; known are {', '.join(ALGORITHMS)}, or my_module.py:MySampler",
            key="search.algorithm",
        )


def _likely(algorithm: str) -> str:
    """``; did you mean 'x'?`` for classes of libraries and other words too, or nothing."""
    bare = _plain(algorithm.rpartition(".")[2]).removesuffix("sampler").removesuffix("search")
    bare = re.sub("iii$", "3", bare)
    bare = re.sub("ii$", "2", bare)
    names = _OTHER_NAMES.get(bare) or tuple(name for name in (*ALGORITHMS, *ALIASES) if _plain(name) == bare)
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else nearest(algorithm, ALGORITHMS)


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


PRUNERS = ("median", "percentile", "successive_halving", "hyperband", "patient", "threshold", "nop")
"""The names that `search.pruner` may have."""

WITHOUT_DIRECTION = ("threshold", "nop")
"""Pruners that do not ask which of two values is better."""


def pruner_named(asked: str | Mapping[str, Any], key: str = "search.pruner") -> Mapping[str, Any]:
    """The pruner's name and options, as a mapping.

    Args:
        asked: As in the spec: a name, or a mapping of the name and the options.
        key: Where it stands.

    Raises:
        SpecError: There is no such pruner.
    """
    pruner: Mapping[str, Any] = {"name": asked} if isinstance(asked, str) else asked
    if "name" not in pruner:
        raise SpecError(f"name is missing: one of {', '.join(PRUNERS)}", key=key)
    name = pruner["name"]
    # Within another pruner only Optuna's own can be.
    if name not in PRUNERS and not (key == "search.pruner" and isinstance(name, str) and is_custom(name)):
        found = nearest(name, PRUNERS) if isinstance(name, str) else ""
        place = key if isinstance(asked, str) else f"{key}.name"
        known = f"{', '.join(PRUNERS)}, or my_module.py:MyPruner"
        raise SpecError(f"unknown pruner {name!r}{found}; known are {known}", key=place)
    return pruner
