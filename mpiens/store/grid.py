"""From rows to an N-dimensional grid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mpiens.errors import StoreError

REPEAT = "repeat"


def grid_dataset(
    xarray: ModuleType,
    path: Path,
    params: Mapping[str, np.ndarray | list[Any]],
    variables: Mapping[str, np.ndarray | list[Any]],
    attributes: Mapping[str, str],
) -> Any:
    """An xarray.Dataset with the parameters as dimensions.

    Args:
        xarray: The library.
        path: Where the values come from, for errors.
        params: Values of each parameter, one a trial.
        variables: Values of each result, one a trial: an array ``[n_trials, ...]`` or a list.
        attributes: Attributes of the dataset.

    Raises:
        StoreError: The points are not a full grid, each as often as the others.
    """
    if not params:
        raise StoreError(f"{path}: no parameters, so there is no grid; use `trials`")
    axes, codes = {}, []
    for name, values in params.items():
        axes[name], code = _axis(values)
        codes.append(code)
    shape = tuple(len(axis) for axis in axes.values())
    count = len(codes[0])
    points = int(np.prod(np.array(shape, dtype=object)))
    place = _flat_index(codes, shape, count, points, path)
    often = np.bincount(place, minlength=points)
    if often.min() != often.max():
        _refuse(path, axes, shape, often)
    repeats = int(often.max())
    order = np.argsort(place, kind="stable")
    dims = list(axes)
    if repeats > 1:
        shape, dims = (*shape, repeats), [*dims, REPEAT]
    data = {}
    for name, values in variables.items():
        rows = values if isinstance(values, np.ndarray) else _objects(values)
        label = name if name not in dims else f"{name}_result"
        inner = [f"{label}_dim{index}" for index in range(rows.ndim - 1)]
        data[label] = ([*dims, *inner], rows[order].reshape(*shape, *rows.shape[1:]))
    return xarray.Dataset(data, coords=axes, attrs=dict(attributes))


def _flat_index(codes: list[np.ndarray], shape: tuple[int, ...], count: int, points: int, path: Path) -> np.ndarray:
    if not count or points > count:
        raise StoreError(
            f"{path}: not a full grid: {' x '.join(map(str, shape))} = {points} points, but only {count} trials; "
            "use `trials`, or wait until the run is complete"
        )
    flat: np.ndarray = np.ravel_multi_index(codes, shape)
    return flat


def _refuse(path: Path, axes: dict[str, np.ndarray], shape: tuple[int, ...], often: np.ndarray) -> None:
    index = int(often.argmin())
    where = np.unravel_index(index, shape)
    point = ", ".join(f"{name}={axis[at]}" for (name, axis), at in zip(axes.items(), where, strict=True))
    raise StoreError(
        f"{path}: not a full grid: the point {point} has {int(often[index])} trials, another has {int(often.max())}; "
        "use `trials`, or wait until the run is complete"
    )


def _axis(values: np.ndarray | list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, ascending, and the index of each trial's value among them."""
    if isinstance(values, np.ndarray):
        axis, code = np.unique(values, return_inverse=True)
        return axis, code.reshape(-1)
    texts = [json.dumps(value, sort_keys=True) for value in values]
    _texts, first, code = np.unique(texts, return_index=True, return_inverse=True)
    # Labels of an axis must be scalars: nested values are shown as JSON.
    return np.array([texts[index] for index in first], dtype=object), code.reshape(-1)


def _objects(values: list[Any]) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        made[row] = value
    return made
