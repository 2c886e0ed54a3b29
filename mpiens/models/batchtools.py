"""The part of netpyne.batchtools that scripts use, on top of the trial that is running.

`install` puts it in place before NetPyNE is imported, so that a script written for netpyne.batchtools finds the
modules it imports, and neither batchtk nor Ray is needed. Without a trial (a script run by hand) the configuration
stays as the script makes it, and `comm.send` prints what it is given.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Mapping
from types import ModuleType
from typing import Any, SupportsFloat, SupportsIndex

from mpiens.errors import InstallationError, ModelError, TrialError
from mpiens.models import dotted
from mpiens.models.session import Session, TrialFolder, plain_data

HOST = 0


class Comm:
    """Stands in for ``netpyne.batchtools.comm``: takes the script's results."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.connected = True
        self.latest: weakref.ref[Any] | None = None

    @property
    def pc(self) -> Any:
        """NEURON's ParallelContext."""
        from neuron import h

        return h.ParallelContext()

    @property
    def rank(self) -> int:
        """This rank in its group."""
        return int(self.pc.id())

    def initialize(self) -> None:
        """Nothing to do: the trial is there already."""

    def set_runner(self, runner_type: str) -> None:
        """Nothing to do: results go to mpiens, whatever the script would choose."""

    def is_host(self) -> bool:
        """True on the rank whose results count."""
        return self.rank == HOST

    def send(self, data: object) -> None:
        """Hand in results; what other ranks than the host send is dropped."""
        if self.session is not None:
            self.session.receive(data)
        elif self.is_host():
            print(json.dumps(plain_data(data), default=_json_default))

    def recv(self) -> None:
        """Not available: mpiens sends a script nothing but its parameters.

        Raises:
            TrialError: Always.
        """
        raise TrialError("comm.recv is not available: a trial gets its parameters through cfg.update()")

    def report(self, value: SupportsFloat, step: SupportsIndex) -> None:
        """As `mpiens.models.base.Trial.report`; without a trial nothing happens."""
        if self.session is not None and self.session.trial is not None:
            self.session.trial.report(value, step)

    def should_prune(self) -> bool:
        """As `mpiens.models.base.Trial.should_prune`, on every rank of the group; without a trial False."""
        trial = None if self.session is None else self.session.trial
        return trial is not None and trial.should_prune()

    def close(self) -> None:
        """Nothing to do."""


comm = Comm()


def install() -> None:
    """Put the stand-in for netpyne.batchtools in place, then import NetPyNE. A second call does nothing.

    NEURON must be attached before: NetPyNE asks for its rank while it is imported.

    Raises:
        InstallationError: NetPyNE cannot be imported.
    """
    if getattr(sys.modules.get("netpyne.batchtools"), "mpiens_comm", None) is comm:
        return
    if "netpyne" in sys.modules:
        raise ModelError(
            "netpyne was imported before mpiens could prepare it; in a script put `from mpiens.netpyne import ...` "
            "before other imports of netpyne, and do not import netpyne in a set-up function"
        )
    stand_in = ModuleType("netpyne.batchtools", __doc__)
    stand_in.__path__ = []  # so that an import of a part that is not here says which
    vars(stand_in).update(comm=comm, mpiens_comm=comm, __getattr__=_attribute)
    sys.modules[stand_in.__name__] = stand_in
    try:
        import netpyne
        from netpyne import sim, specs
    except ImportError as error:
        del sys.modules[stand_in.__name__]
        raise InstallationError(
            f"cannot import NetPyNE: {error}; install it with `pip install 'mpiens[neuron]'`"
        ) from error
    # Versions that do not look for batchtools themselves get the same.
    netpyne.batchtools = stand_in
    specs.SimConfig = _attribute("Runner_SimConfig")
    specs.get_mappings, specs.test_mappings = get_mappings, test_mappings
    sim.send, sim.end_comm = comm.send, comm.close
    _watch_configuration(sim)


def _watch_configuration(sim: Any) -> None:
    """Let the trial's parameters in where NetPyNE takes a configuration from a script."""
    set_sim_cfg, load_python_module = sim.setSimCfg, sim.loadPythonModule

    def setSimCfg(cfg: Any) -> None:  # noqa: N802 - NetPyNE's name
        """NetPyNE's own, after the trial's parameters have been applied."""
        if comm.session is None:
            set_sim_cfg(cfg)
            return
        from netpyne import specs

        if not isinstance(cfg, specs.simConfig.SimConfig):
            cfg = specs.SimConfig(cfg or {})
        comm.session.require(cfg)
        # NetPyNE forms the file name from the folder, which would make the folder; ours is formed already.
        folder = cfg.saveFolder
        if isinstance(folder, TrialFolder):
            cfg.saveFolder = ""
            try:
                set_sim_cfg(cfg)
            finally:
                cfg.saveFolder = folder
            if cfg.simLabel:
                cfg.filename = TrialFolder(f"{folder.folder}/{cfg.simLabel}", folder.folder)
        else:
            set_sim_cfg(cfg)

    def loadPythonModule(path: str) -> Any:  # noqa: N802 - NetPyNE's name
        """NetPyNE's own, and the trial's parameters for a configuration in it."""
        module = load_python_module(path)
        offer_module(module)
        return module

    sim.setSimCfg, sim.loadPythonModule = setSimCfg, loadPythonModule


def offer_module(module: ModuleType) -> None:
    """Apply the trial's parameters to configurations that `module`, just executed, holds."""
    from netpyne.specs.simConfig import SimConfig

    if comm.session is not None:
        for value in list(vars(module).values()):
            if isinstance(value, SimConfig):
                comm.session.offer(value)


def _attribute(name: str) -> Any:
    """Parts of netpyne.batchtools that need NetPyNE, made when asked for."""
    if name == "specs":
        from netpyne import specs

        return specs
    if name == "sim":
        from netpyne import sim

        return sim
    if name == "Runner_SimConfig":
        return vars(sys.modules["netpyne.batchtools"]).setdefault(name, _sim_config_class())
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"netpyne.batchtools.{name} is not available under mpiens, which runs the batch itself; "
        "scripts get specs, comm and sim"
    )


def _sim_config_class() -> type:
    from netpyne.specs.simConfig import SimConfig as Base

    class SimConfig(Base):  # type: ignore[misc]
        """NetPyNE's SimConfig, with an `update` that applies the trial's parameters."""

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            comm.latest = weakref.ref(self)

        def update(self, simConfigDict: Mapping[str, Any] | None = None, force_match: bool = False) -> None:  # noqa: N803
            """Take `simConfigDict`, then the trial's parameters, which win."""
            if simConfigDict:
                _merge(self, simConfigDict, force_match)
            if comm.session is not None:
                comm.session.update(self)

        update_cfg = update

        def get_mappings(self) -> dict[str, Any]:
            """The trial's parameters, its folder and its label, by dotted path."""
            return get_mappings()

        def test_mappings(self, mappings: Mapping[str, Any]) -> bool:
            """Apply `mappings`.

            Raises:
                UnknownPath: One of them is not in the configuration.
            """
            for path, value in mappings.items():
                dotted.assign(self, path, value)
            return True

    return SimConfig


def test_mappings(mappings: Mapping[str, Any]) -> bool:
    """Apply `mappings`, with or without ``cfg.`` before each path, to the configuration that was made last.

    Raises:
        UnknownPath: One of them is not in the configuration.
        TrialError: There is no configuration.
    """
    cfg = comm.latest() if comm.latest is not None else None
    if cfg is None:
        raise TrialError("specs.test_mappings: the script has made no SimConfig yet")
    is_long = not hasattr(cfg, "cfg")
    return bool(
        cfg.test_mappings({path.removeprefix("cfg.") if is_long else path: value for path, value in mappings.items()})
    )


def get_mappings() -> dict[str, Any]:
    """The trial's parameters, its folder and its label, by dotted path; nothing without a trial."""
    return comm.session.mappings if comm.session is not None else {}


class UnmatchedItem(TrialError, AttributeError):
    """``cfg.update(..., force_match=True)`` names what is not there."""


def _merge(target: Any, source: Mapping[str, Any], force_match: bool) -> None:
    """Put the values of `source` into `target`, a mapping or a list; mappings inside are merged."""
    for key, value in source.items():
        is_list = isinstance(target, list)
        is_there = int(key) < len(target) if is_list else key in target
        if not is_there and (force_match or is_list):
            raise UnmatchedItem(f"cfg.update(..., force_match={force_match}): there is no item {key!r}")
        inner = target[int(key) if is_list else key] if is_there else None
        if isinstance(value, Mapping) and isinstance(inner, (Mapping, list)):
            _merge(inner, value, force_match)
        else:
            target[int(key) if is_list else key] = value


def _json_default(value: Any) -> Any:
    for name in ("tolist", "to_python"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"cannot show {type(value).__name__} as JSON")
