"""What a trial may leave behind in this process for trials after it: putting it back, or saying so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

_MOVING = frozenset({"t", "diam_changed", "stoprun"})
"""Variables that every simulation moves and the next one sets."""

_INTEGRATOR = (
    *("active", "atol", "rtol", "maxstep", "minstep", "maxorder", "condition_order", "stiff", "jacobian"),
    *("use_local_dt", "use_fast_imem", "use_mxb", "queue_mode", "debug_event"),
)
"""Settings of NEURON's CVode that can be asked for without an argument."""

_MOST_NAMED = 6


class _Told:
    """Names that a person has read already."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def new(self, names: Iterable[str]) -> str:
        """Those of `names` that are new, for a message; empty where there are none."""
        new = sorted(set(names) - self._names)
        self._names.update(new)
        more = f" and {len(new) - _MOST_NAMED} more" if len(new) > _MOST_NAMED else ""
        return ", ".join(new[:_MOST_NAMED]) + more


class Surroundings:
    """What NetPyNE scripts find at their start. Made once, when NEURON and NetPyNE are loaded."""

    def __init__(self) -> None:
        from neuron import h

        self._names = _known_names()
        self._scalars = scalars(self._names)
        self._integrator = _integrator()
        self._threads = int(h.ParallelContext().nthread())
        self._environ = dict(os.environ)
        self._numpy_errors = np.geterr()
        self._told = _Told()

    def restore(self) -> None:
        """Put back what can be put back, and print, once for each, what cannot."""
        from neuron import h

        pc, cvode = h.ParallelContext(), h.CVode()
        if int(pc.nthread()) != self._threads:
            pc.nthread(self._threads)
        for name, value in _integrator().items():
            if value != self._integrator[name]:
                getattr(cvode, name)(self._integrator[name])
        h.Random().Random123_globalindex(0)
        for name, value in self._scalars.items():
            if getattr(h, name) != value:
                setattr(h, name, value)
        if os.environ != self._environ:
            os.environ.clear()
            os.environ.update(self._environ)
        np.seterr(**self._numpy_errors)
        if new := self._told.new(scalars(_known_names() - self._names)):
            print(
                f"this trial has made variables in hoc, which last: {new}; later trials see what earlier "
                "ones have left there, unless they set them, or isolation: process keeps trials apart"
            )


class Drift:
    """What Python models leave in NEURON. They own it, and may mean to keep it, so it is told and not touched."""

    def __init__(self) -> None:
        self._scalars: dict[str, float] | None = None
        self._sections = 0
        self._told = _Told()

    def look(self) -> None:
        """After each trial: print, once for each, what has changed since the trial before."""
        from neuron import h

        sections = sum(1 for _ in h.allsec())
        found = scalars(self._scalars if self._scalars is not None else _known_names())
        if self._scalars is not None:
            # What the first trial has built may be kept for all; what grows with every trial is a leak.
            if sections > self._sections and self._told.new(["sections"]):
                print(
                    f"this trial has left {sections} sections in NEURON, {sections - self._sections} more than the one "
                    "before; a model must let go of what it has built"
                )
            before = self._scalars
            if changed := self._told.new(name for name, value in found.items() if value != before.get(name)):
                print(
                    f"this trial has left other values in NEURON than the one before: {changed}; a trial that "
                    "does not set them depends on those before it"
                )
        self._scalars, self._sections = found, sections


def scalars(names: Iterable[str]) -> dict[str, float]:
    """Those of hoc's variables of these names that are plain numbers: NEURON's own and mechanisms' GLOBALs."""
    from neuron import h

    found: dict[str, float] = {}
    for name in names:
        if name in _MOVING or name.endswith("_"):
            continue
        try:
            value: Any = getattr(h, name)
        except Exception:  # noqa: BLE001, S112 - hoc raises anything for what is not set up or belongs to a section
            continue
        if type(value) in (float, int):
            found[name] = float(value)
    return found


def _known_names() -> set[str]:
    from neuron import hoc

    # Not dir(neuron.h): that may be an object of Python's, which lists its own attributes only.
    return set(dir(hoc.HocObject()))


def _integrator() -> dict[str, Any]:
    from neuron import h

    cvode = h.CVode()
    return {name: getattr(cvode, name)() for name in _INTEGRATOR if hasattr(cvode, name)}
