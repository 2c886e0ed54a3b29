"""``mpiens run`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from launch import run_ranks
from project import completed, mpiens, trials, write_project

RUN = "small.run"


@pytest.mark.mpi
@pytest.mark.parametrize(("ranks", "size"), [(0, 1), (1, 1), (2, 1), (3, 2), (5, 2), (5, 4)])
def test_a_grid_is_run_whole(tmp_path: Path, ranks: int, size: int) -> None:
    spec = write_project(tmp_path, groups={"size": size})
    said = completed(ranks, "run", spec)
    assert "small: complete" in said
    assert "6 complete, 0 failed" in said
    found = trials(tmp_path / RUN)
    assert found["x"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["y"].tolist() == [0.5, 1.5] * 3
    assert found["loss"].tolist() == [1.5, 2.5, 0.5, 1.5, 1.5, 2.5]
    assert found["sum"].tolist() == [0.5, 1.5, 1.5, 2.5, 2.5, 3.5]
    assert found["rank"].tolist() == [0] * 6
    assert len(set(found["seed"])) == 6
    assert "best      trial 2: loss=0.5 with x=1 y=0.5" in said


@pytest.mark.mpi
def test_left_over_ranks_are_reported_and_cost_nothing(tmp_path: Path) -> None:
    spec = write_project(tmp_path, groups={"size": 2})
    said = completed(4, "run", spec)
    assert "warning: groups.size: 2 does not divide the 3 worker ranks; rank 3 stays idle; sizes that do: 1, 3" in said
    assert len(trials(tmp_path / RUN)["number"]) == 6


@pytest.mark.mpi
@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_generations_do_not_depend_on_the_number_of_ranks(tmp_path: Path, algorithm: str) -> None:
    found = []
    for ranks in (1, 4):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        spec = write_project(
            folder,
            space={"x": {"low": -2.0, "high": 2.0}, "y": {"low": 1, "high": 8, "log": True}, "z": ["a", "b"], "w": 3},
            search={"algorithm": algorithm, "trials": 30, "batch": 4, "objectives": {"loss": "minimize"}},
        )
        completed(ranks, "run", spec)
        found.append(trials(folder / RUN))
    for name in ("x", "y", "z", "w", "loss", "seed"):
        assert found[0][name].tolist() == found[1][name].tolist(), name
    assert len(set(found[0]["x"])) == 30
    assert set(found[0]["w"]) == {3}
    assert found[0]["y"].min() >= 1
    assert found[0]["y"].max() <= 8


@pytest.mark.mpi
def test_tpe_without_generations_finds_the_minimum(tmp_path: Path) -> None:
    spec = write_project(
        tmp_path,
        space={"x": {"low": -2.0, "high": 2.0}, "y": 0.0},
        search={"algorithm": "tpe", "trials": 60, "objectives": {"loss": "minimize"}},
    )
    completed(3, "run", spec)
    assert trials(tmp_path / RUN)["loss"].min() < 0.01


@pytest.mark.mpi
def test_repeats_have_their_own_seeds(tmp_path: Path) -> None:
    spec = write_project(tmp_path, search={"algorithm": "grid", "repeats": 3, "objectives": {"loss": "minimize"}})
    completed(3, "run", spec)
    found = trials(tmp_path / RUN)
    assert found["x"].tolist() == [0, 0, 1, 1, 2, 2] * 3
    assert len(set(found["seed"])) == 18


@pytest.mark.mpi
def test_results_of_every_kind(tmp_path: Path) -> None:
    code = """
    import numpy as np

    def simulate(trial):
        x = trial.params["x"]
        return {
            "loss": float(x), "text": "ü" * x, "flag": x > 0, "fixed": np.full((2, 3), x),
            "ragged": list(range(x)), "rates": {"E": 1.5 * x},
        }
    """
    spec = write_project(tmp_path, code, space={"x": [0, 1, 2]})
    completed(2, "run", spec)
    found = trials(tmp_path / RUN)
    assert [text.decode() for text in found["text"]] == ["", "ü", "üü"]
    assert found["flag"].tolist() == [False, True, True]
    assert found["fixed"].shape == (3, 2, 3)
    assert [part.tolist() for part in found["ragged"]] == [[], [0], [0, 1]]
    assert found["rates.E"].tolist() == [0.0, 1.5, 3.0]


@pytest.mark.mpi
def test_without_objectives_results_are_recorded(tmp_path: Path) -> None:
    spec = write_project(tmp_path, search={"algorithm": "random", "trials": 5}, space={"x": [1, 2], "y": [3, 4]})
    completed(2, "run", spec)
    assert len(trials(tmp_path / RUN)["loss"]) == 5


@pytest.mark.mpi
def test_fixed_parameters_and_setup_reach_every_rank(tmp_path: Path) -> None:
    code = """
    READY = []

    def setup():
        READY.append(1)

    def simulate(trial):
        return {"loss": 0, "ready": trial.comm.allreduce(len(READY)), "fixed": trial.params["duration"]}
    """
    spec = write_project(
        tmp_path,
        code,
        model={"python": "model.py:simulate", "setup": "model.py:setup", "fixed": {"duration": 7}},
        space={"x": [1, 2, 3, 4]},
        groups={"size": 2},
    )
    completed(5, "run", spec)
    found = trials(tmp_path / RUN)
    assert found["ready"].tolist() == [2] * 4
    assert found["fixed"].tolist() == [7] * 4
    assert "duration" not in h5py.File(tmp_path / RUN / "results.h5")["trials/params"]


@pytest.mark.mpi
def test_what_models_print_goes_to_the_log(tmp_path: Path) -> None:
    code = """
    import ctypes, os

    def simulate(trial):
        print("from python", trial.number)
        os.write(1, b"from C\\n")
        return {"loss": 0}
    """
    spec = write_project(tmp_path, code)
    said = completed(3, "run", spec)
    assert "from" not in said
    log = (tmp_path / RUN / "run.log").read_text()
    assert log.count("from C\n") == 6
    for number in range(6):
        assert f"[trial {number} rank " in log
        assert f"] from python {number}\n" in log


@pytest.mark.mpi
def test_a_trial_has_a_directory_of_its_own(tmp_path: Path) -> None:
    code = """
    def simulate(trial):
        (trial.directory / "out.txt").write_text(str(trial.number))
        return {"loss": 0}
    """
    completed(2, "run", write_project(tmp_path, code))
    assert [(tmp_path / RUN / "trials" / str(n) / "out.txt").read_text() for n in range(6)] == list("012345")


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_a_thread_that_never_ends_does_not_keep_the_job(tmp_path: Path, ranks: int) -> None:
    code = """
    import threading

    forever = threading.Event()

    def simulate(trial):
        if trial.number == 0:
            threading.Thread(target=forever.wait).start()
        return {"loss": trial.params["x"]}
    """
    spec = write_project(tmp_path, code)
    done = mpiens(ranks, "run", spec)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete" in done.stdout


@pytest.mark.mpi
def test_failed_trials_are_told_counted_and_tried_again(tmp_path: Path) -> None:
    code = """
    def simulate(trial):
        if trial.params["x"] == 1 or (trial.params["x"] == 2 and trial.attempt < 2):
            raise ValueError("x is bad")
        return {"loss": trial.params["x"]}
    """
    spec = write_project(tmp_path, code, limits={"max_attempts": 2})
    said = completed(3, "run", spec)
    assert "4 complete, 2 failed, 4 retries" in said
    assert "2 x model.py:4: ValueError: x is bad" in said
    found = trials(tmp_path / RUN)
    assert found["state"].tolist() == [1, 1, 3, 3, 1, 1]
    assert np.isnan(found["loss"]).tolist() == [False, False, True, True, False, False]
    assert found["attempt"].tolist() == [1, 1, 2, 2, 2, 2]
    assert "ValueError: x is bad" in (tmp_path / RUN / "run.log").read_text()


@pytest.mark.mpi
def test_workers_import_nothing_that_only_the_driver_needs(tmp_path: Path) -> None:
    code = """
    import sys

    def simulate(trial):
        heavy = ("optuna", "pandas", "h5py", "pydantic", "yaml", "rich", "xarray")
        return {"loss": 0, "found": " ".join(name for name in heavy if name in sys.modules)}
    """
    spec = write_project(tmp_path, code, search={"algorithm": "tpe", "trials": 4, "objectives": {"loss": "minimize"}})
    completed(3, "run", spec)
    assert trials(tmp_path / RUN)["found"].tolist() == [b""] * 4


@pytest.mark.mpi
@pytest.mark.neuron
def test_the_driver_never_imports_the_simulator(tmp_path: Path) -> None:
    code = """
    from neuron import h

    def simulate(trial):
        return {"loss": 0, "hosts": int(h.ParallelContext().nhost())}
    """
    spec = write_project(tmp_path, code, groups={"size": 2})
    script = tmp_path / "go.py"
    script.write_text(
        "import sys\nfrom mpi4py import MPI\nfrom mpiens.cli import run_command_line\n"
        "status = run_command_line(sys.argv[1:])\n"
        "if MPI.COMM_WORLD.rank == 0:\n"
        "    print('driver:', 'neuron' in sys.modules, 'libnrniv' in open('/proc/self/maps').read())\n"
        "sys.exit(status)\n"
    )
    done = run_ranks(3, [script, "run", spec], 60)
    assert done.returncode == 0, done.stderr
    assert "driver: False False" in done.stdout
    assert trials(tmp_path / RUN)["hosts"].tolist() == [2] * 6


@pytest.mark.mpi
@pytest.mark.neuron
def test_a_neuron_that_does_not_share_the_groups_mpi_is_refused(tmp_path: Path) -> None:
    code = """
    from mpiens.models import neuron
    neuron.start_mpi = lambda comm: None  # as if NEURON had found another library: it stays alone
    from neuron import h

    def simulate(trial):
        return {"loss": 0}
    """
    done = mpiens(3, "run", write_project(tmp_path, code, groups={"size": 2}))
    assert done.returncode == 1
    assert "NEURON does not share the group's MPI" in done.stdout
    assert "mpi4py" in done.stdout
    assert "libmpi" in done.stdout


@pytest.mark.mpi
@pytest.mark.neuron
def test_mechanisms_are_compiled_once_and_loaded_on_every_rank(tmp_path: Path) -> None:
    (tmp_path / "mod").mkdir()
    (tmp_path / "mod" / "leaky.mod").write_text(
        "NEURON { SUFFIX leaky NONSPECIFIC_CURRENT i RANGE g }\nPARAMETER { g = 0.001 (S/cm2) }\n"
        "ASSIGNED { v (mV) i (mA/cm2) }\nBREAKPOINT { i = g*(v+65) }\n"
    )
    code = """
    from neuron import h

    def simulate(trial):
        soma = h.Section(name="soma")
        soma.insert("leaky")
        return {"loss": 0, "g": trial.comm.allreduce(soma(0.5).leaky.g)}
    """
    spec = write_project(tmp_path, code, model={"python": "model.py:simulate", "mechanisms": "mod"}, groups={"size": 2})
    completed(5, "run", spec)
    np.testing.assert_allclose(trials(tmp_path / RUN)["g"], 0.002)
    assert len(list((tmp_path / RUN / "mechanisms").rglob("libnrnmech.so"))) == 1


@pytest.mark.mpi
def test_status_json_and_the_verbs_that_read_it(tmp_path: Path) -> None:
    completed(2, "run", write_project(tmp_path))
    status = json.loads((tmp_path / RUN / "status.json").read_text())
    assert (status["state"], status["total"], status["complete"], status["failed"]) == ("complete", 6, 6, 0)
    assert status["best"] == {"number": 2, "values": {"loss": 0.5}, "params": {"x": 1, "y": 0.5}}
    shown = completed(0, "status", tmp_path / RUN)
    assert "small: complete" in shown
    assert "6 of 6: 6 complete, 0 failed" in shown
    listed = completed(0, "list", tmp_path)
    assert "complete" in listed
    assert "6/6" in listed


@pytest.mark.mpi
def test_the_run_can_be_opened_in_python(tmp_path: Path) -> None:
    import mpiens as package

    completed(2, "run", write_project(tmp_path))
    with package.open(tmp_path / RUN) as results:
        frame = results.trials
        assert frame["state"].tolist() == ["COMPLETE"] * 6
        assert frame["params_x"].tolist() == [0, 0, 1, 1, 2, 2]
        assert frame["values_loss"].tolist() == [1.5, 2.5, 0.5, 1.5, 1.5, 2.5]
        assert results["sum"].tolist() == [0.5, 1.5, 1.5, 2.5, 2.5, 3.5]
        assert results.spec.startswith("name: small")


@pytest.mark.mpi
def test_running_from_python(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    script = tmp_path / "go.py"
    script.write_text(
        "import mpiens, sys\nrun_dir = mpiens.run(sys.argv[1], progress='off')\n"
        "if run_dir is not None:\n    print('in', run_dir.name, len(mpiens.open(run_dir)))\n"
    )
    for ranks in (0, 3):
        done = run_ranks(ranks, [script, spec], 60)
        assert done.returncode == 0, done.stderr
        assert "in small.run 6" in done.stdout
        mpiens(0, "run", spec, "--overwrite")
        for file in (tmp_path / RUN).iterdir():
            file.unlink()


@pytest.mark.mpi
def test_overwrite_and_output(tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    completed(2, "run", spec)
    again = mpiens(2, "run", spec)
    assert again.returncode == 2
    assert "already holds a run; --resume goes on with it, --overwrite deletes it" in again.stderr
    completed(2, "run", spec, "--overwrite", "--set", "space.x=[5]")
    assert trials(tmp_path / RUN)["x"].tolist() == [5, 5]
    completed(2, "run", spec, "--output", tmp_path / "elsewhere")
    assert len(trials(tmp_path / "elsewhere")["x"]) == 6
