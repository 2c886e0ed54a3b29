"""What goes wrong ends in a message that helps, with the right exit status, without a traceback and without a hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import h5py
import pytest

from launch import is_open_mpi, mpiexec_argv
from mpiens.launcher import launch_environment
from project import MODEL, completed, mpiens, trials, write_project

RUN = "small.run"

BAD_SPECS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("unknown key", {"grups": {"size": 2}}, ["spec.yaml:", "grups", "groups"]),
    ("unknown inner key", {"groups": {"siez": 2}}, ["spec.yaml:", "groups.siez", "size"]),
    ("wrong type", {"groups": {"size": "two"}}, ["spec.yaml:", "groups.size", "two"]),
    ("impossible value", {"groups": {"size": 0}}, ["spec.yaml:", "groups.size"]),
    (
        "missing file",
        {"model": {"python": "modle.py:simulate"}},
        ["spec.yaml:", "model.python", "modle.py", "model.py"],
    ),
    ("missing script", {"model": {"netpyne": "init.py"}}, ["spec.yaml:", "model.netpyne", "init.py"]),
    ("two models", {"model": {"python": "model.py:f", "netpyne": "init.py"}}, ["spec.yaml:", "model"]),
    ("seed of more than 64 bits", {"seed": 2**63}, ["spec.yaml:", "seed: must be at most"]),
    ("whole number of more than 64 bits", {"space": {"x": [1, 2**64]}}, ["spec.yaml:", "space.x.1", "64 bits"]),
    ("empty space", {"space": {}}, ["spec.yaml:", "space", "empty"]),
    ("empty axis", {"space": {"x": []}}, ["spec.yaml:", "space.x"]),
    ("range in a grid", {"space": {"x": {"low": 0, "high": 1.5}}}, ["spec.yaml:", "space.x", "step"]),
    (
        "unknown algorithm",
        {"search": {"algorithm": "tpee", "trials": 3, "objectives": {"loss": "minimize"}}},
        ["spec.yaml:", "search.algorithm", "tpe"],
    ),
    ("too many writers", {"store": {"writers": 32}}, ["spec.yaml:", "store.writers", "must be at most 31"]),
    ("job scripts", {"job": {"scheduler": "slurm"}}, ["spec.yaml:", "job", "this version of mpiens"]),
    (
        "unknown option",
        {"search": {"algorithm": "tpe", "trials": 3, "objectives": {"a": "minimize"}, "options": {"n_startup": 2}}},
        ["spec.yaml:", "search.options.n_startup", "n_startup_trials"],
    ),
    (
        "option of a wrong type",
        {
            "search": {
                "algorithm": "tpe",
                "trials": 3,
                "objectives": {"a": "minimize"},
                "options": {"n_startup_trials": "abc"},
            }
        },
        ["spec.yaml:", "search.options.n_startup_trials: expected a whole number, found 'abc'"],
    ),
]


@pytest.mark.parametrize(("changes", "words"), [case[1:] for case in BAD_SPECS], ids=[case[0] for case in BAD_SPECS])
@pytest.mark.parametrize("verb", ["run", "validate"])
def test_a_bad_spec_is_refused(tmp_path: Path, verb: str, changes: dict[str, Any], words: list[str]) -> None:
    done = mpiens(0, verb, write_project(tmp_path, **changes))
    assert done.returncode == 2, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / RUN).exists()


@pytest.mark.mpi
def test_a_bad_spec_lets_every_rank_go(tmp_path: Path) -> None:
    done = mpiens(4, "run", write_project(tmp_path, space={}))
    assert done.returncode == 2
    assert done.stderr.count("spec.yaml:") == 1


@pytest.mark.mpi
@pytest.mark.parametrize(("ranks", "size"), [(2, 2), (4, 4), (3, 7)])
def test_too_few_ranks_for_a_group(tmp_path: Path, ranks: int, size: int) -> None:
    done = mpiens(ranks, "run", write_project(tmp_path, groups={"size": size}))
    assert done.returncode == 2
    assert f"groups.size: {size} needs at least {size + 1} ranks" in done.stderr
    validated = mpiens(0, "validate", tmp_path / "spec.yaml", "--ranks", str(ranks))
    assert validated.returncode == 2
    assert f"needs at least {size + 1} ranks" in validated.stderr


SETUP_ERRORS = [
    ("no such function", "def simulat(trial):\n    return {}\n", 2, ["model.py", "simulate", "simulat"]),
    (
        "raises on import",
        "import os\nraise RuntimeError('no licence')\n",
        1,
        ["model.py:2", "RuntimeError", "no licence"],
    ),
    ("ends on import", "import sys\nsys.exit(3)\n", 1, ["model.py:2", "SystemExit"]),
    ("syntax error", "def simulate(trial)\n", 1, ["model.py", "SyntaxError"]),
    ("takes no trial", "def simulate():\n    return {}\n", 2, ["must take one argument"]),
]


@pytest.mark.mpi
@pytest.mark.parametrize(("code", "status", "words"), [c[1:] for c in SETUP_ERRORS], ids=[c[0] for c in SETUP_ERRORS])
@pytest.mark.parametrize("ranks", [0, 3, 5])
def test_a_model_that_cannot_be_set_up(tmp_path: Path, ranks: int, code: str, status: int, words: list[str]) -> None:
    spec = write_project(tmp_path, code, groups={"size": 2 if ranks == 5 else 1})
    done = mpiens(ranks, "run", spec)
    assert done.returncode == status, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout + done.stderr
    validated = mpiens(0, "validate", spec, "--set", f"output={tmp_path / 'new'}")
    assert validated.returncode == 2
    for word in words:
        assert word in validated.stderr


def test_validate_tries_the_place_of_the_run_directory(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    assert f"{tmp_path / 'a' / 'b'} can be made" in completed(0, "validate", spec, "--output", tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    # Permissions allow root everything there, and nothing can be made all the same.
    done = mpiens(0, "validate", spec, "--output", "/proc/runs/b")
    assert done.returncode == 2
    assert "/proc/runs/b: cannot be made: nothing can be made in /proc: " in done.stderr


TRIAL_ERRORS = [
    ("returns None", "None", "the model returned None; expected a dict with 'loss'"),
    ("returns NaN", "{'loss': float('nan')}", "objective 'loss' is not finite: nan"),
    ("returns infinity", "{'loss': float('-inf')}", "objective 'loss' is not finite: -inf"),
    ("returns no objective", "{'los': 1.0}", "objective 'loss' is missing; the model returned 'los'"),
    ("returns nothing", "{}", "objective 'loss' is missing; the model returned nothing"),
    ("returns a number", "1.5", "simulate returned float, expected a dict of results by name"),
    ("returns an object", "{'loss': 1.0, 'x': object()}", "result 'x' cannot be stored"),
    (
        "returns too large an integer",
        "{'loss': 10 ** 400}",
        "result 'loss' cannot be stored: an integer needs more than",
    ),
    ("returns half a character", "{'loss': 1.0, 's': chr(0xD800)}", "the results cannot be stored: "),
    ("returns itself", "(lambda d: d.update(d=d) or d)({'loss': 1.0})", "the results cannot be stored: RecursionError"),
    ("returns two of a name", "{'loss': 1.0, 'a.b': 1, 'a': {'b': 2}}", "result 'a.b': two results have this name"),
    ("raises", "1 / 0", "model.py:2: ZeroDivisionError"),
    ("exits", "exit(0)", "model.py:2: SystemExit"),
]


@pytest.mark.mpi
@pytest.mark.parametrize(("returned", "cause"), [c[1:] for c in TRIAL_ERRORS], ids=[c[0] for c in TRIAL_ERRORS])
def test_a_failing_trial_fails_itself_and_not_the_run(tmp_path: Path, returned: str, cause: str) -> None:
    spec = write_project(tmp_path, f"def simulate(trial):\n    return {returned}\n", limits={"max_attempts": 1})
    done = mpiens(3, "run", spec)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 complete, 6 failed" in done.stdout
    assert f"6 x {cause}" in done.stdout
    last = done.stdout.rstrip().splitlines()[-1]
    assert last == "  warning   no trial has succeeded: see failures above, and tracebacks in the log"
    found = trials(tmp_path / RUN)
    assert found["state"].tolist() == [3] * 6
    assert all(cause in text.decode() for text in found["error"])
    assert cause in completed(0, "status", "-v", tmp_path / RUN)


@pytest.mark.mpi
@pytest.mark.parametrize("guilty", [0, 1])
def test_one_rank_of_a_group_raises_before_any_collective(tmp_path: Path, guilty: int) -> None:
    code = f"""
    def simulate(trial):
        if trial.comm.rank == {guilty} and trial.params["x"] == 1:
            raise ValueError("only here")
        return {{"loss": trial.comm.rank}}
    """
    spec = write_project(tmp_path, code, groups={"size": 2}, limits={"max_attempts": 1})
    said = completed(5, "run", spec)
    assert "4 complete, 2 failed" in said
    found = trials(tmp_path / RUN)
    for group, error in zip(found["group"], found["error"], strict=True):
        if error:
            assert error.decode() == f"rank {1 + 2 * group + guilty}: model.py:4: ValueError: only here"
    assert found["state"].tolist() == [1, 1, 3, 3, 1, 1]


@pytest.mark.mpi
@pytest.mark.parametrize("guilty", [0, 1])
def test_one_rank_of_a_group_raises_while_the_other_is_in_a_collective(tmp_path: Path, guilty: int) -> None:
    code = f"""
    def simulate(trial):
        if trial.comm.rank == {guilty} and trial.params["x"] == 1:
            raise ValueError("only here")
        trial.comm.barrier()
        return {{"loss": 0}}
    """
    spec = write_project(
        tmp_path, code, space={"x": [1, 2, 3, 4]}, groups={"size": 2}, limits={"max_attempts": 1, "group_timeout": 2}
    )
    # The stuck ranks are ended by MPI_Abort, after which launchers do not always return the status they are given.
    done = mpiens(5, "run", spec)
    said = done.stdout + done.stderr
    assert json.loads((tmp_path / RUN / "status.json").read_text())["state"] == "complete"
    assert "these ranks do not leave and are ended: " in said
    assert "is lost at trial 0" in said
    assert "ValueError: only here" in said
    assert "gave up after 2 s" in said
    assert "3 complete, 1 failed" in said
    found = trials(tmp_path / RUN)
    assert found["state"].tolist() == [3, 1, 1, 1]
    assert b"only here" in found["error"][0]


@pytest.mark.mpi
def test_a_group_that_cannot_be_set_up_on_one_rank(tmp_path: Path) -> None:
    code = """
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 2:
        raise RuntimeError("no licence here")

    def simulate(trial):
        return {"loss": 0}
    """
    said = completed(5, "run", write_project(tmp_path, code, groups={"size": 2}))
    assert "group 0 cannot be set up: rank 2: model.py:5: raises on import: RuntimeError: no licence here" in said
    assert "6 complete, 0 failed" in said
    assert set(trials(tmp_path / RUN)["group"]) == {1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none.yaml"], ["none.yaml", "no such file"]),
        (["run"], ["SPEC", "--help"]),
        (["rum", "spec.yaml"], ["rum"]),
        (["run", "spec.yaml", "--fast"], ["--fast"]),
        (["run", "spec.yaml", "--resume", "--overwrite"], ["--resume", "--overwrite"]),
        (["run", "spec.yaml", "--force"], ["--force", "--resume"]),
        (["resume", "none.run/checkpoint.h5"], ["none.run", "no such run"]),
        (["resume", "."], ["no run here"]),
        (["status", "none.run"], ["none.run", "no run here"]),
        (["status", "."], ["no run here"]),
        (["list", "none"], ["none", "no such folder"]),
        (["validate", "."], ["is a directory"]),
        (["test", "spec.yaml", "--trial", "99"], ["--trial 99", "6 trials"]),
        (["new", "."], ["not an empty folder"]),
        (["run", "spec.yaml", "--set", "groups.siez=2"], ["siez", "size"]),
        (["run", "spec.yaml", "--set", "groups"], ["groups", "="]),
        (["run", "spec.yaml", "--output", "model.py"], ["model.py", "run directory"]),
    ],
)
def test_bad_commands(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    write_project(tmp_path)
    done = mpiens(0, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr


def test_an_output_directory_that_cannot_be_made(tmp_path: Path) -> None:
    spec = write_project(tmp_path, output="model.py/run")
    for verb in ("run", "validate"):
        done = mpiens(0, verb, spec)
        assert done.returncode == 2
        assert "model.py" in done.stderr


def test_no_mpi_library_is_said_plainly(tmp_path: Path) -> None:
    spec = write_project(tmp_path, MODEL)
    (tmp_path / "broken" / "mpi4py").mkdir(parents=True)
    (tmp_path / "broken" / "mpi4py" / "__init__.py").write_text("")
    (tmp_path / "broken" / "mpi4py" / "MPI.py").write_text("raise RuntimeError('cannot load MPI library')\n")
    script = tmp_path / "go.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(tmp_path / 'broken')!r})\n"
        "from mpiens.cli import run_command_line\nsys.exit(run_command_line(sys.argv[1:]))\n"
    )
    from launch import run_ranks

    done = run_ranks(0, [script, "run", spec], 60)
    assert done.returncode == 1
    assert "pip install 'mpiens[mpich]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_launcher_of_another_mpi(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    # What the other MPI's launcher would say; this environment's own does not look at it.
    name = "PMI_SIZE" if is_open_mpi() else "OMPI_COMM_WORLD_SIZE"
    done = mpiens(0, "run", spec, env={name: "3"})
    assert done.returncode == 1
    assert "the launcher has started 3 ranks, but each is alone in its world" in done.stderr
    assert "mpiexec" in done.stderr
    assert not (tmp_path / RUN).exists()


def test_what_is_not_a_run_is_never_deleted(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    (tmp_path / "mine" / "trials").mkdir(parents=True)
    precious = tmp_path / "mine" / "trials" / "data.csv"
    precious.write_text("mine")
    for flag in ([], ["--overwrite"]):
        done = mpiens(0, "run", spec, "--output", tmp_path / "mine", *flag)
        assert done.returncode == 2
        assert "holds trials, which is not from a run of mpiens" in done.stderr
    assert precious.read_text() == "mine"


def test_a_run_that_failed_at_once_is_no_hindrance(tmp_path: Path) -> None:
    spec = write_project(tmp_path, "raise RuntimeError('no licence')\n")
    assert mpiens(0, "run", spec).returncode == 1
    (tmp_path / "model.py").write_text(textwrap.dedent(MODEL))
    completed(0, "run", spec)


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_an_interrupted_run_keeps_what_is_finished(tmp_path: Path, ranks: int) -> None:
    code = "import time\n\ndef simulate(trial):\n    time.sleep(0.1)\n    return {'loss': trial.number}\n"
    spec = write_project(tmp_path, code, space={"x": list(range(500))})
    command = [*(mpiexec_argv(ranks) if ranks else []), sys.executable, "-m", "mpiens", "run", str(spec)]
    run = subprocess.Popen(
        command, env=launch_environment(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    status = tmp_path / RUN / "status.json"
    try:
        end_s = time.monotonic() + 60
        while not status.exists() or json.loads(status.read_text())["complete"] < 3:
            assert time.monotonic() < end_s
            assert run.poll() is None
        # A second run must not come in its way.
        assert "a run is going on there" in mpiens(0, "run", spec, "--overwrite").stderr
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert "Traceback" not in said
    assert json.loads(status.read_text())["state"] == "stopped"
    with h5py.File(tmp_path / RUN / "results.h5") as file:
        assert file.attrs["state"] == "stopped"
        assert len(file["trials/number"]) >= 3
        assert (file["trials/state"][()] == 1).all()
    if not (ranks and is_open_mpi()):  # its launcher returns 1 whatever the ranks return after a signal
        assert run.returncode == 75
        assert "small: stopped: SIGINT" in said


@pytest.mark.mpi
def test_a_worker_that_ends_its_process_ends_the_job(tmp_path: Path) -> None:
    code = "import os\n\ndef simulate(trial):\n    os._exit(3)\n"
    done = mpiens(3, "run", write_project(tmp_path, code))
    assert done.returncode != 0


@pytest.mark.mpi
@pytest.mark.neuron
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("def (", "init.py:1"),
        ("import not_there_at_all", "init.py:1: imports not_there_at_all, which is not installed"),
    ],
)
def test_a_netpyne_script_that_cannot_run_is_found_by_validate(tmp_path: Path, damage: str, message: str) -> None:
    (tmp_path / "init.py").write_text(damage + "\n")
    done = mpiens(0, "validate", write_project(tmp_path, model={"netpyne": "init.py"}))
    assert done.returncode == 2
    assert message in done.stderr
    (tmp_path / "init.py").write_text("x = 1\n")
    assert "the parameters' names cannot be checked" in completed(0, "validate", tmp_path / "spec.yaml")
    (tmp_path / "cfg.py").write_text("from netpyne import specs\ncfg = specs.SimConfig()\ncfg.x = 1\ncfg.y = 2\n")
    (tmp_path / "netParams.py").write_text("from cfg import cfg\nraise ValueError('bad cell')\n")
    done = mpiens(0, "validate", tmp_path / "spec.yaml")
    assert done.returncode == 2
    assert "netParams.py:2: ValueError: bad cell" in done.stderr


@pytest.mark.mpi
@pytest.mark.neuron
def test_a_netpyne_member_that_exits_early_costs_its_group_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "init.py").write_text(
        "import sys\nfrom netpyne.batchtools import specs, comm\nfrom neuron import h\n"
        "cfg = specs.SimConfig({'x': 0, 'y': 0})\ncfg.update()\npc = h.ParallelContext()\n"
        "if cfg.x == 1 and pc.id() == 1:\n    sys.exit(0)\npc.barrier()\ncomm.send({'loss': cfg.x})\n"
    )
    spec = write_project(
        tmp_path,
        model={"netpyne": "init.py"},
        space={"x": [1, 2, 3], "y": 0},
        groups={"size": 2},
        limits={"max_attempts": 1, "group_timeout": 2},
    )
    done = mpiens(5, "run", spec)
    assert "2 complete, 1 failed" in done.stdout, done.stdout + done.stderr
    assert "gave up after 2 s" in done.stdout
