"""A thousand random mutations of every kind of file of a run: each is seen, or changes nothing that is read.

Never a value that was not written, an error that is not mpiens's own, or a hang (the whole test has a time limit).
``MPIENS_MUTATIONS`` is how many of each kind (1000), ``MPIENS_MUTATION_SEED`` where they begin (1). What reads the file
looks at it after every mutation; the whole run is taken up after every thirtieth (``MPIENS_MUTATION_RESUME``: 30; 1 by
hand).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
from click.testing import CliRunner

from faults import disk
from mpiens.checkpoint import NAME, PREVIOUS_NAME, Saved, read_checkpoint, write_checkpoint
from mpiens.cli.status import list_runs, status
from mpiens.driver.ledger import asked_entry, told_entry
from mpiens.errors import MpiensError, StoreError, UsageError
from mpiens.goals import Goals
from mpiens.guard import Death, read_deaths, write_death
from mpiens.messages import Assignment
from mpiens.record import TrialRecord, decode, encode
from mpiens.runtime import earlier
from mpiens.runtime.growth import keep_forms, read_forms
from mpiens.runtime.origin import edited, keep_origin, read_origin
from mpiens.runtime.recovery import find_checkpoint, recover, replay
from mpiens.samplers import FinishedTrial, PastTrial
from mpiens.samplers.base import Past
from mpiens.small_files import with_checksum
from mpiens.spec import LoadedSpec, load_spec
from mpiens.store import FileStore, open_results
from mpiens.store.checked import verify
from mpiens.store.journal import Journal, read_frames
from mpiens.trial import TrialState
from mpiens.watchdog import Watchdog, killed, note_path, read_kills
from resume.mutated import mutations

COUNT = int(os.environ.get("MPIENS_MUTATIONS", "1000"))
RESUME_EVERY = int(os.environ.get("MPIENS_MUTATION_RESUME", "30"))
TRIALS = 24
DEATH = Death(0, "here", "SIGSEGV", True, 7, 2, 1.5)
EARLIER = [PastTrial({"x": n / 3}, FinishedTrial(0, TrialState.COMPLETE, (n / 7,))) for n in range(20)]
STATUS: dict[str, Any] = {
    **{"name": "m", "state": "stopped", "reason": "", "total": 24, "complete": 24, "failed": 0, "pruned": 0},
    **{"running": 0, "elapsed_s": 1.0, "rate_per_s": 1.0, "time_left_s": None, "groups": 1, "group_size": 1},
    **{"busy_share": 0.5, "lost_groups": 0, "retried": 0, "causes": {"ValueError": 1}, "updated": 1.0},
    **{"best": {"number": 0, "values": {"loss": 0.0}, "params": {"x": 0.0}}, "host": "here", "pid": 1},
}
FORMS = ({"x": [1, 2.5, 4], "y": ["a", "b"]}, {"x": [1, 2.5, 4, 5], "y": ["a", "b"]})


def record(number: int) -> bytes:
    chance = np.random.default_rng(number)
    results: dict[str, Any] = {"trace": chance.random(600), "spikes": chance.random(number % 5), "label": f"t{number}"}
    values = {"loss": number / 7}
    fields = (1, 0, number, 1.5, 0.5, "", {"x": number / 3}, values, results)
    return encode(TrialRecord(number, TrialState.COMPLETE, *fields))


def open_store(run_dir: Path) -> FileStore:
    return FileStore(run_dir, "m", "name: m\n", {"host": "here"}, {"loss": "minimize"}, ["x"])


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run that has stopped: segments, journals of both kinds, a checkpoint."""
    folder = tmp_path / "m.run"
    store = open_store(folder)
    for first in (0, 8):
        store.append([record(number) for number in range(first, first + 8)])
        store.seal()
    store.append([record(number) for number in range(16, TRIALS)])
    store.sync()
    journal = Journal(folder / "journal" / "driver-000001.bin")
    for first in range(12, TRIALS, 4):
        points = [{"x": number / 3} for number in range(first, first + 4)]
        told = [FinishedTrial(n, TrialState.COMPLETE, (n / 7,)) for n in range(first, first + 4)]
        journal.append(msgpack.packb([asked_entry(first, points)]), msgpack.packb([told_entry(told)]))
    journal.close()
    for _ in (PREVIOUS_NAME, NAME):
        write_checkpoint(folder, checkpoint())
    keep_forms(folder, FORMS)
    keep_origin(folder, loaded_spec(tmp_path))
    earlier.keep_earlier(folder, EARLIER)
    write_death(folder, DEATH)
    watchdog = Watchdog(60.0, note_path(folder, 0))
    with watchdog.limited(Assignment(7, 2, {})):
        os.kill(os.getpid(), signal.SIGRTMAX)  # as the kernel does just before it kills the rank
    watchdog.close()
    (folder / "status.json").write_text(json.dumps(with_checksum(STATUS)))
    return folder


def loaded_spec(folder: Path) -> LoadedSpec:
    text = "name: m\nmodel: {python: model.py:simulate}\nspace: {x: {low: 0, high: 8.0}}\n"
    (folder / "m.yaml").write_text(
        text + "search: {algorithm: tpe, trials: 24, from: before, objectives: {loss: minimize}}\n"
    )
    return load_spec(folder / "m.yaml", ["limits.max_attempts=5"])


def checkpoint() -> Saved:
    texts = ("spec_file", "spec_beside", "spec_digest", "points_digest", "algorithm", "version")
    return Saved(
        **dict.fromkeys(texts, "a"),  # type: ignore[arg-type]
        spec_text="name: m\n",
        serial=1,
        pending=[],
        states=np.ones(12, dtype=np.int8),
        values=np.arange(12).reshape(-1, 1) / 7,
        order=np.stack([np.arange(12), np.full(12, 12)], axis=1),
        points=b"".join(msgpack.packb({"x": number / 3}) for number in range(12)),
    )


class NoSampler:
    """Asks for the same points again."""

    total = TRIALS
    needs_history = True

    def restore(self, past: Past) -> dict[int, dict[str, Any]]:
        list(past.trials)
        return {number: {"x": number / 3} for number in past.lost}


def check_results(path: Path, how: str) -> None:
    """What can be read is what was written."""
    try:
        results = open_results(path)
        numbers = [int(number) for number in np.sort(results._numbers)]
        found = {name: results[name] for name in (*results.names, "loss")}
    except StoreError as error:
        assert str(path) in str(error), how
        return
    assert set(numbers) <= set(range(TRIALS)), how
    for row, number in enumerate(numbers):
        chance = np.random.default_rng(number)
        assert found["loss"][row] == number / 7, how
        assert found["trace"][row].tobytes() == chance.random(600).tobytes(), how
        assert found["spikes"][row].tobytes() == chance.random(number % 5).tobytes(), how
        assert found["label"][row] == f"t{number}", how


def check_resumed(run_dir: Path, how: str) -> list[str]:
    """Takes the run up as `mpiens resume` does; returns what it says."""
    found = find_checkpoint(run_dir)
    store = open_store(run_dir)
    ledger, _kept, warnings = replay(run_dir, found.saved, 1, True)
    outcomes = store.outcomes()
    assert np.array_equal(outcomes.values[:, 0], outcomes.numbers / 7), how
    deaths, kills = read_deaths(run_dir), read_kills(run_dir)
    recovered = recover(
        ledger,
        store,
        NoSampler(),
        3,
        Goals(("minimize",)),
        deaths=deaths,
        kills=kills,  # type: ignore[arg-type]
    )
    assert recovered.start.tally.done == len(outcomes.numbers), how
    assert all(trial.params == {"x": trial.number / 3} for trial in recovered.start.pending), how
    assert len(recovered.start.pending) + len(outcomes.numbers) == recovered.start.asked, how
    return [*found.warnings, *store.warnings, *warnings, *recovered.warnings]


def check_journal(path: Path, how: str) -> None:
    try:
        for _end, payload in read_frames(path, resync=True):
            assert payload == record(decode(payload).number), how
    except StoreError as error:
        assert str(path) in str(error), how


def check_driver_journal(path: Path, how: str) -> None:
    ledger, _kept, _warnings = replay(path.parent.parent, checkpoint(), 1, True)
    assert 12 <= ledger.told <= ledger.asked <= TRIALS, how
    assert ledger.values[: ledger.told, 0].tolist() == [number / 7 for number in range(ledger.told)], how
    assert list(ledger.points()) == [{"x": number / 3} for number in range(ledger.asked)], how


def check_checkpoint(path: Path, how: str) -> None:
    with pytest.raises(StoreError, match=path.name):
        read_checkpoint(path)


def check_origin(path: Path, how: str) -> None:
    loaded = loaded_spec(path.parent.parent)
    try:
        origin = read_origin(path.parent)
    except UsageError as error:
        assert path.name in str(error), how
        return
    keep_origin(path.parent.parent, loaded)
    assert edited(path.parent.parent) == ""
    if origin != read_origin(path.parent.parent):
        assert f"{origin.spec} (beside: {origin.beside})" in edited(path.parent), how


def check_earlier(path: Path, how: str) -> None:
    with pytest.raises(StoreError, match=r"earlier\.bin: damaged.*put a copy"):
        earlier.earlier_trials(loaded_spec(path.parent.parent), path.parent)


def check_death(path: Path, how: str) -> None:
    assert read_deaths(path.parent.parent) in ([], [DEATH]), how


def check_note(path: Path, how: str) -> None:
    assert read_kills(path.parent.parent) in ({}, {(7, 2): killed(60.0)}), how


def check_segment(path: Path, how: str) -> None:
    with pytest.raises(StoreError, match=path.name):
        verify(path)
    check_results(path.parent.parent, how)


def check_master(path: Path, how: str) -> None:
    check_results(path.parent, how)


def check_space(path: Path, how: str) -> None:
    assert read_forms(path.parent) in ((), FORMS), how


PLACES: dict[str, Callable[[Path, str], None]] = {
    "journal/0-000002.bin": check_journal,
    "journal/driver-000001.bin": check_driver_journal,
    NAME: check_checkpoint,
    PREVIOUS_NAME: check_checkpoint,
    "origin.yaml": check_origin,
    earlier.NAME: check_earlier,
    "journal/death-0.json": check_death,
    "journal/rank-0.note": check_note,
    "segments/0-000001.h5": check_segment,
    "results.h5": check_master,
    "space.json": check_space,
}
"""Files, and what looks at each of them after every mutation."""
UNREAD = ("origin.yaml", "space.json", earlier.NAME)
"""Those that have been read before a run is taken up."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_file_of_a_run_that_goes_on(place: str, run_dir: Path, tmp_path: Path) -> None:
    master = (run_dir / "results.h5").read_bytes()
    copy = tmp_path / "copy.run"
    for count, how in enumerate(mutations(run_dir / place, COUNT)):
        PLACES[place](run_dir / place, how)
        if place not in UNREAD and count % RESUME_EVERY == 0:
            shutil.copytree(run_dir, copy)
            if place == PREVIOUS_NAME:
                (copy / NAME).write_bytes(b"")
            with disk(lambda *_: None, tears=False):
                warnings = check_resumed(copy, how)
            if place in (NAME, PREVIOUS_NAME, "segments/0-000001.h5"):
                assert any(Path(place).name in warning for warning in warnings), how
            check_results(copy, how)
            shutil.rmtree(copy)
    assert (run_dir / "results.h5").read_bytes() == master
    assert check_resumed(run_dir, "sound") == []
    check_results(run_dir, "sound")


@pytest.mark.timeout(600)
def test_a_damaged_packed_file(run_dir: Path) -> None:
    store = open_store(run_dir)
    store.finish("complete")
    for count, how in enumerate(mutations(run_dir / "results.h5", COUNT)):
        check_results(run_dir, how)
        with pytest.raises(StoreError, match=r"results\.h5"):
            open_results(run_dir).verify()
        open_store_warnings = _reopened(run_dir) if count % RESUME_EVERY == 0 else ["results.h5"]
        assert "results.h5" in open_store_warnings[0], how
    check_results(run_dir, "sound")
    open_results(run_dir).verify()


def _reopened(run_dir: Path) -> list[str]:
    copy = run_dir.with_name("copy.run")
    shutil.copytree(run_dir, copy)
    warnings = open_store(copy).warnings
    assert list(copy.glob("results.h5.damaged"))
    check_results(copy, "saved")
    shutil.rmtree(copy)
    return warnings


@pytest.mark.timeout(600)
def test_a_damaged_status(run_dir: Path) -> None:
    runner = CliRunner()
    sound = runner.invoke(status, [str(run_dir)]).output
    assert "is not as a run has written it" not in sound
    for how in mutations(run_dir / "status.json", COUNT):
        done = runner.invoke(status, [str(run_dir)])
        assert done.exception is None or isinstance(done.exception, (MpiensError, SystemExit)), (how, done.exception)
        if done.exception is None and done.output != sound:
            assert "is not as a run has written it" in done.output, how
        listed = runner.invoke(list_runs, [str(run_dir.parent)])
        assert listed.exception is None or isinstance(listed.exception, SystemExit), (how, listed.exception)


def test_a_status_that_is_nested_without_end(run_dir: Path) -> None:
    (run_dir / "status.json").write_text("[" * 100_000)
    failure = CliRunner().invoke(status, [str(run_dir)]).exception
    assert isinstance(failure, MpiensError)
    assert "status.json: cannot be read" in str(failure)


def test_status_checks_all_of_the_results_when_asked(run_dir: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(status, [str(run_dir), "-v"]).exception is None
    path = run_dir / "segments" / "0-000000.h5"
    data = bytearray(path.read_bytes())
    data[-3000] ^= 1
    path.write_bytes(data)
    failure = runner.invoke(status, [str(run_dir), "-v"]).exception
    assert isinstance(failure, StoreError)
    assert "0-000000.h5" in str(failure)


def test_a_file_that_another_program_has_changed_can_be_read_unchecked(run_dir: Path) -> None:
    open_store(run_dir).finish("complete")
    with h5py.File(run_dir / "results.h5", "r+") as file:
        file["notes"] = "mine"
    with pytest.raises(StoreError, match="verify=False"):
        open_results(run_dir)
    assert len(open_results(run_dir, verify=False)["trace"]) == TRIALS
