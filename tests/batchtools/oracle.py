"""Runs a NetPyNE script as netpyne.batchtools would, for one trial: with NetPyNE's own batchtools and batchtk.

What a batch gives to its trials by environment variables is written here: a parameter as
``<TYPE>RUNTK<n>=<path>*=<value>``, and files for the results and for the signal that they are there. Ray, which chooses
the points, has no part in a trial; `benchmarks/batchtools.py` runs all of it. Arguments: the script.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def environment(params: dict[str, Any], folder: Path, label: str) -> dict[str, str]:
    """The variables with which a trial is started."""
    config = params | {"saveFolder": str(folder), "simLabel": label}
    variables = {
        f"{type(value).__name__.upper()}RUNTK{index}": f"{path}*={value}"
        for index, (path, value) in enumerate(config.items())
    }
    return variables | {"MSGFILE": str(folder / f"{label}.out"), "SGLFILE": str(folder / f"{label}.sgl")}


def main(script: str) -> None:
    """Run the script."""
    # Statistics of searches, which would want scikit-learn.
    sys.modules["netpyne.batchtools.analysis"] = analysis = ModuleType("netpyne.batchtools.analysis")
    analysis.Analyzer = object  # type: ignore[attr-defined]
    sys.path.insert(0, str(Path(script).parent))
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
