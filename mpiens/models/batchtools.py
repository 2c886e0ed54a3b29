"""The part of netpyne.batchtools that scripts use, on top of the trial that is running.

`install` puts it in place before NetPyNE is imported, so that a script written for netpyne.batchtools finds the
modules it imports, and neither batchtk nor Ray is needed. Without a trial (a script run by hand) the configuration
stays as the script makes it, and `comm.send` prints what it is given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, SupportsFloat, SupportsIndex

from mpiens.errors import InstallationError, ModelError, TrialError
from mpiens.models import dotted
from mpiens.models.base import Trial

HOST = 0


class TrialFolder(str):
    """Path in a trial's folder, as text; the folder is made when the text is used to form a path."""

    folder: str

    def __new__(cls, text: str, folder: str) -> TrialFolder:
        """`text` is `folder` or a path below it."""
        made = super().__new__(cls, text)
        made.folder = folder
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str.__str__(self), self.folder

    def __str__(self) -> str:
        return self._made()

    def __format__(self, form: str) -> str:
        return format(self._made(), form)

    def __add__(self, other: str) -> str:
        return self._made() + other

    def __fspath__(self) -> str:
        return self._made()

    def _made(self) -> str:
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return str.__str__(self)


class Session:
    """What passes between one trial and its script.

    Args:
        params: Values by dotted path into the script's configuration.
        number: The trial's.
        directory: Its folder, not made yet.
        seed: Replaces every seed in the configuration's `seeds`, unless a parameter sets it; None: they stay.
        trial: Takes what the script reports.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        number: int,
        directory: Path,
        seed: int | None = None,
        trial: Trial | None = None,
    ) -> None:
        self.params = dict(params)
        self.trial = trial
        self._seed = seed
        self.results: dict[str, object] = {}
        self.has_sent = False
        self.unapplied = set(self.params)
        """Names of parameters that no configuration has taken yet."""
        self._label = f"trial_{number}"
        self._folder = str(directory)
        self._configured: list[object] = []
        self._has_updated = False

    @property
    def mappings(self) -> dict[str, Any]:
        """What the configuration gets, by dotted path."""
        return {"saveFolder": self._folder, "simLabel": self._label, **self.params}

    def update(self, cfg: Any) -> None:
        """The script asks for the trial's parameters; its later assignments stand."""
        self._has_updated = True
        self._apply(cfg)

    def offer(self, cfg: Any) -> None:
        """A module of the script has made `cfg`; if the script never asks, this is where the parameters come in."""
        if not self._has_updated and not any(known is cfg for known in self._configured):
            self._apply(cfg)

    def require(self, cfg: Any) -> None:
        """The simulation begins with `cfg`.

        Raises:
            TrialError: A parameter is in no configuration.
        """
        self.offer(cfg)
        for name in sorted(self.unapplied):
            try:
                dotted.assign(cfg, name, self.params[name])
            except dotted.UnknownPath as error:
                raise TrialError(unknown_parameter(error)) from None
        self.unapplied.clear()

    def receive(self, data: object) -> None:
        """Results from the script; later ones are added to those before.

        Raises:
            TrialError: They are not results by name.
        """
        self.results.update(plain_data(data))
        self.has_sent = True

    def _apply(self, cfg: Any) -> None:
        self._configured.append(cfg)
        if "simLabel" not in self.params:
            cfg.simLabel = self._label
        if "saveFolder" not in self.params:
            cfg.saveFolder = TrialFolder(self._folder, self._folder)
        if "filename" not in self.params:
            cfg.filename = TrialFolder(f"{self._folder}/{self._label}", self._folder)
        if self._seed is not None:
            cfg.seeds = dict.fromkeys(cfg.seeds, self._seed)
        for name, value in self.params.items():
            try:
                dotted.assign(cfg, name, value)
            except dotted.UnknownPath:
                # The script may create it below this line; `require` and the script's end insist.
                continue
            self.unapplied.discard(name)


def unknown_parameter(error: dotted.UnknownPath) -> str:
    """What to tell a user whose parameter is not in the configuration."""
    return f"parameter {error.path!r}: the script's SimConfig has no such path; " + (
        f"did you mean {error.nearest!r}?"
        if error.nearest
        else error.reason or "give it a value in cfg.py, or name one that is there"
    )


def plain_data(data: object) -> dict[str, object]:
    """What a script sends, as a dict.

    Args:
        data: A mapping, JSON text of one, or an object with ``to_dict`` or ``to_json`` such as a pandas.Series.

    Raises:
        TrialError: It is something else.
    """
    found = data
    if isinstance(found, (str, bytes)):
        try:
            found = json.loads(found)
        except ValueError as error:
            raise TrialError(f"comm.send: expected a dict or JSON, found text that is not JSON: {error}") from None
    elif not isinstance(found, Mapping):
        if hasattr(found, "to_dict"):
            found = found.to_dict()
        elif hasattr(found, "to_json"):
            found = json.loads(found.to_json())
    if not isinstance(found, Mapping):
        raise TrialError(f"comm.send: expected results by name, a dict, found {type(found).__name__}")
    return {str(name): value for name, value in found.items()}


class Comm:
    """Stands in for ``netpyne.batchtools.comm``: takes the script's results."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.connected = True

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
    specs.get_mappings = get_mappings
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
