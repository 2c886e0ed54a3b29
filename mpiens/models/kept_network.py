"""A NetPyNE network that stays when its trial has ended, and what it takes to use it for another."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mpiens.models.differences import Path, at, changes, is_mentioned, is_number, plain
from mpiens.models.picture import Picture
from mpiens.models.slots import SOURCES, Slots

_OF_THE_RUN = frozenset(
    {
        *("duration", "tstop", "dt", "hParams", "cvode_active", "cvode_atol", "cache_efficient", "use_fast_imem"),
        *("simLabel", "saveFolder", "filename", "saveDataInclude", "timestampFilename", "savePickle", "saveJson"),
        *("saveMat", "saveCSV", "saveDpk", "saveHDF5", "saveDat", "saveTiming", "saveCellSecs", "saveCellConns"),
        *("recordCells", "recordTraces", "recordCellsSpikes", "recordStim", "recordStep", "recordTime"),
        *("analysis", "timing", "verbose", "progressBar", "printRunTime", "printPopAvgRates", "printSynsAfterRule"),
        *("gatherOnlySimData", "compactConnFormat", "backupCfgFile", "validateNetParams"),
    }
)
"""Entries of NetPyNE's configuration that matter only once a network has been built."""

Objects = dict[str, int]

State = dict[str, dict[str, Any]]
"""Plain data: the network's ``params``, and of the configuration, ``cfg``, what NetPyNE builds with."""


def objects() -> Objects:
    """How many there are of the objects by which something can act on a network without being part of it."""
    from neuron import h

    return {
        name: int(h.List(name).count()) for name in ("Vector", "FInitializeHandler", "Random", "StateTransitionEvent")
    }


def state_of(net: Any, sim: Any) -> State:
    """What `net` is built from.

    Raises:
        NotPlain: Something in it cannot be compared.
    """
    from netpyne.specs.simConfig import SimConfig

    used = vars(SimConfig()).keys() - _OF_THE_RUN
    return {
        # What begins with _ NetPyNE has derived from the rest.
        "params": {name: plain(value, (name,)) for name, value in vars(net.params).items() if not name.startswith("_")},
        "cfg": {name: plain(value, ("cfg", name)) for name, value in vars(sim.cfg).items() if name in used},
    }


def refusal(state: State) -> str:
    """Why such a network cannot be kept; empty: it can."""
    params, cfg = state["params"], state["cfg"]
    for part in ("rxdParams", "subConnParams"):
        if params.get(part):
            return f"the network has {part}"
    for part, applies in _CHANGING.items():
        for label, entry in params[part].items():
            if applies(entry):
                return f"{part} {label} is of a kind that mpiens cannot put back"
    for key in ("recordLFP", "recordDipole", "recordDipolesHNN", "saveIMembrane", "coreneuron"):
        if cfg.get(key):
            return f"cfg.{key} is used"
    for key in ("createNEURONObj", "createPyStruct"):
        if not cfg.get(key, True):
            return f"cfg.{key} is off"
    return ""


_CHANGING: dict[str, Callable[[dict[str, Any]], bool]] = {
    "connParams": lambda rule: any(rule.get(key) for key in ("plast", "shape", "gapJunction")),
    "synMechParams": lambda mechanism: "pointerParams" in mechanism,
    "stimSourceParams": lambda source: source.get("type") not in SOURCES or source.get("rate") == "variable",
    "stimTargetParams": lambda target: any(target.get(key) for key in ("plast", "shape")),
    "popParams": lambda pop: "originalFormat" in pop,
}
"""Entries with which a network changes while it runs, or has parts that its cells do not own."""


class KeptNetwork:
    """Taken when NetPyNE has built a network.

    Args:
        net: NetPyNE's.
        sim: NetPyNE's module.
        state: What it was built from.
        slots: What its rules have made.
        trial_params: Of the trial that built it.
        before: `objects`, when the building began.

    Attributes:
        trial_params: See above.
    """

    def __init__(
        self, net: Any, sim: Any, state: State, slots: Slots, trial_params: Mapping[str, Any], before: Objects
    ) -> None:
        self.trial_params = dict(trial_params)
        self._state = state
        self._duration = float(sim.cfg.duration)
        self._picture = Picture()
        slots.settle(self._picture, net.cells, net.pops)
        self._slots = slots
        self._objects = {name: number - before[name] for name, number in objects().items()}
        self._objects["Random"] += 1  # `net.rand` has been there before
        self._built = self._picture.values.copy(), list(self._picture.delays)
        self._pops = [(pop, dict(vars(pop))) for pop in net.pops.values()]
        self._cells = [(cell, _copied(vars(cell))) for cell in net.cells]
        self._records = [(record, dict(record)) for record in _records(net)]
        self._net = {name: vars(net)[name] for name in ("pops", "gid2lid", "lastGid", "lastPointerId", "rand")}
        self._random_place = net.rand.seq() if net.params.connParams or net.params.stimTargetParams else None
        self._next_host = sim.nextHost

    def is_whole(self) -> bool:
        """True when nothing has been added to it and nothing taken from it."""
        return self._picture.is_whole()

    def is_alone(self, before: Objects) -> bool:
        """True when there are no other objects of NEURON's than its own and those of `before`."""
        return objects() == {name: number + before[name] for name, number in self._objects.items()}

    def is_untouched(self) -> bool:
        """True when all of its numbers are those that `restore` has set."""
        return self._picture.is_as_taken()

    def differences(self, state: State, duration_ms: float) -> tuple[list[Path], str]:
        """Numbers in which a network of `state` differs; or why it must be built, in words."""
        if not self.is_whole():
            return [], "the script has changed the network that is there before it builds"
        if duration_ms != self._duration and any(
            pop.get("cellModel") == "VecStim" for pop in state["params"]["popParams"].values()
        ):
            return [], "cfg.duration, which VecStims depend on, differs"
        for path in changes(self._state["cfg"], state["cfg"]):
            return [], f"cfg.{'.'.join(path)} differs"
        before, after = self._state["params"], state["params"]
        own = before.keys() - _fields()
        if {name for name in before if name not in own} != {name for name in after if name not in own}:
            return [], "netParams differ"
        found = []
        for name in before.keys() | after.keys():
            if name in own or name not in before:
                if is_mentioned(name, after) and next(changes(before.get(name), after.get(name)), None) is not None:
                    return [], f"netParams.{name}, which a formula uses, differs"
                continue
            for path in changes(before[name], after[name], (name,)):
                if not (self._slots.knows(path) and is_number(at(after, path)) and self._is_possible(path, state)):
                    return [], f"{'.'.join(path)} differs, which is no number that a built network can be given"
                found.append(path)
        return found, ""

    def _is_possible(self, path: Path, state: State) -> bool:
        # NetPyNE may leave connections of weight 0 out.
        return (
            path[-1] != "weight"
            or bool(state["cfg"].get("allowConnsWithWeight0", True))
            or (at(state["params"], path) != 0 and at(self._state["params"], path) != 0)
        )

    def move(self, state: State, paths: list[Path]) -> None:
        """Put NetPyNE's records back, and have `restore` do so in NEURON; but at `paths` the numbers of `state`.

        Raises:
            ArithmeticError: There is no such network.
        """
        for pop, attributes in self._pops:
            vars(pop).update(attributes)
        for cell, attributes in self._cells:
            vars(cell).clear()
            vars(cell).update(_copied(attributes))
        for record, entries in self._records:
            record.clear()
            record.update(entries)
        self._picture.values[:], self._picture.delays[:] = self._built[0], list(self._built[1])
        for path in paths:
            self._slots.set(path, self._picture, at(state["params"], path))

    def give(self, net: Any, sim: Any) -> None:
        """Put into `net` what NetPyNE would have built there."""
        vars(net).update(self._net)
        net.pops, net.gid2lid = type(net.pops)(net.pops), dict(net.gid2lid)
        if self._random_place is not None:
            net.rand.seq(self._random_place)
        sim.nextHost = self._next_host

    @property
    def cells(self) -> list[Any]:
        """NetPyNE's cells."""
        return [cell for cell, _ in self._cells]

    def restore(self) -> None:
        """Set all numbers in NEURON."""
        self._picture.restore()

    def final_values(self) -> np.ndarray:
        """All variables as they are."""
        return np.concatenate([self._picture.current(), self._picture.delays])

    def remove(self) -> None:
        """Out of NEURON."""
        from neuron import h

        self._picture.remove()
        self._pops, self._cells, self._records, self._net = [], [], [], {}
        del self._slots
        gc.collect()
        h.ParallelContext().gid_clear()


def _fields() -> set[str]:
    """Names of what NetPyNE itself reads from a network's parameters."""
    from netpyne.specs import NetParams

    return set(vars(NetParams()))


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    """A cell's attributes; what NetPyNE and scripts add to, and take from, in a copy."""
    return {
        name: list(value) if isinstance(value, list) else type(value)(value) if name in ("tags", "params") else value
        for name, value in attributes.items()
    }


def _records(net: Any) -> Iterator[dict[str, Any]]:
    """What NetPyNE notes of the parts of the network."""
    for pop in net.pops.values():
        yield pop.tags
        if isinstance(pop.tags.get("params"), dict):
            yield pop.tags["params"]
    for cell in net.cells:
        yield from (*cell.conns, *cell.stims, *(vars(cell).get("secs") or {}).values())
