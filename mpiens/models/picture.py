"""All numbers of the network that NEURON holds, to look at and to put back in one go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


class Picture:
    """The network as it is now. Sections, mechanisms and connections made later are not part of it.

    Attributes:
        values: All variables, float64; `restore` puts them back. As they were, until somebody writes here.
        delays: Of the connections, in ms; likewise.
    """

    def __init__(self) -> None:
        from neuron import h

        self._sections = list(h.allsec())
        self._netcons = _listed("NetCon")
        self._weights: dict[Any, int] = {}
        self._variables: dict[tuple[Any, str], int] = {}
        references = list(self._references())
        self._pointers: Any = h.PtrVector(max(1, len(references)))
        for index, reference in enumerate(references):
            self._pointers.pset(index, reference)
        if not references:
            self._nothing = h.Vector(1)
            self._pointers.pset(0, self._nothing._ref_x[0])
        self._buffer: Any = h.Vector(max(1, len(references)))
        self._form = self._current_form()
        self._places = {netcon: place for place, netcon in enumerate(self._netcons)}
        self.delays: list[float] = [netcon.delay for netcon in self._netcons]
        self._active = [netcon.active() for netcon in self._netcons]
        self._thresholds = [netcon.threshold for netcon in self._netcons]
        self.values = self.current()

    def _references(self) -> Iterator[Any]:
        place = 0
        for owner, name, reference in _variables(self._sections):
            if owner is not None:
                self._variables[owner, name] = place
            place += 1
            yield reference
        for netcon in self._netcons:
            self._weights[netcon] = place
            for index in range(int(netcon.wcnt())):
                place += 1
                yield netcon._ref_weight[index]

    def variable(self, point_process: Any, name: str) -> int:
        """Place of a point process's variable in `values`.

        Raises:
            KeyError: There is none.
        """
        return self._variables[point_process, name]

    def weight(self, netcon: Any) -> tuple[int, int]:
        """Where a connection's weights begin in `values`, and how many they are.

        Raises:
            KeyError: It is not part of the picture.
        """
        return self._weights[netcon], int(netcon.wcnt())

    def place(self, netcon: Any) -> int:
        """Place of a connection in `delays`."""
        return self._places[netcon]

    def current(self) -> np.ndarray:
        """All variables as they are at this moment, in the order of `values`.

        Raises:
            RuntimeError: A part of the network is gone.
        """
        self._pointers.gather(self._buffer)
        return np.array(self._buffer.as_numpy())

    def is_whole(self) -> bool:
        """True when the same sections, mechanisms and connections are there, of the same form."""
        try:
            return self._current_form() == self._form
        except (ReferenceError, RuntimeError):
            return False  # a section is gone

    def is_as_taken(self) -> bool:
        """True when nothing at all has changed."""
        return (
            self.is_whole()
            and self.current().tobytes() == self.values.tobytes()
            and [netcon.delay for netcon in self._netcons] == self.delays
        )

    def restore(self) -> None:
        """Put all variables back to `values`."""
        from neuron import h

        self._pointers.scatter(h.Vector(self.values) if len(self.values) else self._buffer)
        for netcon, delay, active, threshold in zip(
            self._netcons, self.delays, self._active, self._thresholds, strict=True
        ):
            if netcon.delay != delay:
                netcon.delay = delay
            if netcon.active() != active:
                netcon.active(active)
            if netcon.threshold != threshold:
                netcon.threshold = threshold

    def remove(self) -> None:
        """Delete the sections."""
        from neuron import h

        for section in self._sections:
            try:
                h.delete_section(sec=section)
            except (ReferenceError, RuntimeError):
                continue  # gone already
        self._sections, self._netcons = [], []
        self._weights, self._variables, self._places = {}, {}, {}
        self._pointers = None

    def _current_form(self) -> tuple[object, ...]:
        from neuron import h

        sections = list(h.allsec())
        if len(sections) != len(self._sections):
            return (len(sections),)
        forms = []
        for section in self._sections:
            trees = section.trueparentseg()
            forms.append(
                (
                    *(section.nseg, section.L, section.Ra, section.rallbranch, section.n3d()),
                    *(tuple((segment.diam, [part.name() for part in segment]) for segment in section),),
                    None if trees is None else (trees.sec.name(), trees.x),
                )
            )
        return (forms, int(h.List("NetCon").count()), [int(h.List(name).count()) for name in _point_processes()])


def _variables(sections: list[Any]) -> Iterator[tuple[Any, str, Any]]:
    """Owner (a point process, or None), name and reference of every variable."""
    names: dict[str, list[tuple[str, int]]] = {}
    for section in sections:
        for segment in section:
            for name in ("v", "cm"):
                yield None, name, getattr(segment, f"_ref_{name}")
            for mechanism in segment:
                kind = mechanism.name()
                for name, reference in _of(segment, names.setdefault(kind, _names(kind))):
                    yield None, name, reference
            for process in segment.point_processes():
                kind = _kind(process)
                for name, reference in _of(process, names.setdefault(kind, _names(kind))):
                    yield process, name, reference
    for kind in _point_processes(only_artificial=True):
        for process in _listed(kind):
            for name, reference in _of(process, names.setdefault(kind, _names(kind))):
                yield process, name, reference


def _of(owner: Any, names: list[tuple[str, int]]) -> Iterator[tuple[str, Any]]:
    for name, size in names:
        try:
            reference = getattr(owner, f"_ref_{name}")
            found = [reference] if size == 1 else [reference[index] for index in range(size)]
        except Exception:  # noqa: BLE001, S112 - pointers that are not set, and what is no number
            continue
        for one in found:
            yield name, one


def _names(kind: str) -> list[tuple[str, int]]:
    from neuron import h

    standard, name = h.MechanismStandard(kind, 0), h.ref("")
    found = []
    for index in range(int(standard.count())):
        size = int(standard.name(name, index))
        found.append((str(name[0]), size))
    return found


def _kind(process: Any) -> str:
    return str(process.hname()).partition("[")[0]


def _point_processes(only_artificial: bool = False) -> list[str]:
    from neuron import h

    kinds, name = h.MechanismType(1), h.ref("")
    found = []
    for index in range(int(kinds.count())):
        kinds.select(index)
        kinds.selected(name)
        if not only_artificial or kinds.is_artificial(index):
            found.append(str(name[0]))
    return found


def _listed(template: str) -> list[Any]:
    from neuron import h

    listed = h.List(template)
    return [listed.o(index) for index in range(int(listed.count()))]
