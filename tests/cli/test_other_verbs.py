"""The verbs beside run, and what the terminal shows."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

from launch import mpiexec_argv
from mpiens.launcher import launch_environment
from project import completed, mpiens, trials, write_project

SLOW = """
import time

def simulate(trial):
    time.sleep(0.2)
    return {"loss": trial.params["x"]}
"""


@pytest.mark.mpi
@pytest.mark.neuron
def test_doctor_finds_that_everything_fits_together() -> None:
    said = completed(0, "doctor")
    assert "mpiexec -n 2 gives one world of 2 ranks" in said
    assert "2 hosts in a group of 2 ranks" in said
    assert "h5py" in said
    assert said.endswith("everything fits together\n")


@pytest.mark.mpi
def test_a_new_project_works_at_once(tmp_path: Path) -> None:
    said = completed(0, "new", tmp_path / "fresh")
    assert "mpiens test spec.yaml" in said
    folder = tmp_path / "fresh"
    assert completed(0, "validate", "spec.yaml", "--ranks", "3", cwd=folder).endswith("valid\n")
    tried = completed(0, "test", "spec.yaml", cwd=folder)
    assert "trial 0: COMPLETE" in tried
    assert "rate_Hz" in tried
    completed(3, "run", "spec.yaml", cwd=folder)
    assert len(trials(folder / "fresh.run")["loss"]) == 30


def test_test_shows_results_and_keeps_nothing(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    before = set(tmp_path.iterdir())
    said = completed(0, "test", spec, "--trial", "3")
    assert "trial 3: COMPLETE" in said
    for words in ("parameter  x 1", "objective  loss  1.5", "result     sum   2.5"):
        assert words.split() in [line.split() for line in said.splitlines()]
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before


def test_test_shows_why_a_trial_fails(tmp_path: Path) -> None:
    spec = write_project(tmp_path, "def simulate(trial):\n    print('seen')\n    return {'loss': 1 / 0}\n")
    done = mpiens_with_traceback(spec)
    assert done.returncode == 1
    assert "trial 0: FAIL" in done.stdout
    assert "model.py:3: ZeroDivisionError" in done.stderr
    assert "seen" in done.stdout


def mpiens_with_traceback(spec: Path) -> subprocess.CompletedProcess[str]:
    """`mpiens test`, which shows the model's own traceback on purpose."""
    from launch import run_ranks

    return run_ranks(0, ["-m", "mpiens", "test", spec], 60)


def test_the_schema_is_that_of_the_spec(tmp_path: Path) -> None:
    schema = json.loads(completed(0, "schema"))
    jsonschema.validate(yaml.safe_load(write_project(tmp_path).read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "grups": {}}, schema)


@pytest.mark.mpi
def test_plain_lines_without_a_terminal(tmp_path: Path) -> None:
    said = completed(2, "run", write_project(tmp_path, SLOW, space={"x": list(range(15))}))
    assert "\x1b" not in said
    progress = [line for line in said.splitlines() if "/15 trials" in line]
    assert progress
    assert "running" in progress[0]
    assert "left" in progress[0]
    assert "busy" in progress[0]


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_a_live_display_on_a_terminal(tmp_path: Path, ranks: int) -> None:
    spec = write_project(tmp_path, SLOW, space={"x": list(range(10))})
    screen, terminal = pty.openpty()
    command = [*(mpiexec_argv(ranks) if ranks else []), sys.executable, "-m", "mpiens", "run", str(spec)]
    run = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=launch_environment(os.environ)
    )
    os.close(terminal)
    seen = b""
    end_s = time.monotonic() + 60
    try:
        while time.monotonic() < end_s:
            try:
                seen += os.read(screen, 65536)
            except OSError:  # the last writer has closed the terminal
                break
        assert run.wait(30) == 0
    finally:
        run.kill()
        os.close(screen)
    shown = seen.decode(errors="replace")
    assert "━" in shown
    assert "10/10" in shown
    assert "running" in shown
    assert "best loss 0 (trial 0): x=0" in shown
    assert "small: complete" in shown


@pytest.mark.mpi
def test_status_of_a_run_that_is_going_on(tmp_path: Path) -> None:
    spec = write_project(
        tmp_path,
        "import time\n\ndef simulate(trial):\n    time.sleep(0.1)\n    return {'loss': 0, 'spikes': [1.0, 2.0]}\n",
        space={"x": list(range(60))},
        checkpoint={"every": 0.5},
    )
    run = subprocess.Popen(
        [*mpiexec_argv(2), sys.executable, "-m", "mpiens", "run", str(spec), "--progress", "off"],
        env=launch_environment(os.environ),
        stdout=subprocess.DEVNULL,
    )
    run_dir = tmp_path / "small.run"
    try:
        end_s = time.monotonic() + 60
        rows: set[int] = set()
        while run.poll() is None and time.monotonic() < end_s:
            if (run_dir / "status.json").exists():
                assert "small:" in completed(0, "status", run_dir)
                import mpiens as package

                with package.open(run_dir) as results:
                    rows.add(len(results))
                    assert (results.trials["state"] == "COMPLETE").all()
        assert run.wait(60) == 0
    finally:
        run.kill()
    assert max(rows) >= 5, "results.h5 grows while the run goes on"
    assert len(trials(run_dir)["loss"]) == 60


@pytest.mark.parametrize("verb", ["watch", "report", "jobscript"])
def test_verbs_to_come_say_so(verb: str) -> None:
    done = mpiens(0, verb)
    assert done.returncode == 2
    assert f"{verb}: this version of mpiens does not have this command yet" in done.stderr


def test_help_names_every_verb() -> None:
    said = completed(0, "--help")
    verbs = ("run", "resume", "launch", "supervise", "validate", "test", "status", "list", "export", "doctor", "new")
    for verb in (*verbs, "schema"):
        assert f"\n  {verb} " in said
