"""Spikes as a picture."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mpiens.errors import MpiensError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_raster(spikes: pd.DataFrame, ax: Axes | None = None, *, size: float = 2.0) -> Axes:
    """Draw a dot for every spike: time across, cells upwards, a colour for each population.

    Args:
        spikes: Columns ``t_ms``, ``gid`` and perhaps ``pop``, as ``r.spikes(trial)`` gives them.
        ax: Axes to draw into; a new figure, without a window, if there are none.
        size: Of the dots, in points.

    Returns:
        The axes; ``ax.figure.savefig("raster.png")`` saves the picture.

    Raises:
        MpiensError: matplotlib is not installed.
    """
    if ax is None:
        try:
            figure: Any = import_module("matplotlib.figure").Figure(layout="constrained")
        except ImportError as error:
            raise MpiensError(f"a picture needs matplotlib ({error}): pip install 'mpiens[analysis]'") from error
        made: Axes = figure.subplots()
        ax = made
    groups = spikes.groupby("pop", observed=True) if "pop" in spikes else [("", spikes)]
    for name, group in groups:
        ax.plot(group["t_ms"], group["gid"], ".", markersize=size, label=str(name) or None)
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("cell (gid)")
    if "pop" in spikes and len(spikes):
        ax.legend(loc="upper right", markerscale=4)
    return ax
