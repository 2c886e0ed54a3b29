"""Where NetPyNE asks whether to build, or to take a kept network over."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpiens.models.reuse import Reuse


def install(reuse: Reuse) -> None:
    """Have NetPyNE ask `reuse` where it builds; once per process, before any script runs."""
    from netpyne import conversion, sim
    from neuron import h

    class Network(sim.Network):  # type: ignore[misc]
        """NetPyNE's own, built step by step or taken over from an earlier trial."""

        def createPops(self) -> Any:  # noqa: N802 - NetPyNE's name
            return reuse.stage(self, "createPops", super().createPops)

        def createCells(self) -> Any:  # noqa: N802
            return reuse.stage(self, "createCells", super().createCells)

        def connectCells(self) -> Any:  # noqa: N802
            return reuse.stage(self, "connectCells", super().connectCells)

        def addStims(self) -> Any:  # noqa: N802
            return reuse.stage(self, "addStims", super().addStims)

        def _addCellConn(self, connParam: Any, preCellGid: Any, postCellGid: Any, *rest: Any, **named: Any) -> None:  # noqa: N802, N803
            cell = self.cells[self.gid2lid[postCellGid]]
            add = super()._addCellConn
            rule = ("connParams", str(connParam["label"]))
            reuse.note(rule, cell, lambda: add(connParam, preCellGid, postCellGid, *rest, **named))

        def _addCellStim(self, stimParam: Any, postCell: Any) -> None:  # noqa: N802, N803
            add = super()._addCellStim
            reuse.note(("stimTargetParams", str(stimParam["label"])), postCell, lambda: add(stimParam, postCell))

    def spoiling(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def changed(*args: Any, **named: Any) -> Any:
            reuse.spoil(f"the script calls {name}")
            return original(*args, **named)

        setattr(owner, name, changed)

    def clearing_the_way(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def changed(*args: Any, **named: Any) -> Any:
            reuse.clear_the_way(f"the script calls {name} before it builds a network")
            return original(*args, **named)

        setattr(owner, name, changed)

    create, begin, clear_all = sim.create, sim.createParallelContext, sim.clearAll

    def create_parallel_context() -> None:
        """NetPyNE's own forgets the cells' gids, those of the kept network too."""
        if not reuse.has_network:
            begin()
            return
        sim.pc = h.ParallelContext()
        sim.nhosts, sim.rank = int(sim.pc.nhost()), int(sim.pc.id())

    def clear() -> None:
        """NetPyNE's own, which takes apart what would be kept."""
        if reuse.has_network:
            reuse.spoil("the script calls clearAll")
            reuse.release()
        clear_all()

    for name in ("modifyCells", "modifyConns", "modifySynMechs", "modifyStims"):
        spoiling(Network, name)
    for name in ("runSim", "setupRecording"):
        clearing_the_way(sim, name)
    clearing_the_way(conversion, "importCellsFromNet")
    conversion.importCell = _remembering(conversion.importCell, reuse)
    sim.Network, sim.createParallelContext, sim.clearAll = Network, create_parallel_context, clear
    sim.create = lambda *args, **named: reuse.in_one_call(lambda: create(*args, **named))


def _remembering(import_cell: Callable[..., Any], reuse: Reuse) -> Callable[..., Any]:
    """NetPyNE's importCell, which looks at, and deletes, all sections there are: not while there is a kept network.

    Then it returns what it returned before for the same file. Where that depends on the trial's parameters, a network
    that is built anew for comparison, which imports anew, ends otherwise.
    """
    known: dict[tuple[object, ...], Any] = {}

    def importCell(fileName: str, cellName: str, cellArgs: Any = None, cellInstance: bool = False) -> Any:  # noqa: N802, N803 - NetPyNE's names
        path = os.path.realpath(fileName)
        time_ns = Path(path).stat().st_mtime_ns if Path(path).is_file() else 0
        key = (path, time_ns, cellName, repr(cellArgs), cellInstance)
        if reuse.has_network and key in known:
            return copy.deepcopy(known[key])
        reuse.clear_the_way("the script imports a cell that it has not imported before")
        found = import_cell(fileName, cellName, cellArgs, cellInstance)
        known[key] = copy.deepcopy(found)
        return found

    return importCell
