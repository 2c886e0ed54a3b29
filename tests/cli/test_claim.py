"""Run directories that are taken already: what may be deleted, and what a status that cannot be trusted decides."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mpiens.runtime.lock import RunLock
from mpiens.store.unsealed import recorded_numbers
from project import completed, contents, mpiens, write_project
from supervision import supervise

BREAKS = """
class Breaks:
    def __init__(self, space, seed, **options):
        self.asked = 0

    def ask(self, count):
        self.asked += 1
        if self.asked > {points}:
            raise RuntimeError("the licence has ended")
        return [{{"x": 0.5}}]

    def tell(self, *trials, **more):
        pass
"""


def breaking(folder: Path, points: int) -> Path:
    search = {"algorithm": "sampler.py:Breaks", "trials": 100, "objectives": {"loss": "minimize"}}
    model = 'def simulate(trial):\n    return {"loss": trial.params["x"]}\n'
    (folder / "sampler.py").write_text(BREAKS.format(points=points))
    return write_project(folder, model, space={"x": {"low": 0.0, "high": 1.0}}, search=search)


def changed_status(run_dir: Path, **changes: Any) -> None:
    path = run_dir / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_failed_run_that_has_results_is_not_deleted_unasked(tmp_path: Path) -> None:
    spec, run_dir = breaking(tmp_path, 30), tmp_path / "small.run"
    assert "the licence has ended" in mpiens(0, "run", spec).stderr
    status = json.loads((run_dir / "status.json").read_text())
    assert status["state"] == "failed"
    kept = recorded_numbers(run_dir)
    assert status["complete"] == len(kept) > 20
    for counted in (status["complete"], 0):  # a status may lag behind
        changed_status(run_dir, complete=counted)
        again = mpiens(0, "run", spec)
        assert again.returncode == 2
        assert "already holds a run" in again.stderr
        assert recorded_numbers(run_dir) == kept


def test_a_spec_is_valid_though_its_run_is_there(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    completed(0, "run", spec)
    said = completed(0, "validate", spec)
    assert f"output    {tmp_path / 'small.run'} already holds a run; `run` needs --resume" in said
    assert said.endswith("valid\n")
    done = mpiens(0, "validate", spec, "--output", tmp_path / "small.run")
    assert done.returncode == 2, "nobody asks for a place that is taken"
    assert f"mpiens: {tmp_path / 'small.run'} already holds a run" in done.stderr


def test_a_failed_run_without_results_makes_room(tmp_path: Path) -> None:
    assert mpiens(0, "run", breaking(tmp_path, 0)).returncode == 1
    spec = breaking(tmp_path, 1000)
    completed(0, "run", spec)


DAMAGES: dict[str, dict[str, Any]] = {
    "no number": {"state": "running", "updated": "x"},
    "no time": {"state": "running", "updated": None, "pid": "\0"},
    "future": {"state": "running", "updated": time.time() + 1e6, "host": "elsewhere"},
    "not a number": {"state": "running", "updated": float("nan"), "host": "elsewhere"},
    "no count": {"state": "failed", "complete": None},
    "no state": {"state": 5},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_status_that_cannot_be_trusted_stops_nothing(damage: str, tmp_path: Path) -> None:
    spec, run_dir = write_project(tmp_path), tmp_path / "small.run"
    completed(0, "run", spec)
    sound = contents(run_dir)
    changed_status(run_dir, **DAMAGES[damage])
    refused = mpiens(0, "run", spec)
    assert refused.returncode == 2
    assert "a run is going on" not in refused.stderr
    mpiens(0, "list", tmp_path)
    mpiens(0, "status", run_dir)
    completed(0, "resume", run_dir)
    assert contents(run_dir) == sound


def test_a_status_that_cannot_be_trusted_does_not_stop_a_supervisor(tmp_path: Path) -> None:
    completed(0, "run", write_project(tmp_path))
    changed_status(tmp_path / "small.run", updated="x")
    done = supervise(0, "resume", tmp_path / "small.run")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_status_with_a_misspelt_key(tmp_path: Path) -> None:
    spec, run_dir = write_project(tmp_path), tmp_path / "small.run"
    completed(0, "run", spec)
    status = json.loads((run_dir / "status.json").read_text()) | {"state": "failed"}
    status["compete"] = status.pop("complete")
    (run_dir / "status.json").write_text(json.dumps(status))
    assert "already holds a run" in mpiens(0, "run", spec).stderr
    assert mpiens(0, "list", tmp_path).returncode == 0
    completed(0, "run", spec, "--overwrite")


def test_status_of_a_directory_whose_run_has_not_written_its_state(tmp_path: Path) -> None:
    lock = RunLock()
    lock.hold(tmp_path)
    try:
        starting = mpiens(0, "status", tmp_path)
    finally:
        lock.release()
    (tmp_path / "journal").mkdir()
    begun = mpiens(0, "status", tmp_path)
    assert (starting.returncode, begun.returncode) == (2, 2)
    assert f"{tmp_path}: a run is starting here and has not written its state yet" in starting.stderr
    assert "status.json is missing: it is still starting" in begun.stderr
    assert f"`mpiens resume {tmp_path}` goes on" in begun.stderr
