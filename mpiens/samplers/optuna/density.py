"""The mixtures from which TPE draws, and their densities, as Optuna defines them, several times faster.

Optuna works with logarithms throughout, in complex numbers; in a mixture with a broad part, as TPE's have, what
underflows in a single kernel does not count.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

_LOG_NORM = 0.5 * math.log(2 * math.pi)


def draw(mixture: Any, chance: np.random.RandomState, count: int) -> np.ndarray:
    """Points from a mixture, from the same random numbers as Optuna's own.

    Args:
        mixture: An Optuna mixture of products: weights, and for each parameter its kernels.
        chance: Where random numbers come from.
        count: How many points.

    Returns:
        ``[count, parameters]``.
    """
    chosen = chance.choice(len(mixture.weights), p=mixture.weights, size=count)
    points = np.empty((count, len(mixture.distributions)))
    numeric = []
    for index, kernels in enumerate(mixture.distributions):
        if hasattr(kernels, "mu"):
            numeric.append((index, kernels))
            continue
        levels = np.cumsum(kernels.weights[chosen], axis=1)
        levels[:, -1] = 1  # whatever rounding has made of it
        points[:, index] = (levels < chance.rand(count)[:, np.newaxis]).sum(axis=1)
    quantiles = chance.uniform(size=(len(numeric), count))
    for (index, kernels), quantile in zip(numeric, quantiles, strict=True):
        mu, sigma = kernels.mu[chosen], kernels.sigma[chosen]
        low, high = (kernels.adapted_low - mu) / sigma, (kernels.adapted_high - mu) / sigma
        x = _quantile(quantile, low, high) * sigma + mu
        if kernels.is_log:
            x = np.exp(x)
        if kernels.step:
            x = kernels.low + np.round((x - kernels.low) / kernels.step) * kernels.step
        points[:, index] = np.clip(x, kernels.low, kernels.high)
    return points


def log_density(mixture: Any, points: np.ndarray) -> np.ndarray:
    """Logarithm of the density at each point.

    Args:
        mixture: An Optuna mixture of products: weights, and for each parameter its kernels.
        points: ``[n, parameters]``.

    Returns:
        ``[n]``.
    """
    constant = np.log(mixture.weights)
    total = np.zeros((len(points), len(constant)))
    with np.errstate(divide="ignore"):
        for x, kernels in zip(points.T, mixture.distributions, strict=True):
            if not hasattr(kernels, "mu"):
                total += np.log(kernels.weights[:, x.astype(np.int64)].T)
                continue
            mu, sigma = kernels.mu, kernels.sigma
            constant -= np.log(_mass((kernels.adapted_low - mu) / sigma, (kernels.adapted_high - mu) / sigma))
            if kernels.step:
                total += _log_masses(x, kernels)
                continue
            z = np.subtract.outer(np.log(x) if kernels.is_log else x, mu)
            z /= sigma
            z *= z
            z *= 0.5
            total -= z
            constant -= np.log(sigma) + _LOG_NORM
    total += constant
    peak = total.max(axis=1)
    total -= peak[:, np.newaxis]
    return np.asarray(np.log(np.exp(total, out=total).sum(axis=1)) + peak)


def _log_masses(x: np.ndarray, kernels: Any) -> np.ndarray:
    """Logarithm of the probability that each kernel gives a step of a discrete parameter, ``[len(x), kernels]``."""
    values, place = np.unique(x, return_inverse=True)
    half = kernels.step / 2
    edges = [values - half, values + half]
    if kernels.is_log:
        edges = [np.log(edge) for edge in edges]
    left, right = (np.subtract.outer(edge, kernels.mu) / kernels.sigma for edge in edges)
    return np.asarray(np.log(_mass(left, right))[place])


def _mass(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Probability between a and b of a normal distribution; b is not below a."""
    # On the left side, where small numbers are exact.
    flip = a > 0
    return np.asarray(ndtr(np.where(flip, -a, b)) - ndtr(np.where(flip, -b, a)))


def _quantile(q: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where a normal distribution between a and b has so much of its mass below."""
    flip = a > 0
    below, share = ndtr(np.where(flip, -b, a)), np.where(flip, 1 - q, q)
    x = ndtri(below + share * _mass(a, b))
    return np.asarray(np.clip(np.where(flip, -x, x), a, b))
