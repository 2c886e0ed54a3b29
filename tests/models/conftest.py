"""Running models on real groups."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launch import run_ranks

RunGroup = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run_group(tmp_path: Path) -> RunGroup:
    """Run trials of a model on groups; returns the entry of each trial from the first group."""
    count = 0

    def run(
        kind: str,
        target: str | Path,
        trials: Sequence[dict[str, Any] | tuple[int, dict[str, Any]]],
        ranks: int = 1,
        group_size: int = 1,
        timeout_s: float = 90,
        keep_results: bool = True,
        **settings: Any,
    ) -> list[dict[str, Any]]:
        nonlocal count
        count += 1
        driver = ranks % group_size != 0 or ranks > group_size
        plan = tmp_path / f"plan{count}.json"
        numbered = [trial if isinstance(trial, tuple) else (index, trial) for index, trial in enumerate(trials)]
        folder = str(Path(str(target).rpartition(":")[0] or target).parent)
        plan.write_text(
            json.dumps(
                {
                    "group_size": group_size,
                    "driver": driver and ranks > 1,
                    "settings": {"kind": kind, "target": str(target), "folder": folder, **settings},
                    "trials": numbered,
                    "keep_results": keep_results,
                    "run_dir": str(tmp_path / "run"),
                }
            )
        )
        done = run_ranks(ranks, [Path(__file__).with_name("group_runner.py"), plan], timeout_s)
        assert done.returncode == 0, done.stdout + done.stderr
        groups = [json.loads(path.read_text()) for path in sorted(tmp_path.glob(f"{plan.name}.*"))]
        assert groups
        for group in groups[1:]:
            assert [entry["results"] for entry in group["trials"]] == [
                entry["results"] for entry in groups[0]["trials"]
            ]
        entries: list[dict[str, Any]] = groups[0]["trials"]
        for entry in entries:
            entry["neuron"] = groups[0]["neuron"]
        return entries

    return run
