"""An unmodified NetPyNE script as a model.

Each trial runs the script anew, as ``python init.py`` in the script's own folder would: it is ``__main__``, the working
directory and the front of ``sys.path`` are its folder, ``sys.argv`` holds its path alone, and modules that lie in its
folder are imported again. NEURON, NetPyNE and everything else installed stay loaded.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.abc
import importlib.machinery
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mpiens.blame import describe_exception, is_within
from mpiens.errors import ModelError, SpecError, TrialError, TrialPruned
from mpiens.messages import ModelSettings
from mpiens.models import batchtools, neuron
from mpiens.models.base import GroupContext, Trial
from mpiens.models.leftovers import Surroundings
from mpiens.models.loading import nearest_name, prepend_path
from mpiens.models.python import call_setup
from mpiens.models.randomness import seed_globals
from mpiens.models.renewal import RenewedComm
from mpiens.models.reuse import Reuse
from mpiens.models.reuse_hooks import install as install_reuse
from mpiens.models.session import Session
from mpiens.models.simulation_data import take_results


class NetpyneModel:
    """Runs the script that the spec names, once per trial."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._script = settings.target
        self._folder = str(Path(settings.target).parent)
        self._code: CodeType | None = None
        self._comm: RenewedComm | None = None
        self._trials_dir = Path()
        self._has_failed = False
        self._main: ModuleType | None = None
        self._sim_state: dict[str, Any] = {}
        self._surroundings: Surroundings | None = None
        self._reuse: Reuse | None = None

    def setup(self, context: GroupContext) -> None:
        """Attach NEURON, import NetPyNE with the stand-in for its batchtools, and compile the script.

        Raises:
            SpecError: The script is not there.
            ModelError: It has a syntax error.
            InstallationError: NEURON or NetPyNE do not work here.
        """
        self._code = compile_script(self._script)
        self._comm = RenewedComm(context.comm)
        self._trials_dir = context.run_dir / "trials"
        # No window on a compute node, whatever DISPLAY says.
        os.environ["MPLBACKEND"] = "Agg"
        neuron.attach(context.comm, self._settings.library, self._folder)
        batchtools.install()
        prepend_path(self._folder)
        if not any(isinstance(finder, ScriptFolderFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, ScriptFolderFinder(self._folder))
        if self._settings.setup is not None:
            call_setup(self._settings.setup, self._settings.folder, context)
        from netpyne import sim
        from neuron import h

        if self._settings.reuse:
            self._reuse = Reuse(print if context.comm.Get_rank() == 0 else _say_nothing)
            install_reuse(self._reuse)
        self._sim_state = dict(vars(sim))
        h.load_file("stdrun.hoc")  # as NetPyNE does in each trial; its variables are part of what a trial finds
        self._surroundings = Surroundings()
        # What is loaded now stays; looking through it for garbage after each trial would take longer than many a trial.
        gc.collect()
        gc.freeze()

    def run(self, trial: Trial) -> Mapping[str, object] | None:
        """Run the script with the trial's parameters.

        Raises:
            TrialPruned: The script has given the trial up; with what it had sent by then.
            TrialError: The script sent nothing, or ended by sys.exit, or a parameter is not in its configuration.
        """
        if self._code is None or self._comm is None:
            raise AssertionError("setup() comes before run()")
        self._has_failed = True
        if self._reuse is None:
            results = self._run_script(trial, self._code)
        else:
            self._reuse.begin(trial.params)
            try:
                results = self._run_script(trial, self._code)
            except BaseException:
                if self._reuse.wants_check:
                    self._comm.vote(False)
                raise
            if self._reuse.wants_check and self._comm.all_are_well():
                results = self._run_again(trial, self._code, self._reuse)
        self._has_failed = False
        return results

    def _run_again(self, trial: Trial, code: CodeType, reuse: Reuse) -> Mapping[str, object]:
        """The trial that has been run with a kept network, with a new one, whose results count."""
        ends = reuse.final_values()
        self._clear_trial(keeps=False)
        reuse.begin(trial.params, must_build=True)
        try:
            results = self._run_script(trial, code)
        except TrialPruned:
            raise
        except BaseException:
            reuse.turn_off("a trial that went well with the kept network has not ended well with a new one")
            raise
        reuse.compare(ends)
        return results

    def _run_script(self, trial: Trial, code: CodeType) -> Mapping[str, object]:
        seed = trial.seed if self._settings.seeds else None
        session = Session(trial.params, trial.number, self._trials_dir / str(trial.number), seed, trial)
        batchtools.comm.session = session
        seed_globals(trial.seed)
        try:
            with self._as_main() as main:
                exec(code, main.__dict__)  # noqa: S102 - running the user's script is what this is for
        except SystemExit as error:
            _forget_frames(error)
            if error.code not in (None, 0):
                raise TrialError(f"the script ended with sys.exit({error.code!r})") from error
            trial.note_exit()
            self._take_results(session, trial)
            if not session.has_sent and trial.comm.Get_rank() == 0:
                raise TrialError("the script ended with sys.exit() before it sent results") from error
        except TrialPruned as error:
            _forget_frames(error)
            raise TrialPruned({**session.results, **error.results}) from None
        except BaseException as error:
            _forget_frames(error)
            raise
        session.insist()
        self._take_results(session, trial)
        if trial.comm.Get_rank() == 0 and not session.has_sent:
            raise TrialError(
                "the script sent no results; call comm.send({...}) with the results by name, or name parts of the "
                "simulation's data in model.results"
            )
        return session.results

    def _take_results(self, session: Session, trial: Trial) -> None:
        """Add what the spec names to what the script has sent."""
        if self._settings.results and trial.comm.Get_rank() == 0:
            from netpyne import sim

            session.receive(take_results(self._settings.results, sim))

    def clear(self) -> None:
        """Leave no section, gid or module of the trial behind.

        Nothing here waits for another rank on a communicator that the trial has used, so that what a failure on one
        rank left undone there does no harm.
        """
        batchtools.comm.session = None
        has_failed = self._comm.settle(self._has_failed) if self._comm is not None else self._has_failed
        self._has_failed = False
        if neuron.is_loaded():
            self._clear_trial(keeps=self._reuse is not None and self._reuse.may_stay(has_failed))

    def _clear_trial(self, keeps: bool) -> None:
        """Clear all that the script has made; where `keeps`, not the network, if it is as it was built."""
        if self._surroundings is None:
            return
        if self._reuse is not None and not keeps:
            self._reuse.drop()
        _clear_netpyne(self._sim_state, keeps)
        if self._main is not None:
            self._main.__dict__.clear()
            self._main = None
        purge_modules(self._folder)
        gc.collect()
        if not (keeps and self._reuse is not None and self._reuse.settle()):
            _clear_neuron()
        self._surroundings.restore()

    @contextlib.contextmanager
    def _as_main(self) -> Iterator[ModuleType]:
        """A fresh ``__main__`` with the surroundings that ``python init.py`` would have."""
        main = ModuleType("__main__")
        main.__file__ = self._script
        self._main = main
        purge_modules(self._folder)
        outer_main, argv, path, cwd = sys.modules["__main__"], sys.argv, list(sys.path), Path.cwd()
        sys.modules["__main__"] = main
        sys.argv = [self._script]
        prepend_path(self._folder)
        os.chdir(self._folder)
        try:
            yield main
        finally:
            os.chdir(cwd)
            sys.path[:] = path
            sys.argv = argv
            sys.modules["__main__"] = outer_main


class ScriptFolderFinder(importlib.abc.MetaPathFinder):
    """Offers the trial's parameters to every module of the script's folder once it has been executed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """The usual spec, for a module in the folder; None for any other."""
        if batchtools.comm.session is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not importlib.machinery.SourceFileLoader or spec.origin is None:
            return None
        if not is_within(spec.origin, self._folder):
            return None
        spec.loader = _OfferingLoader(spec.name, spec.origin)
        return spec


class _OfferingLoader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        batchtools.offer_module(module)


def compile_script(script: str) -> CodeType:
    """The script's code.

    Raises:
        SpecError: It is not there.
        ModelError: It has a syntax error.
    """
    path = Path(script)
    if not path.is_file():
        neighbours = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise SpecError(f"no file {path}{nearest_name(path.name, neighbours)}")
    try:
        return compile(path.read_bytes(), script, "exec")
    except (SyntaxError, ValueError) as error:
        raise ModelError(describe_exception(error, str(path.parent))) from error


def purge_modules(folder: str) -> None:
    """Forget the imported modules whose files lie in `folder`."""
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if origin and name != "__main__" and str(origin).endswith(".py") and _is_own(str(origin), folder):
            del sys.modules[name]


# There are thousands of modules, the same in each trial, and each look at the file system costs.
_is_own = functools.cache(is_within)


def _say_nothing(text: str) -> None:
    """What the group's root says, the others need not."""


def _forget_frames(error: BaseException) -> None:
    """Let go of the local variables that the traceback holds, the sections of a half-built network among them."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        traceback.clear_frames(current.__traceback__)
        pending += [current.__cause__, current.__context__]


class _LocalContext:
    """What ``sim.clearAll`` needs of a ParallelContext, without waiting for other ranks."""

    def barrier(self) -> float:
        """Nothing: see `NetpyneModel.clear`."""
        return 0.0

    def gid_clear(self, *kind: int) -> None:
        """NEURON's own, which is local."""
        from neuron import h

        h.ParallelContext().gid_clear(*kind)


def _clear_netpyne(state: Mapping[str, Any], keeps_network: bool) -> None:
    """Take down NetPyNE's network, however far the script has got, and put `sim` back as it was."""
    from netpyne import sim

    if not keeps_network and getattr(sim, "net", None) is not None:
        sim.pc = _LocalContext()
        if not hasattr(sim.net, "params"):
            sim.net.params = None
        try:
            sim.clearAll()
        except Exception as error:  # noqa: BLE001 - a half-built network may lack anything; the sweep below is enough
            _forget_frames(error)
    current = vars(sim)
    for name in [name for name in current if name not in state]:
        del current[name]
    current.update(state)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


def _clear_neuron() -> None:
    """Remove what is left in NEURON, whoever holds references to it."""
    from neuron import h

    h.ParallelContext().gid_clear()
    for section in list(h.allsec()):
        h.delete_section(sec=section)
