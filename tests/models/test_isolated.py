"""Trials in processes of their own: what they may do to themselves, and that they give what trials in a rank give."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from mpiens.errors import SpecError
from mpiens.spec import parse_spec
from project import completed, contents, mpiens, trials, write_project

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUN = "small.run"

MODEL = """
import ctypes, os, signal, subprocess, sys, time
import numpy as np
from mpi4py import MPI

seen = []
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def simulate(trial):
    how = trial.params["how"]
    seen.append(np.ones(10**6))
    print("trial", trial.number)
    if how == "crashes":
        ctypes.string_at(0)
    if how == "exits":
        os._exit(0)
    if how == "exits with 3":
        os._exit(3)
    if how == "hangs in C":
        ctypes.PyDLL(None).sleep(1000)
    if how == "kills":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)
    if how == "leaves":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
    if how == "raises":
        raise ValueError("a cause")
    if how == "returns":
        return {"loss": object()}
    if how == "stops":
        while not trial.should_stop():
            time.sleep(0.01)
    if how == "nothing":
        return None
    word = trial.comm.bcast("word", root=0) if trial.comm.Get_rank() == 0 else ""
    sizes = [trial.comm.size, MPI.COMM_WORLD.size]
    return {"loss": float(len(seen)), "word": word, "sizes": sizes, "matrix": np.arange(6.0).reshape(2, 3)}
"""

CAUSES = {
    "ok": "",
    "crashes": "the trial's process: killed by SIGSEGV",
    "exits": "the trial's process: ended with exit status 0 before the model returned",
    "exits with 3": "the trial's process: exit status 3",
    "hangs in C": "timed out after 5 s (limits.trial_timeout)",
    "kills": "the process that looks after this rank's programs has ended (status -9)",
    "leaves": "",
    "stops": "",
    "raises": "model.py:27: ValueError: a cause",
    "returns": "result 'loss' cannot be stored: expected a number, string, boolean, array or list of numbers, found "
    "a value of type object",
    "nothing": "the model returned None; expected a dict with 'loss'",
    "ok again": "",
}


def isolated(folder: Path, code: str, **changes: Any) -> Path:
    return write_project(folder, code, model={"python": "model.py:simulate", "isolation": "process"}, **changes)


def servers() -> list[psutil.Process]:
    """What this test has started."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("PYTEST_CURRENT_TEST") == os.environ["PYTEST_CURRENT_TEST"]
            if is_ours and "mpiens.runtime.fork_server" in process.cmdline():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_a_trial_costs_itself_alone(tmp_path: Path, ranks: int) -> None:
    limits = {"max_attempts": 1, "trial_timeout": 5}
    spec = isolated(tmp_path, MODEL, space={"how": list(CAUSES)}, limits=limits)
    completed(ranks, "run", spec)
    assert servers() == []
    found = trials(tmp_path / RUN)
    causes = dict(zip(CAUSES, (text.decode() for text in found["error"]), strict=True))
    assert causes == CAUSES
    # Each is the first that its process has seen.
    assert {loss for loss, cause in zip(found["loss"], causes.values(), strict=True) if not cause} == {1.0}
    log = (tmp_path / RUN / "run.log").read_text()
    assert all(f"[trial {number} rank" in log and f"] trial {number}\n" in log for number in range(len(CAUSES)))
    assert "Fatal Python error: Segmentation fault" in log


@pytest.mark.mpi
@pytest.mark.neuron
@pytest.mark.parametrize(("example", "count"), [("ring", 4), ("network", 3)])
def test_results_are_those_of_trials_in_the_rank(tmp_path: Path, example: str, count: int) -> None:
    spec = EXAMPLES / example / "spec.yaml"
    settings = ["search.algorithm=random", f"search.trials={count}", "groups.size=1"]
    common = [part for text in settings for part in ("--set", text)]
    completed(0, "run", spec, *common, "--output", tmp_path / "none")
    completed(3, "run", spec, *common, "--set", "model.isolation=process", "--output", tmp_path / "process")
    assert trials(tmp_path / "none")["state"].tolist() == [1] * count
    assert contents(tmp_path / "process") == contents(tmp_path / "none")


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("import nowhere", 1, "model.py:1: raises on import: ModuleNotFoundError"),
        ("x = 1", 2, "has no function 'simulate'"),
        ("import ctypes; ctypes.string_at(0)", 1, "loading it has ended its process"),
    ],
)
def test_models_that_cannot_be_loaded(tmp_path: Path, code: str, status: int, words: str) -> None:
    done = mpiens(2, "run", isolated(tmp_path, code))
    assert done.returncode == status
    assert words in done.stdout


def test_groups_of_several_ranks_are_refused() -> None:
    text = "name: a\nmodel: {python: m.py:f, isolation: process}\nspace: {x: [1]}\nsearch: {algorithm: grid}\n"
    with pytest.raises(SpecError, match=r"spec.yaml:2: model\.isolation: process works in groups of one rank"):
        parse_spec(text + "groups: {size: 2}\n", "spec.yaml")
