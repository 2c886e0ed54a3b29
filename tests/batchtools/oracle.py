"""Runs a NetPyNE script as netpyne.batchtools would, for one trial: with NetPyNE's own batchtools package.

What that needs of batchtk, the protocol by environment variables, is stood in for here: a parameter arrives as
``<TYPE>RUNTK<n>=<path>*=<value>``, results leave as text in the file that MSGFILE names. Arguments: the script.
"""

from __future__ import annotations

import ast
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

TYPES = {"INT": int, "FLOAT": float, "STR": str, "LIST": ast.literal_eval, "TUPLE": ast.literal_eval}


def environment(params: dict[str, Any], folder: Path, label: str) -> dict[str, str]:
    """The variables with which a trial is started."""
    config = params | {"saveFolder": str(folder), "simLabel": label}
    variables = {
        f"{type(value).__name__.upper()}RUNTK{index}": f"{path}*={value}"
        for index, (path, value) in enumerate(config.items())
    }
    return variables | {"MSGFILE": str(folder / f"{label}.out")}


class Runner:
    """The trial's side of the protocol."""

    def __init__(self) -> None:
        self.mappings = {}
        for name, text in os.environ.items():
            kind, found, _number = name.partition("RUNTK")
            if found:
                path, _equals, value = text.partition("*=")
                self.mappings[path] = TYPES[kind](value)

    def connect(self) -> None:
        """Files need no connection."""

    def send(self, data: str) -> None:
        Path(os.environ["MSGFILE"]).write_text(data)

    def close(self) -> None:
        """Nothing is open."""


def update_config(target: Any, **mappings: Any) -> None:
    """Each value to its path, which must be there."""
    for path, value in mappings.items():
        place, *parts = target, *path.split(".")
        for part in parts[:-1]:
            place = place[int(part) if isinstance(place, list) else part]
        last = int(parts[-1]) if isinstance(place, list) else parts[-1]
        assert isinstance(place, list) or last in place, path
        place[last] = value


class _Anything:
    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass


def _module(name: str, **content: Any) -> ModuleType:
    module = sys.modules[name] = ModuleType(name)
    module.__path__ = []
    vars(module).update(content)
    parent, _dot, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def main(script: str) -> None:
    """Run the script."""
    words = {word: word for word in ("SUBMIT", "STDOUT", "MSGOUT", "SGLOUT", "SOCKET")}
    _module("batchtk")
    _module("batchtk.runtk", update_config=update_config, Submit=_Anything, Template=_Anything, **words)
    _module("batchtk.runtk.runners", Runner=Runner, get_class=lambda: Runner)
    _module("batchtk.runtk.dispatchers")
    # Statistics of searches, which would want scikit-learn.
    sys.modules["netpyne.batchtools.analysis"] = analysis = ModuleType("netpyne.batchtools.analysis")
    analysis.Analyzer = _Anything  # type: ignore[attr-defined]
    sys.path.insert(0, str(Path(script).parent))
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
