"""The process beside a rank: what it starts, it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from launch import environment
from mpiens.errors import AttemptError
from mpiens.keeper.client import Keeper
from mpiens.keeper.output import KEPT_BYTES, OutputFile
from mpiens.keeper.patience import Patience

IGNORING = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1] == "tree":
    # One in a session of its own, whose parent then ends: only a subreaper can find it.
    first = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]], start_new_session=True)"
    subprocess.run([sys.executable, "-c", first, sys.argv[0], "leaf"], check=True)
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    yield made
    made.close()
    assert psutil.Process().children(recursive=True) == []


def request(folder: Path, *argv: str | Path, **changes: Any) -> dict[str, Any]:
    return {
        "argv": list(map(str, argv)),
        "env": dict(os.environ),
        "cwd": str(folder),
        "stdin": None,
        "stdout": str(folder / "stdout"),
        "stderr": str(folder / "stderr"),
        "limit_s": None,
    } | changes


def python(folder: Path, code: str, **changes: Any) -> dict[str, Any]:
    return request(folder, sys.executable, "-c", code, **changes)


def below(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def test_what_runs_unusually_long_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patience = Patience(least_s=0.2, at_first_s=0.0)
    assert patience.bound_s == 0
    for elapsed_s in (0.01, 0.03, 9.0):
        patience.note(elapsed_s)
    assert patience.bound_s == pytest.approx(0.3)
    keeper = Keeper(patience=patience)
    try:
        for limit_s in (None, 60.0):
            keeper.ask(python(tmp_path, "import time; time.sleep(1)", limit_s=limit_s))
    finally:
        keeper.close()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert said[0].startswith("the trial's process has run for 0.3")
    assert said[0].endswith(
        "nothing limits it (limits.trial_timeout); half of those before it took no more than 0.03 s"
    )
    assert patience.bound_s > 0.5, "it has learned"


def test_output_and_status(tmp_path: Path, keeper: Keeper) -> None:
    code = "import os, sys; print(os.getcwd()); sys.stderr.write('wrong'); sys.exit(3)"
    answer = keeper.ask(python(tmp_path, code))
    assert (answer["status"], answer["is_late"], answer["is_clean"]) == (3 << 8, False, True)
    assert (tmp_path / "stdout").read_text() == f"{tmp_path}\n"
    assert (tmp_path / "stderr").read_text() == "wrong"
    (tmp_path / "in").write_text("42")
    keeper.ask(python(tmp_path, "print(input())", stdin=str(tmp_path / "in"), stdout=str(tmp_path / "answer")))
    assert (tmp_path / "answer").read_text() == "42\n"
    # A program that prints nothing leaves no file.
    keeper.ask(python(tmp_path, "pass", stdout=str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def test_signals_reach_programs_though_ranks_ignore_them(tmp_path: Path, keeper: Keeper) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        answer = keeper.ask(python(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGTERM); print('on')"))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert answer["status"] == signal.SIGTERM


def test_what_cannot_be_started(tmp_path: Path, keeper: Keeper) -> None:
    script = tmp_path / "script"
    script.write_text("no interpreter")
    script.chmod(0o755)
    for argv in (["/nowhere"], [str(script)], ["true", "x" * 200_000], ["true", "\0"]):
        assert keeper.ask(request(tmp_path, *argv))["failure"]
    assert keeper.ask(request(tmp_path, "true"))["status"] == 0


@pytest.mark.parametrize("kind", ["leaf", "tree"])
def test_a_limit_ends_what_ignores_sigterm_and_what_hides(tmp_path: Path, keeper: Keeper, kind: str) -> None:
    script = tmp_path / "ignoring.py"
    script.write_text(IGNORING)
    start_s = time.monotonic()
    answer = keeper.ask(request(tmp_path, sys.executable, script, kind, limit_s=1.0))
    assert answer["is_late"]
    assert answer["is_clean"]
    assert answer["status"] == signal.SIGKILL
    assert time.monotonic() - start_s < 30
    assert (tmp_path / "stdout").read_text().startswith("started")
    assert len(below(psutil.Process())) == 1  # the keeper alone


def test_children_of_a_program_that_ended_well(tmp_path: Path, keeper: Keeper) -> None:
    script = tmp_path / "ignoring.py"
    script.write_text(IGNORING)
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, {str(script)!r}, 'tree']); print('done')"
    answer = keeper.ask(python(tmp_path, code))
    assert answer["status"] == 0
    assert answer["is_clean"]
    assert len(below(psutil.Process())) == 1


def test_a_gigabyte_of_output(tmp_path: Path, keeper: Keeper) -> None:
    code = "import os\nfor _ in range(1 << 10): os.write(1, b'x' * (1 << 20))\nprint('the end')"
    answer = keeper.ask(python(tmp_path, code))
    out = answer["stdout"]
    assert out["total"] == (1 << 30) + 8
    text = (tmp_path / "stdout").read_bytes()
    assert len(text) < 2 * KEPT_BYTES + (1 << 17)
    assert text.endswith(b"xxxthe end\n")
    assert f"[mpiens: {out['left_out']} bytes left out here]".encode() in text
    (process,) = below(psutil.Process())
    assert process.memory_info().rss < 80 << 20


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 19, 20, 21, 25, 70_000])
def test_beginning_and_end_are_kept(tmp_path: Path, length: int) -> None:
    read, write = os.pipe()
    text = bytes(33 + index % 90 for index in range(length))
    output = OutputFile(read, str(tmp_path / "out"), kept_bytes=10)
    for start in range(0, length, 7):
        os.write(write, text[start : start + 7])
        assert output.pump() > 0
    os.close(write)
    assert output.pump() == 0
    told = output.close()
    kept = (tmp_path / "out").read_bytes() if length else b""
    end = int(told["end_at"])
    assert told["total"] == length
    if told["left_out"]:
        assert kept[:10] == text[:10]
        assert len(kept[end:]) >= 10
        assert text.endswith(kept[end:])
        assert 10 + int(told["left_out"]) + len(kept[end:]) == length
    else:
        assert kept == text


def test_a_full_disk_is_told(tmp_path: Path, keeper: Keeper) -> None:
    answer = keeper.ask(python(tmp_path, "print('x')", stdout="/dev/full"))
    assert "No space left" in answer["stdout"]["error"]


def test_everything_ends_when_the_rank_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "ignoring.py"
    script.write_text(IGNORING)
    asking = tmp_path / "asking.py"
    asking.write_text(
        "import os, sys\nfrom mpiens.keeper.client import Keeper\n"
        f"argv = [sys.executable, {str(script)!r}, 'tree']\n"
        "names = dict(cwd='.', stdin=None, stdout='stdout', stderr='stderr', limit_s=None)\n"
        "Keeper().ask(dict(argv=argv, env=dict(os.environ), **names))\n"
    )
    rank = subprocess.Popen([sys.executable, str(asking)], cwd=tmp_path, env=environment())
    try:
        family: list[psutil.Process] = []
        end_s = time.monotonic() + 60
        while len(family) < 3 and time.monotonic() < end_s:  # keeper, program, and the one that hides
            time.sleep(0.02)
            # The hidden one is no child of the program, but of the keeper.
            family = below(psutil.Process(rank.pid))
            if not (tmp_path / "stdout").exists():
                family = []
        assert len(family) == 3
    finally:
        rank.kill()
        rank.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_a_keeper_that_dies_costs_one_attempt(tmp_path: Path, keeper: Keeper) -> None:
    code = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    with pytest.raises(AttemptError, match="has ended"):
        keeper.ask(python(tmp_path, code))
    assert keeper.ask(request(tmp_path, "true"))["status"] == 0
