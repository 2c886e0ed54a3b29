"""A space in Optuna's terms, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mpiens.record import Params
from mpiens.space import Choices, Domain, Fixed, Range
from mpiens.space.sources import row_key

_PLAIN = (bool, int, float, str)


class OptunaSpace:
    """Domains as Optuna's distributions.

    Args:
        domains: Domain of every parameter.

    Attributes:
        distributions: Of all parameters that are not fixed.
    """

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._fixed: Params = {name: d.value for name, d in domains.items() if isinstance(d, Fixed)}
        self._domains = {name: d for name, d in domains.items() if not isinstance(d, Fixed)}
        self._coded = {n: _distinct(d) for n, d in self._domains.items() if isinstance(d, Choices) and not _is_plain(d)}
        with warnings.catch_warnings():
            # Of a bound that no step hits; Optuna takes the last value below it, as we do.
            warnings.filterwarnings("ignore", "The distribution is specified by")
            self.distributions = {name: _distribution(d) for name, d in self._domains.items()}

    def point(self, drawn: Mapping[str, Any]) -> Params:
        """The trial's parameters, from what Optuna has drawn."""
        point = {name: drawn[name] for name in self._domains}
        for name, values in self._coded.items():
            point[name] = values[drawn[name]]
        return point | self._fixed

    def drawn(self, params: Params) -> dict[str, Any]:
        """The inverse of `point`.

        Raises:
            KeyError: A parameter is missing.
            ValueError: A value cannot be one of this space's.
        """
        drawn = {}
        for name, distribution in self.distributions.items():
            value = params[name]
            if name in self._coded:
                value = [row_key(choice) for choice in self._coded[name]].index(row_key(value))
            elif isinstance(value, bool) or not isinstance(value, _PLAIN):
                if not isinstance(distribution, CategoricalDistribution):
                    raise ValueError(f"{name}: {value!r} is no number")
            elif isinstance(value, str) and not isinstance(distribution, CategoricalDistribution):
                raise ValueError(f"{name}: {value!r} is no number")
            if not distribution._contains(distribution.to_internal_repr(value)):
                raise ValueError(f"{name}: {value!r} is not in its domain")
            drawn[name] = value
        return drawn


def _is_plain(domain: Choices) -> bool:
    return all(isinstance(value, _PLAIN) for value in domain.values)


def _distinct(domain: Choices) -> list[Any]:
    # Each has one position only: from a value that an earlier process has drawn its position is found again.
    distinct: dict[object, Any] = {}
    for value in domain.values:
        distinct.setdefault(row_key(value), value)
    return list(distinct.values())


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Range):
        if domain.is_int:
            return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    assert isinstance(domain, Choices)
    # Optuna knows plain values only; lists stand in for their position.
    return CategoricalDistribution(tuple(domain.values) if _is_plain(domain) else range(len(_distinct(domain))))
