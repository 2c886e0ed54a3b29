"""The supervisor's bounds, with launchers that do not end, and the parts that it is made of."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from launch import environment
from mpiens.cluster import supervise
from mpiens.cluster.supervise import Charge, Supervisor
from mpiens.cluster.wrapped import Wrapped, find_verb
from mpiens.driver.ledger import Sent
from mpiens.guard import Death, read_deaths, remove_deaths, write_death
from mpiens.report import status as status_file
from mpiens.report.status import read_status
from mpiens.runtime.charges import charge, cost
from supervision import left_behind

LAUNCHER = """
import json, os, pathlib, signal, subprocess, sys, time

signal.signal(signal.SIGUSR1, signal.SIG_IGN)
folder, state, pid = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with (folder / "starts").open("a") as starts:
    print(os.environ["MPIENS_JOB_STARTED"], *sys.argv[4:], file=starts)
if len((folder / "starts").read_text().splitlines()) > 1:
    state = "complete"
status = {"state": state, "reason": "", "total": 1, "pid": pid, "host": sys.argv[4], "updated": time.time()}
status["job"] = os.environ["MPIENS_SUPERVISED"]
(folder / "status.json").write_text(json.dumps(status))
if state == "running" and sys.argv[4] == "beside":
    (folder / "journal").mkdir()
    death = {"rank": 2, "host": "n2", "cause": "SIGSEGV", "was_killed": True, "trial": 7, "attempt": 1}
    (folder / "journal" / "death-2.json").write_text(json.dumps(death | {"when_s": time.time()}))
    for _ in range(1000):  # rank 0 does not notice
        (folder / "status.new").write_text(json.dumps(status | {"updated": time.time()}))
        (folder / "status.new").rename(folder / "status.json")
        time.sleep(0.05)
# A rank in a session of its own, as launchers make them.
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", str(folder)], start_new_session=True)
time.sleep(0 if state == "complete" and sys.argv[2] != "complete" else 1000)
"""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    for name, bound_s in (
        ("GONE_S", 0.5),
        ("LEAVE_S", 0.5),
        ("DEATH_S", 0.5),
        ("SILENCE_S", 1.0),
        ("STOP_GRACE_S", 0.5),
    ):
        monkeypatch.setattr(supervise, name, bound_s)
    lines: list[str] = []
    yield lines


def run(folder: Path, said: list[str], state: str, pid: int, host: str) -> int:
    script = folder / "launcher.py"
    script.write_text(LAUNCHER)
    words = (sys.executable, str(script), str(folder), state, str(pid), host, "mpiens")
    charge = Charge(Wrapped(words, "run", ("spec.yaml", "--overwrite")), folder, 1, 0.0)
    return Supervisor(charge, environment(), said.append).run()


@pytest.mark.parametrize(
    ("state", "pid", "host", "reason"),
    [
        ("running", 2**22 - 1, "here", "rank 0 is gone"),
        ("running", 1, "elsewhere", "no sign of life from rank 0"),
        ("failed", 1, "elsewhere", "the launcher has not ended"),
        ("running", 1, "beside", "rank 2 was killed by SIGSEGV, and the launcher has not ended the job"),
    ],
)
def test_a_launcher_that_does_not_end_is_killed(
    tmp_path: Path, said: list[str], state: str, pid: int, host: str, reason: str
) -> None:
    status = run(tmp_path, said, state, pid, platform.node() if host == "here" else host)
    starts = (tmp_path / "starts").read_text().splitlines()
    assert left_behind(tmp_path) == []
    if state == "failed":
        assert (status, len(starts)) == (1, 1)
        return
    assert status == 0
    assert reason in said[0]
    assert starts[0].endswith("mpiens run spec.yaml --overwrite")
    assert starts[1].endswith("mpiens run --resume spec.yaml")
    began = [line.split()[0] for line in starts]
    assert began[0] == began[1], "each start of the job had the walltime anew"


def test_a_launcher_that_outlives_a_complete_run_is_ended(tmp_path: Path, said: list[str]) -> None:
    assert run(tmp_path, said, "complete", 1, "elsewhere") == 0
    assert said == []
    assert left_behind(tmp_path) == []


QUIET = """
import json, os, pathlib, platform, sys, time

folder = pathlib.Path(sys.argv[1])
with (folder / "starts").open("a") as starts:
    print(file=starts)
for state in ("running", "complete"):
    status = {"state": state, "total": 1, "pid": os.getpid(), "host": platform.node(), "updated": time.time()}
    (folder / "status.json").write_text(json.dumps(status | {"ranks": 1}))
    time.sleep(2.0 if state == "running" else 0.0)
"""


def supervised(folder: Path, said: list[str], script: str, *arguments: str) -> int:
    (folder / "launcher.py").write_text(script)
    command = Wrapped((sys.executable, str(folder / "launcher.py"), str(folder), "mpiens"), "run", arguments)
    return Supervisor(Charge(command, folder, 1, 0.0), environment(), said.append).run()


def test_a_single_rank_may_be_silent_while_its_trial_runs(tmp_path: Path, said: list[str]) -> None:
    assert supervised(tmp_path, said, QUIET) == 0  # it is silent for twice as long as others may be
    assert said == []
    assert (tmp_path / "starts").read_text() == "\n"


FLAKY = """
import json, os, pathlib, sys, time

folder = pathlib.Path(sys.argv[1])
with (folder / "starts").open("a") as starts:
    print(*sys.argv[3:], file=starts)
count = len((folder / "starts").read_text().splitlines())
if count == 1:
    sys.exit(1)
status = {"state": "running" if count == 2 else "complete", "total": 1, "pid": os.getpid(), "host": "elsewhere"}
status |= {"updated": time.time() - 100 * (count == 2 and "--overwrite" not in sys.argv)}
(folder / "status.json").write_text(json.dumps(status))
sys.exit(count == 2)
"""


def test_overwrite_is_kept_until_a_start_has_overwritten(tmp_path: Path, said: list[str]) -> None:
    earlier = {"state": "complete", "total": 1, "pid": 1, "host": "elsewhere", "updated": 1.0}
    (tmp_path / "status.json").write_text(json.dumps(earlier))
    assert supervised(tmp_path, said, FLAKY, "spec.yaml", "--overwrite") == 0
    starts = (tmp_path / "starts").read_text().splitlines()
    assert starts == ["run spec.yaml --overwrite"] * 2 + ["run --resume spec.yaml"]


BUSY = """
import json, pathlib, sys, time

folder = pathlib.Path(sys.argv[1])
status = json.loads((folder / "status.json").read_text())
(folder / "status.json").write_text(json.dumps(status | {"updated": time.time()}))
sys.exit(2)
"""


@pytest.mark.parametrize("job", ["another", ""])
def test_the_status_of_a_run_that_lives_elsewhere_is_not_its_own(job: str, tmp_path: Path, said: list[str]) -> None:
    other = {"state": "running", "total": 1, "pid": os.getpid(), "host": "elsewhere", "updated": 1.0, "job": job}
    (tmp_path / "status.json").write_text(json.dumps(other))
    assert supervised(tmp_path, said, BUSY, "spec.yaml") == 2
    assert said == []


def test_a_run_whose_process_is_seen_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_file, "STALE_S", -10.0)
    status = {"state": "running", "pid": os.getpid(), "host": platform.node(), "updated": time.time()}
    for changed, state in (
        ({}, "running"),
        ({"updated": psutil.Process().create_time() - 10.0}, "lost"),  # of an earlier process with this number
        ({"pid": 2**22 - 1}, "lost"),
        ({"host": "elsewhere"}, "lost"),
    ):
        (tmp_path / "status.json").write_text(json.dumps(status | changed))
        assert read_status(tmp_path)["state"] == state, changed


def test_a_launcher_that_does_not_obey_a_signal_is_killed(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "SILENCE_S", 1000.0)
    chance = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    chance.start()
    # This process is rank 0, for all that the supervisor can see.
    assert run(tmp_path, said, "running", os.getpid(), platform.node()) == 75
    chance.join()
    assert "no end 0 s after SIGTERM" in said[0]
    assert "the run can be resumed" in said[0]
    assert len((tmp_path / "starts").read_text().splitlines()) == 1
    assert left_behind(tmp_path) == []


def test_the_verb_is_found_in_any_command() -> None:
    for before in (["mpiexec", "-n", "4", "python", "-m", "mpiens"], ["srun", "/env/bin/mpiens"], ["mpiens"]):
        found = find_verb([*before, "run", "spec.yaml", "--overwrite", "--set", "a=1"])
        assert found == Wrapped(tuple(before), "run", ("spec.yaml", "--overwrite", "--set", "a=1"))
        assert found.again == [*before, "run", "--resume", "spec.yaml", "--set", "a=1"]
    resume = find_verb(["mpiens", "resume", "a.run"])
    assert resume is not None
    assert resume.again == ["mpiens", "resume", "a.run"]
    assert find_verb(["mpiexec", "python", "model.py", "run"]) is None
    assert find_verb(["mpiens"]) is None


def death(rank: int, trial: int | None, attempt: int = 1, was_killed: bool = True, when_s: float = 0.0) -> Death:
    return Death(rank, "host", "SIGSEGV" if was_killed else "exit status 3", was_killed, trial, attempt, when_s)


def test_records_of_deaths(tmp_path: Path) -> None:
    assert read_deaths(tmp_path) == []
    (tmp_path / "journal").mkdir()
    later, earlier = death(2, 7, when_s=2.0), death(1, None, when_s=1.0)
    bystander = death(3, 9, was_killed=False, when_s=0.5)
    for written in (later, earlier, bystander):
        write_death(tmp_path, written)
    endless = json.dumps(dataclasses.asdict(later) | {"trial": float("inf")})
    for number, content in enumerate(("", "[]", '{"rank": 1}', json.dumps({"trial": "x"}), endless, "[" * 100_000)):
        (tmp_path / f"journal/death-9{number}.json").write_text(content)
    assert read_deaths(tmp_path) == [earlier, later]
    assert str(death(0, None)) == "rank 0, the driver, was killed by SIGSEGV"
    assert str(bystander) == "rank 3 left with exit status 3"
    (tmp_path / "journal/death-5.new").touch()
    remove_deaths(tmp_path)
    assert list((tmp_path / "journal").iterdir()) == []


def test_only_the_trial_that_killed_pays() -> None:
    sent = {n: Sent(2, n // 2, {}) for n in range(6)}
    sent[6] = Sent(1, -1, {})
    # Nothing is known: the first of every group pays.
    assert charge(sent, [], {}) == ({0: "", 2: "", 4: ""}, False)
    assert charge(sent, [], {}, has_said_why=True) == ({}, True)
    assert charge(sent, [], {(5, 2): "timed out"}, has_said_why=True) == ({5: ""}, True)
    assert cost(sent, [], {}) == 10
    found, is_known = charge(sent, [death(1, 3, attempt=2)], {})
    assert (list(found), is_known) == ([3], True)
    assert cost(sent, [death(1, 3, attempt=2)], {}) == 8
    # The time limit's note is enough; the driver's own death is nobody's fault; an old record counts for nothing.
    assert charge(sent, [], {(5, 2): "timed out"}) == ({5: ""}, True)
    assert charge(sent, [death(0, None)], {}) == ({}, True)
    assert charge(sent, [death(1, 3, attempt=1), death(1, 6)], {(5, 1): "timed out"}) == ({}, True)
