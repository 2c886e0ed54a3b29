"""Small projects for tests, and the command line run on them as a user would."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from launch import run_ranks

TIMEOUT_S = 120.0

MODEL = """
def simulate(trial):
    x, y = trial.params["x"], trial.params["y"]
    return {"loss": (x - 1) ** 2 + y, "sum": x + y, "seed": trial.seed, "rank": trial.comm.rank}
"""

SPEC: dict[str, Any] = {
    "name": "small",
    "model": {"python": "model.py:simulate"},
    "space": {"x": [0, 1, 2], "y": [0.5, 1.5]},
    "search": {"algorithm": "grid", "objectives": {"loss": "minimize"}},
}


def write_project(folder: Path, code: str = MODEL, **changes: Any) -> Path:
    """A spec and its model.py; `changes` replace whole parts of the spec, or remove them when None."""
    spec = {key: value for key, value in (SPEC | changes).items() if value is not None}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    (folder / "model.py").write_text(textwrap.dedent(code))
    return path


def mpiens(
    ranks: int, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """``python -m mpiens`` on so many ranks, 0: without mpiexec. A traceback on the terminal is never right."""
    done = run_ranks(ranks, ["-m", "mpiens", *arguments], TIMEOUT_S, env=env, cwd=cwd)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def completed(ranks: int, *arguments: str | Path, **options: Any) -> str:
    """As `mpiens`, for a command that must succeed; its output."""
    done = mpiens(ranks, *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trials(run_dir: Path) -> dict[str, Any]:
    """All columns of a finished run by plain h5py: parameters and objectives by their names."""
    with h5py.File(run_dir / "results.h5") as file:
        assert file.attrs["state"] == "complete"
        columns = {name: file["trials"][name][()] for name in ("number", "state", "attempt", "seed", "group", "error")}
        for part in ("params", "values"):
            columns |= {name: data[()] for name, data in file["trials"][part].items()}
        for name, data in file["results"].items():
            columns[name] = (
                data[()] if isinstance(data, h5py.Dataset) else np.split(data["values"][()], data["offsets"][1:-1])
            )
    assert columns["number"].tolist() == list(range(len(columns["number"])))
    return columns


def contents(run_dir: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """All of a complete run's results that do not depend on time or place, bit for bit."""
    found = {}

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and name.rpartition("/")[2] not in _BY_CHANCE:
            data = node[()]
            found[name] = (data.dtype.str, data.shape, data.tobytes()) if node.shape else ("", (), b"")

    with h5py.File(run_dir / "results.h5") as file:
        assert file.attrs["state"] == "complete"
        for part in ("trials", "results", "missing"):
            if part in file:
                file[part].visititems(lambda name, node, part=part: visit(f"{part}/{name}", node))
    return found


_BY_CHANCE = ("attempt", "history", "group", "started_s", "elapsed_s")
