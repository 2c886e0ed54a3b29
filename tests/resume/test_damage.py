"""Damaged, missing and crafted files of a run: named, never trusted, and all that is sound is used."""

from __future__ import annotations

import errno
import os
import pickle
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
import yaml

from launch import run_ranks
from mpiens.checkpoint import NAME, PREVIOUS_NAME, Saved, read_checkpoint, write_checkpoint
from mpiens.driver.ledger import Ledger
from mpiens.errors import StoreError
from mpiens.runtime.logbook import Kept, Logbook, driver_journals
from mpiens.runtime.origin import spec_digest
from mpiens.runtime.recovery import find_checkpoint
from mpiens.store.checksums import seal
from mpiens.store.journal import Journal, read_frames
from project import TIMEOUT_S, completed, contents, mpiens, trials, write_project
from resume.interrupted import interrupted, whole

DIES_ONCE = """
import os, pathlib, signal, time

def simulate(trial):
    time.sleep(0.004)  # so that each result leaves alone
    if trial.number == 5:
        try:
            pathlib.Path(__file__).with_name("died").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            pass
    return {"loss": 0.0, "sum": trial.params["x"]}
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project, its killed run, and the whole one."""
    folder = tmp_path_factory.mktemp("damage")
    interrupted(folder)
    whole(folder)
    return folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    chance = random.Random(1)
    for _ in range(40):
        place = chance.randrange(min(16, len(data) - 1), len(data))
        data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(data))


def newest_driver_journal(run_dir: Path) -> Path:
    return driver_journals(run_dir)[-1][1]


def results_journal(run_dir: Path) -> Path:
    return max((run_dir / "journal").glob("0-*.bin"))


PLACES: dict[str, Callable[[Path], Path]] = {
    "checkpoint": lambda run_dir: run_dir / NAME,
    "previous": lambda run_dir: run_dir / PREVIOUS_NAME,
    "driver's journal": newest_driver_journal,
    "results journal": results_journal,
    "segment": lambda run_dir: run_dir / "segments" / "0-000000.h5",
    "results": lambda run_dir: run_dir / "results.h5",
}
DAMAGES: dict[str, Callable[[Path], None]] = {"flip": flip, "missing": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", PLACES)
def test_a_run_with_a_damaged_file_ends_as_one_without(place: str, damage: str, killed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    shutil.copytree(killed / "killed", run_dir)
    path = PLACES[place](run_dir)
    DAMAGES[damage](path)
    said = completed(0, "run", killed / "spec.yaml", "--resume", "--output", run_dir, "--progress", "off")
    assert contents(run_dir) == contents(killed / "whole")
    # A torn tail of a journal is what a kill leaves, and no damage.
    if place in ("checkpoint", "segment"):
        assert path.name in said


def test_a_damaged_journal_of_results_is_named(tmp_path: Path) -> None:
    spec = write_project(tmp_path, DIES_ONCE, space={"x": {"range": [0, 8, 1]}})
    run_dir = tmp_path / "small.run"
    assert mpiens(0, "run", spec).returncode == -signal.SIGKILL
    shown = completed(0, "status", run_dir)
    assert "small: lost" in shown, "its process is seen to be gone at once"
    assert f"  go on     mpiens resume {run_dir}\n" in shown
    path = results_journal(run_dir)
    data = bytearray(path.read_bytes())
    (first, _), (second, _), *others = read_frames(path)
    assert others
    data[first + 20] ^= 1
    path.write_bytes(data)
    said = completed(0, "resume", run_dir, "--progress", "off")
    assert f"{path}: damaged: {second - first} bytes from byte {first} on; what is sound is used" in said
    assert path.with_name(f"{path.name}.damaged").read_bytes() == data
    assert trials(run_dir)["sum"].tolist() == list(range(8))


def test_without_any_checkpoint_and_journal_the_results_are_enough(killed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    shutil.copytree(killed / "killed", run_dir)
    for path in [run_dir / NAME, run_dir / PREVIOUS_NAME, *(path for _, path in driver_journals(run_dir))]:
        path.unlink()
    said = completed(0, "run", killed / "spec.yaml", "--resume", "--output", run_dir, "--progress", "off")
    assert "no sound checkpoint" in said
    assert "going on after 0 " not in said
    assert contents(run_dir) == contents(killed / "whole")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_nothing_that_is_read_runs(killed: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    bomb = pickle.dumps(Bomb(marker))
    pickle.loads(bomb)  # noqa: S301 - the bomb works
    marker.rmdir()
    forms: list[bytes] = [bomb, msgpack.packb(bomb), msgpack.packb([bomb]), msgpack.packb([(0, 0, [{"x": bomb}])])]
    forms += [msgpack.packb(msgpack.ExtType(code, bomb)) for code in (1, 5, 42)]
    forms += [msgpack.packb(msgpack.ExtType(1, msgpack.packb(("|O", [1], bomb))))]
    for number, form in enumerate(forms):
        run_dir = tmp_path / f"run{number}"
        shutil.copytree(killed / "killed", run_dir)
        for path in (newest_driver_journal(run_dir), results_journal(run_dir)):
            journal = Journal(path)
            journal.append(form)
            journal.close()
        for name in (NAME, PREVIOUS_NAME):
            with h5py.File(run_dir / name, "r+") as file:
                del file["header"]
                file["header"] = np.frombuffer(form, dtype=np.uint8)
            seal(run_dir / name)
        said = completed(0, "run", killed / "spec.yaml", "--resume", "--output", run_dir, "--progress", "off")
        assert "damaged" in said
        assert not marker.exists()
        assert contents(run_dir) == contents(killed / "whole")


@pytest.mark.parametrize("place", ["results/track", "trials/params/x", "trials/error"])
def test_results_of_foreign_types_are_never_run(place: str, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    bomb = pickle.dumps(Bomb(marker))
    spec = write_project(tmp_path, MODEL_WITH_A_TRACK, space={"x": [0, 1]})
    completed(0, "run", spec, "--progress", "off")
    sound = (tmp_path / "small.run" / "results.h5").read_bytes()
    path = tmp_path / "small.run" / "results.h5"
    for kind in ("opaque", "reference", "bytes of any length", "pickle"):
        path.write_bytes(sound)
        with h5py.File(path, "r+") as file:
            del file[place]
            if kind == "opaque":
                file[place] = np.array([np.void(bomb)] * 2)
            elif kind == "reference":
                file.create_dataset(place, data=[file["trials/number"].ref] * 2, dtype=h5py.ref_dtype)
            elif kind == "pickle":
                file[place] = np.array([bomb.replace(b"\0", b"\1")] * 2)
                file[place].attrs["encoding"] = "pickle"
            else:
                kept = h5py.vlen_dtype(np.uint8)
                data = file.create_dataset(place, (2,), dtype=kept)
                data[0] = data[1] = np.frombuffer(bomb, dtype=np.uint8)
        seal(path)
        for verb in (["status", "-v"], ["resume"]):
            done = mpiens(0, verb[0], tmp_path / "small.run", *verb[1:])  # which shows no traceback
            assert not marker.exists(), (kind, done.stdout)


MODEL_WITH_A_TRACK = """
def simulate(trial):
    return {"loss": float(trial.params["x"]), "track": trial.params["x"]}
"""


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_checkpoint_does_not_say_what_runs(force: list[str], tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    spec = write_project(tmp_path, space={"x": [0, 1, 2], "y": [0.5]})
    run_dir = tmp_path / "small.run"
    for checkpoints in ((NAME,), (NAME, PREVIOUS_NAME)):
        completed(0, "run", spec, "--progress", "off")
        sound = read_checkpoint(run_dir / NAME)
        elsewhere = tmp_path / "other" / "spec.yaml"
        elsewhere.parent.mkdir(exist_ok=True)
        elsewhere.write_text(yaml.safe_dump(yaml.safe_load(sound.spec_text) | crafted_model(marker)))
        unfinished = replace(
            sound,
            spec_text=elsewhere.read_text(),
            spec_file=str(elsewhere),
            spec_beside=os.path.relpath(elsewhere, run_dir),
            spec_digest=spec_digest(elsewhere),
            **NOTHING_DONE,  # type: ignore[arg-type]
        )
        for path in run_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "origin.yaml":
                path.unlink()
        for _ in checkpoints:
            write_checkpoint(run_dir, unfinished)
        if len(checkpoints) > 1:
            flip(run_dir / NAME)
        done = mpiens(0, "resume", run_dir / NAME, *force, "--progress", "off")
        assert not marker.exists()
        assert done.returncode == (0 if force else 2), done.stdout + done.stderr
        assert "model.command" in done.stdout + done.stderr
        if force:
            assert trials(run_dir)["sum"].tolist() == [0.5, 1.5, 2.5], "the spec's own model ran"
        shutil.rmtree(run_dir)
        # Alone it decides nothing.
        alone = tmp_path / "alone.run"
        alone.mkdir(exist_ok=True)
        write_checkpoint(alone, unfinished)
        done = mpiens(0, "resume", alone, *force)
        assert not marker.exists()
        assert done.returncode == 2
        assert "mpiens run SPEC --resume" in done.stderr
        shutil.rmtree(alone)


NOTHING_DONE = {
    "serial": 0,
    "pending": [],
    "states": np.zeros(0, dtype=np.int8),
    "values": np.zeros((0, 1)),
    "order": np.zeros((0, 2), dtype=np.int64),
    "points": b"",
}


def crafted_model(marker: Path) -> dict[str, object]:
    argv = ["sh", "-c", f"touch {marker}; echo OUT 1"]
    return {"model": {"command": argv, "result": {"marker": "OUT"}}}


@pytest.mark.parametrize(
    "content", ["", "[1]", "spec: {", "spec: a\nbeside: b\nset: [1]", "spec: a\nset: []", "!!python/none x"]
)
def test_an_origin_that_cannot_be_read_is_named(content: str, tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    completed(0, "run", spec, "--progress", "off")
    (tmp_path / "small.run" / "origin.yaml").write_text(content)
    done = mpiens(0, "resume", tmp_path / "small.run")
    assert done.returncode == 2
    assert "origin.yaml" in done.stderr
    assert "mpiens run SPEC --resume" in done.stderr


def saved(**changes: object) -> Saved:
    fields: dict[str, object] = {
        **dict.fromkeys(("spec_file", "spec_beside", "spec_digest", "points_digest", "algorithm", "version"), "a"),
        "spec_text": "name: a\n",
        "serial": 3,
        "pending": [(2, 1, 0, {"x": [1, 2], "y": "text"}, "a history\n")],
        "states": np.array([1, 3, 0], dtype=np.int8),
        "values": np.array([[0.5], [np.nan], [np.nan]]),
        "order": np.array([[1, 3], [0, 3]]),
        "points": b"\x80\x80\x80",
    }
    return Saved(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, saved())
    found = read_checkpoint(tmp_path / NAME)
    assert found.pending == saved().pending
    assert found.points == b"\x80\x80\x80"
    np.testing.assert_array_equal(found.values, saved().values)
    assert found.serial == 3


def test_a_disk_that_is_full_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, saved(serial=1))
    write_checkpoint(tmp_path, saved(serial=2))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(
                StoreError, match=r"checkpoint\.h5: cannot write: No space left.*make space, then resume"
            ):
                write_checkpoint(tmp_path, saved(serial=3))
        found = find_checkpoint(tmp_path)
        assert found.saved is not None
        assert found.saved.serial in (1, 2)
        assert found.warnings == []
    write_checkpoint(tmp_path, saved(serial=3))
    assert find_checkpoint(tmp_path).saved is not None


@pytest.mark.parametrize("is_complete", [True, False])
def test_the_last_checkpoint_goes_step_by_step(is_complete: bool, tmp_path: Path) -> None:
    logbook = Logbook(tmp_path, saved(), Ledger(1, False), Kept())
    driver: Any = SimpleNamespace(unfinished=list)
    steps: list[bool] = []
    logbook.finish(driver, is_complete, lambda: steps.append((tmp_path / NAME).exists()))
    assert len(steps) > 4
    assert not all(steps), "all was done before anything was said"
    assert (tmp_path / NAME).exists()


LIMITED = """
import resource, runpy, sys
from mpi4py import MPI  # it needs large files of its own
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
sys.argv = ["mpiens", *sys.argv[1:]]
runpy.run_module("mpiens", run_name="__main__")
"""


def test_when_no_more_can_be_written_the_run_stops_and_can_go_on(tmp_path: Path) -> None:
    interrupted(tmp_path)
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    (tmp_path / "model.py").write_text(
        (tmp_path / "model.py").read_text().replace("[x] * (1 + trial.number % 3)", "[x] * 700")
    )
    command = [script, "run", tmp_path / "spec.yaml", "--output", tmp_path / "full", "--progress", "off"]
    done = run_ranks(0, command, TIMEOUT_S)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "full") in done.stderr
    assert "then resume" in done.stderr
    completed(0, "resume", tmp_path / "full", "--progress", "off")
    assert contents(tmp_path / "full") == contents(whole(tmp_path))


def test_a_ledger_without_its_points_is_told_so() -> None:
    ledger = Ledger(1, False)
    ledger.ask([{"x": 1}])
    assert list(ledger.points()) == []


def test_a_complete_run_is_not_computed_again_unasked(killed: Path, tmp_path: Path) -> None:
    sound, run_dir = killed / "whole", tmp_path / "whole"
    shutil.copytree(sound, run_dir)
    results = run_dir / "results.h5"
    order = ("run", killed / "spec.yaml", "--resume", "--output", run_dir, "--progress", "off")
    with h5py.File(results, "r+") as file:
        file.attrs["note"] = "x"
    annotated = results.read_bytes()
    assert "all of its 48 trials are sound" in completed(0, *order)
    assert contents(run_dir) == contents(sound)
    for count in (2, 3):
        if count == 3:
            (run_dir / "results.h5.sums").unlink()
            os.truncate(results, results.stat().st_size - 100)
        else:
            flip(results)
        damaged = results.read_bytes()
        refused = mpiens(0, *order)
        assert refused.returncode == 2
        assert "results.h5: damaged" in refused.stderr
        assert "--force" in refused.stderr
        assert results.read_bytes() == damaged
        completed(0, *order, "--force")
        assert (run_dir / f"results.h5.damaged.{count}").read_bytes() == damaged
        assert contents(run_dir) == contents(sound)
    assert (run_dir / "results.h5.damaged").read_bytes() == annotated


COUNTING_MODEL = """
import pathlib

def simulate(trial):
    with open(pathlib.Path(__file__).with_name("ran.txt"), "a") as file:
        file.write(f"{trial.number}\\n")
    return {"loss": float(trial.params["x"]), "track": [trial.params["x"]] * (40 + trial.number % 3)}
"""


def flip_a_value(path: Path, name: str) -> None:
    """A bit in the midst of a dataset."""
    with h5py.File(path) as file:
        place = file[name].id.get_offset() + file[name].id.get_storage_size() // 2
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_only_lost_trials_of_a_complete_run_are_computed_again(tmp_path: Path) -> None:
    space = {"x": {"range": [0, 300, 1]}}
    spec = write_project(tmp_path, COUNTING_MODEL, space=space)
    completed(0, "run", spec, "--progress", "off")
    run_dir, ran = tmp_path / "small.run", tmp_path / "ran.txt"
    shutil.copytree(run_dir, tmp_path / "whole.run")
    results = run_dir / "results.h5"
    flip_a_value(results, "results/track/values")
    ran.unlink()
    refused = mpiens(0, "resume", run_dir)
    assert refused.returncode == 2
    assert "results.h5: damaged: bytes " in refused.stderr
    assert " of its 300 trials are sound, " in refused.stderr
    assert "--force: the file is kept as results.h5.damaged, and the " in refused.stderr
    said = completed(0, "resume", run_dir, "--force", "--progress", "off")
    assert "results.h5 is damaged and was moved to results.h5.damaged" in said
    lost = [int(line) for line in ran.read_text().split()]
    assert 1 <= len(lost) < 5, lost
    assert f"the {len(lost)} lost trials run again" in refused.stderr
    assert contents(run_dir) == contents(tmp_path / "whole.run")
    # What costs no trial is mended unasked.
    data = bytearray(results.read_bytes())
    data[20] ^= 1
    results.write_bytes(data)
    ran.unlink()
    said = completed(0, "resume", run_dir, "--progress", "off")
    assert "all of its 300 trials are sound" in said
    assert not ran.exists()
    assert contents(run_dir) == contents(tmp_path / "whole.run")
    results.unlink()
    refused = mpiens(0, "resume", run_dir)
    assert refused.returncode == 2
    assert "results.h5: missing" in refused.stderr
    completed(0, "resume", run_dir, "--force", "--progress", "off")
    assert contents(run_dir) == contents(tmp_path / "whole.run")
