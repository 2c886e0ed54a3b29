"""Programs that read results.h5 with plain h5py all the time that a run goes on, and after its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launch import environment, run_ranks
from project import TIMEOUT_S, completed, trials, write_project

MODEL = """
import pathlib, time

def simulate(trial):
    seen = len(list(pathlib.Path(__file__).parent.glob("seen-*")))
    time.sleep(0.0 if seen == 2 else 0.004 if trial.number < 100 else 0.1)
    x = trial.params["x"]
    return {"loss": x / 7, "track": [float(x)] * (20 + trial.number % 3)}
"""
TRIALS = 300
OFTEN = """
import runpy, sys
from mpiens.store import shelf

shelf.MERGE_AT = 8
sys.argv[0] = "mpiens"
runpy.run_module("mpiens", run_name="__main__")
"""

READER = """
import pathlib, sys, time
import h5py

run_dir = pathlib.Path(sys.argv[1])

def check(file):
    numbers = file["trials/number"][()].tolist()
    assert file["trials/params/x"][()].tolist() == numbers
    assert file["trials/values/loss"][()].tolist() == [number / 7 for number in numbers]
    track = file["results/track"] if "track" in file["results"] else None
    if track is not None and numbers:
        offsets = track["offsets"][()].tolist()
        values = track["values"][()].tolist()
        for number, start, stop in zip(numbers, offsets, offsets[1:]):
            assert values[start:stop] == [float(number)] * (20 + number % 3), number
    assert file["trials/state"][()].tolist() == [1] * len(numbers)
    return len(numbers)

while not (run_dir / "results.h5").exists():
    time.sleep(0.01)
first = run_dir / "segments" / "0-000000.h5"
while not first.exists():
    time.sleep(0.01)
kept, reads, deleted, state = [], 0, 0, "running"
while state != "complete":
    file = h5py.File(run_dir / "results.h5")
    check(file)
    state = file.attrs["state"]
    reads += 1
    if reads % 10 == 1:
        kept.append(file)  # for a while
    else:
        file.close()
    if len(kept) > 3:
        kept.pop(0).close()
    check(kept[reads % len(kept)])
    if state == "running" and not first.exists() and not deleted:
        deleted = reads
        (run_dir.parent / ("seen-" + sys.argv[2])).touch()
for file in kept:
    check(file)
print(reads, deleted)
"""


@pytest.mark.timeout(300)
def test_readers_see_whole_rows_and_no_errors_at_any_moment(tmp_path: Path) -> None:
    spec = write_project(tmp_path, MODEL, space={"x": {"range": [0, TRIALS, 1]}}, checkpoint={"every": "0.03s"})
    run_dir = tmp_path / "small.run"
    (tmp_path / "often.py").write_text(OFTEN)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(run_dir), locking],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment() | {"HDF5_USE_FILE_LOCKING": locking},
        )
        for locking in ("TRUE", "FALSE")
    ]
    try:
        done = run_ranks(0, [tmp_path / "often.py", "run", spec, "--progress", "off"], TIMEOUT_S)
        assert done.returncode == 0, done.stdout + done.stderr
        for reader in readers:
            output, errors = reader.communicate(timeout=TIMEOUT_S)
            assert reader.returncode == 0, errors
            reads, deleted = map(int, output.split())
            assert reads > 10
            assert deleted, "no segment was deleted under its eyes"
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
    assert trials(run_dir)["loss"].tolist() == [number / 7 for number in range(TRIALS)]
    assert "segments stays for a program that still has an earlier results.h5 open" in done.stdout
    completed(0, "resume", run_dir)
    assert not (run_dir / "segments").exists()
