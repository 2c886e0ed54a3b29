"""Jobs under a real Grid Engine. Needs its daemons and root: see CONTRIBUTING."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import GridEngine, running
from jobs import LONG, SLOW, SPACE, script
from project import completed, contents, write_project

pytestmark = pytest.mark.scheduler


@pytest.fixture(scope="module")
def grid_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridEngine]:
    """One host of four slots."""
    with running(GridEngine, tmp_path_factory.mktemp("sge")) as daemons:
        yield daemons


def test_a_run_ends_before_its_job_and_the_next_job_goes_on(grid_engine: GridEngine, tmp_path: Path) -> None:
    write_project(tmp_path, SLOW, space=SPACE, search=LONG, limits={"drain": "5s"})
    run = "{mpiexec} -n 3 {mpiens} run spec.yaml --resume {options}"
    job = grid_engine.submit(script(run), tmp_path, "-l", "h_rt=40", "-pe", "orte", "3")
    grid_engine.await_end(job, 90)
    said = (tmp_path / "job.log").read_text()
    assert "exit status 75" in said, said  # killed at h_rt, the script would not have said so
    assert "walltime" in said
    status = json.loads((tmp_path / "small.run" / "status.json").read_text())
    assert status["state"] == "stopped"
    assert 20 < status["complete"] < 420

    (tmp_path / "job.log").unlink()
    job = grid_engine.submit(script(run), tmp_path, "-l", "h_rt=0:5:0", "-pe", "orte", "3")
    grid_engine.await_end(job, 120)
    assert "exit status 0" in (tmp_path / "job.log").read_text()
    whole = write_project(tmp_path, SLOW.replace("0.25", "0"), space=SPACE, search=LONG)
    completed(0, "run", whole, "--output", tmp_path / "whole.run")
    assert contents(tmp_path / "small.run") == contents(tmp_path / "whole.run")
