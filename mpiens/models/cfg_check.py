"""Which parameters a NetPyNE script's configuration does not have, found before a job is queued.

``python -m mpiens.models.cfg_check init.py name...`` prints it as JSON. It runs the user's cfg.py, so it belongs in a
process of its own: NEURON and NetPyNE stay loaded there, and cfg.py may do anything.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from mpiens.blame import describe_exception
from mpiens.errors import ModelError
from mpiens.models import dotted
from mpiens.models.loading import prepend_path
from mpiens.models.netpyne import compile_script
from mpiens.models.own_process import answer_as_process, ask_process

_CANDIDATES = ("cfg.py", "src/cfg.py", "simConfig.py")


def unknown_cfg_paths(script: str, names: Sequence[str], timeout_s: float = 120.0) -> list[tuple[str, str | None]]:
    """Parameters that the configuration of `script` does not have, each with the nearest path that exists.

    Args:
        script: The NetPyNE script; its cfg.py is looked for beside it. Without one nothing can be checked.
        names: Dotted paths.
        timeout_s: How long cfg.py may take.

    Raises:
        ModelError: cfg.py raises, makes no SimConfig, or takes too long.
        InstallationError: NEURON or NetPyNE do not work here.
    """
    cfg_path = find_cfg(script)
    if cfg_path is None:
        return []
    unknown = ask_process("mpiens.models.cfg_check", [script, *names], str(cfg_path), timeout_s)
    return [(str(name), nearest) for name, nearest in unknown]


def check_script(script: str) -> None:
    """Whether the script can be read, and what it imports at its top can be found.

    Raises:
        SpecError: It is not there.
        ModelError: It has a syntax error, or imports a module that is not installed.
    """
    compile_script(script)
    folder = Path(script).parent
    for node in ast.parse(Path(script).read_bytes()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            root = name.partition(".")[0]
            is_here = (folder / f"{root}.py").is_file() or (folder / root).is_dir()
            if not is_here and importlib.util.find_spec(root) is None:
                raise ModelError(f"{Path(script).name}:{node.lineno}: imports {root}, which is not installed")


def find_cfg(script: str) -> Path | None:
    """The script's configuration file, or None."""
    folder = Path(script).parent
    return next((folder / name for name in _CANDIDATES if (folder / name).is_file()), None)


def _unknown_here(script: str, *names: str) -> list[tuple[str, str | None]]:
    """As `unknown_cfg_paths`, in this process."""
    from mpiens.models import batchtools

    script = str(Path(script).resolve())
    cfg_path = find_cfg(script)
    if cfg_path is None:
        return []
    batchtools.install()
    from netpyne.specs.simConfig import SimConfig

    prepend_path(str(cfg_path.parent))
    folder = str(Path(script).parent)
    prepend_path(folder)
    os.chdir(folder)
    sys.argv = [script]
    spec = importlib.util.spec_from_file_location(cfg_path.stem, cfg_path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{cfg_path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[cfg_path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ModelError(f"{describe_exception(error, folder)} (while checking the parameters)") from error
    configurations = [value for value in vars(module).values() if isinstance(value, SimConfig)]
    if not configurations:
        raise ModelError(f"{cfg_path} makes no SimConfig: expected `cfg = specs.SimConfig()`")
    _import_net_params(folder, module, configurations[0])
    return [
        (name, dotted.nearest(configurations[0], name))
        for name in names
        if not any(dotted.exists(cfg, name) for cfg in configurations)
    ]


def _import_net_params(folder: str, cfg_module: ModuleType, cfg: object) -> None:
    """Read netParams.py, which takes cfg from the module cfg or from the script."""
    if not Path(folder, "netParams.py").is_file():
        return
    main = sys.modules["__main__"]
    vars(main).update(cfg=cfg, simConfig=cfg)
    sys.modules.setdefault("cfg", cfg_module)
    try:
        importlib.import_module("netParams")
    except (Exception, SystemExit) as error:
        raise ModelError(f"{describe_exception(error, folder)} (while checking netParams.py)") from error


if __name__ == "__main__":
    answer_as_process(_unknown_here, *sys.argv[1:])
