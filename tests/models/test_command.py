"""Programs as models, from outside: what they are given, what is read of them, and how badly they may behave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from mpiens.errors import SpecError
from mpiens.models.readings import read_result
from mpiens.spec import parse_spec
from project import SPEC, completed, mpiens, trials, write_project

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "solver"
RUN = "small.run"

GOOD = """
import json, os, sys
print("a line before")
print("OUT: " + json.dumps({
    "loss": 1.5, "argv": json.dumps(sys.argv[1:]), "cwd": os.getcwd(), "threads": os.environ.get("OMP_NUM_THREADS", ""),
    "mpi": " ".join(name for name in os.environ if name.startswith(("PMI", "OMPI_COMM", "HYDI"))),
    "own": os.environ.get("OWN", ""), "stdin": sys.stdin.read(),
}))
print("a line after")
"""


def project(folder: Path, code: str, model: dict[str, Any], **changes: Any) -> Path:
    """A spec whose command runs `code`."""
    (folder / "program.py").write_text(code)
    command = [sys.executable, "program.py", *model.pop("arguments", [])]
    return write_project(folder, model={"command": command, "result": {"marker": "OUT"}} | model, **changes)


def leftovers(folder: Path) -> list[psutil.Process]:
    """Processes that a run in this folder has left."""
    found = []
    for process in psutil.process_iter():
        try:
            is_keeper = process.environ().get("PYTEST_CURRENT_TEST") == os.environ["PYTEST_CURRENT_TEST"] and (
                "mpiens.keeper" in process.cmdline()
            )
            if is_keeper or str(folder) in " ".join([process.cwd(), *process.cmdline()]):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.mpi
def test_what_a_program_is_given(tmp_path: Path) -> None:
    arguments = [
        "{params_json}", "{params_file}", "{trial}", "{attempt}", "{seed}", "{directory}", "{ranks}", "{threads}",
        "{folder}", "{x}", "a={a.b->c};$HOME `id`", "{{}}", "{words}", "--input=program.py", "program.py",
    ]  # fmt: skip
    spec = project(
        tmp_path,
        GOOD,
        {"arguments": arguments, "threads": 3, "fixed": {"a.b->c": 1e-3, "words": ["u v", 2]}},
        space={"x": [0.1, 7]},
    )
    completed(3, "run", spec)
    found = trials(tmp_path / RUN)
    for number, x in enumerate((0.1, 7)):
        directory = tmp_path / RUN / "trials" / str(number)
        given = json.loads(found["argv"][number])
        assert json.loads(given[0]) == {"x": x, "a.b->c": 0.001, "words": ["u v", 2]}
        assert json.loads(Path(given[1]).read_text()) == json.loads(given[0])
        seed = str(found["seed"][number])
        assert given[2:9] == [str(number), "1", seed, str(directory), "1", "3", str(tmp_path)]
        assert given[9:] == [
            str(x), "a=0.001;$HOME `id`", "{}", '["u v", 2]', "--input=program.py", str(tmp_path / "program.py"),
        ]  # fmt: skip
        assert found["cwd"][number] == str(directory).encode()
        assert (directory / "stdout").read_text().startswith("a line before\nOUT: {")
    assert set(found["threads"]) == {b"3"}
    assert set(found["mpi"]) == {b""}
    assert set(found["stdin"]) == {b""}


@pytest.mark.mpi
def test_a_prepared_command(tmp_path: Path) -> None:
    (tmp_path / "prep.py").write_text(
        "import sys\nimport mpiens\n\n\ndef prepare(trial):\n"
        "    if trial.params['x'] == 2:\n        return 'echo'\n"
        "    if trial.params['x'] == 1:\n        return None\n"
        "    return mpiens.Command([sys.executable, f'{trial.directory}/../../../program.py', '{x}'], env={'OWN': 1},\n"
        "        cwd='.', threads=2, stdin='typed')\n"
    )
    spec = project(tmp_path, GOOD, {"arguments": ["{x}"], "prepare": "prep.py:prepare"}, space={"x": [0, 1, 2]})
    completed(0, "run", spec, "--set", "limits.max_attempts=1")
    found = trials(tmp_path / RUN)
    assert found["state"].tolist() == [1, 1, 3]
    assert "prepare returned str, expected a mpiens.Command" in found["error"][2].decode()
    assert [json.loads(text) for text in found["argv"][:2]] == [["{x}"], ["1"]]
    assert found["cwd"][0] == str(tmp_path).encode()
    assert (found["own"][0], found["threads"][0], found["stdin"][0]) == (b"1", b"2", b"typed")
    # Without any command of the spec.
    model = {"prepare": "prep.py:prepare", "result": {"marker": "OUT"}}
    alone = write_project(tmp_path, model=model, name="alone", space={"x": [0, 1]})
    completed(0, "validate", alone)
    completed(0, "run", alone)
    assert trials(tmp_path / "alone.run")["state"].tolist() == [1, 3]


BAD = """
import os, signal, subprocess, sys, time
how = sys.argv[1]
stay = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
if how == "children":
    subprocess.Popen([sys.executable, "-c", stay])
    subprocess.Popen([sys.executable, "-c", stay], start_new_session=True)
if how == "hangs":
    time.sleep(1000)
if how == "ignores":
    subprocess.Popen([sys.executable, "-c", stay], start_new_session=True)
    exec(stay)
if how == "status":
    sys.stderr.write("first\\nsecond\\n\\nthe cause\\n")
    sys.exit(3)
if how == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
if how == "floods":
    for _ in range(100):
        os.write(1, b"x" * (1 << 20))
    print()
lines = {
    "nothing": "", "two": "OUT 7\\nOUT 1", "nan": "OUT nan", "text": "OUT many", "list": "OUT [1, 2]",
    "json nan": 'OUT {"loss": NaN}', "missing": 'OUT {"gain": 1}', "elsewhere": "result 1", "floods": "OUT 1",
    "ok": "OUT 1", "children": "OUT 1", "fortran": " OUT =  0.1D+01",
}
print(lines[how])
"""

CAUSES = {
    "nothing": "the command printed no line with 'OUT'",
    "two": "",
    "nan": "objective 'loss' is not finite: nan",
    "json nan": "objective 'loss' is not finite: nan",
    "text": "what follows 'OUT' is 'many'; expected a number, or a JSON object of results by name",
    "list": "what follows 'OUT' is '[1, 2]'; expected a number, or a JSON object of results by name",
    "missing": "objective 'loss' is missing; the model returned 'gain'",
    "elsewhere": "the command printed no line with 'OUT'",
    "status": f"{Path(sys.executable).name}: exit status 3: first | second | the cause",
    "crashes": f"{Path(sys.executable).name}: killed by SIGSEGV",
    "hangs": "timed out after 2 s (limits.trial_timeout)",
    "ignores": "timed out after 2 s (limits.trial_timeout)",
    "children": "",
    "floods": "",
    "fortran": "",
    "ok": "",
}


@pytest.mark.mpi
def test_programs_that_misbehave(tmp_path: Path) -> None:
    limits = {"max_attempts": 1, "trial_timeout": 2}
    spec = project(tmp_path, BAD, {"arguments": ["{how}"]}, space={"how": list(CAUSES)}, limits=limits)
    completed(3, "run", spec)
    assert leftovers(tmp_path) == []
    found = trials(tmp_path / RUN)
    causes = dict(zip(CAUSES, (text.decode() for text in found["error"]), strict=True))
    assert causes == CAUSES
    assert {loss for loss, cause in zip(found["loss"], causes.values(), strict=True) if not cause} == {1.0}
    assert (tmp_path / RUN / "trials" / str(list(CAUSES).index("floods")) / "stdout").stat().st_size < 17 << 20


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [0, 3])
def test_a_run_that_is_stopped_ends_its_programs(tmp_path: Path, ranks: int) -> None:
    # The program stops the whole job: as Ctrl-C twice does where rank 0 runs it, by force elsewhere.
    code = (
        "import signal, time, psutil\n"
        "rank = psutil.Process().parent().parent()\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True:\n"
        f"    rank.send_signal(signal.{'SIGKILL' if ranks else 'SIGINT'})\n"
        "    time.sleep(0.2)\n"
    )
    spec = project(tmp_path, code, {})
    assert mpiens(ranks, "run", spec).returncode != 0
    _, alive = psutil.wait_procs(leftovers(tmp_path), timeout=30)
    assert not alive


@pytest.fixture(scope="module")
def solver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built as its README says."""
    folder = tmp_path_factory.mktemp("solver") / "solver"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.run", "cable", "cable_mpi"))
    mpicc = str(Path(sys.executable).with_name("mpicc"))
    subprocess.run(["cc", "-O2", "-o", "cable", "cable.c", "-lm"], cwd=folder, check=True)
    subprocess.run([mpicc, "-O2", "-DUSE_MPI", "-o", "cable_mpi", "cable.c", "-lm"], cwd=folder, check=True)
    return folder


@pytest.mark.mpi
def test_mpi_programs_inside_the_running_job(solver: Path) -> None:
    spec = solver / "mpi.yaml"
    assert "warning" not in completed(0, "validate", spec, "--ranks", "3")
    assert "warning   model.ranks: 4 cores for each trial, but" in completed(
        0, "validate", spec, "--set", "model.threads=2"
    )
    completed(3, "run", spec, "--set", "model.ranks=min(2, 1 + lambda_um // 1)")
    assert leftovers(solver) == []
    found = trials(solver / "cable-mpi.run")
    assert found["state"].tolist() == [1] * 20
    assert found["ranks"].tolist() == [2] * 20
    settings = ["search.algorithm=random", "model.ranks=null", "name=alone", "model.command.0=./cable"]
    completed(0, "run", solver / "spec.yaml", *[part for text in settings for part in ("--set", text)])
    alone = trials(solver / "alone.run")
    assert alone["ratio"].tobytes() == found["ratio"].tobytes()


@pytest.mark.mpi
def test_an_mpi_program_that_hangs(tmp_path: Path) -> None:
    code = "import time\nfrom mpi4py import MPI\nassert MPI.COMM_WORLD.size == 2\n"
    code += "if MPI.COMM_WORLD.rank:\n    time.sleep(1000)\nMPI.COMM_WORLD.barrier()\n"
    limits = {"max_attempts": 1, "trial_timeout": 4}
    spec = project(tmp_path, code, {"ranks": 2}, space={"x": [1]}, limits=limits)
    completed(2, "run", spec)
    assert leftovers(tmp_path) == []
    assert trials(tmp_path / RUN)["error"].tolist() == [b"timed out after 4 s (limits.trial_timeout)"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"command": ["true", "{y}"]}, "model.command: {y} is no parameter"),
        ({"command": ["true", "{parms_json}"]}, "did you mean 'params_json'?"),
        ({"command": ["true", '{"x": 1}']}, "write {{ and }} for braces"),
        ({"command": ["true", "{x"]}, "a single '{'; write {{ for a brace"),
        ({"command": []}, "model.command: must not be empty"),
        ({"command": "./cable {x}"}, "model.command: expected a list"),
        ({"command": ["true"], "ranks": "x +"}, "model.ranks: 'x +' is not arithmetic"),
        ({"command": ["true"], "ranks": "__import__('os')"}, "no function '__import__'"),
        ({"command": ["true"], "ranks": "z * 2"}, "model.ranks: 'z * 2': z is no parameter"),
        ({"command": ["true"], "result": {"regex": "("}}, "model.result.regex: '(' is no regular expression"),
        ({"command": ["true"], "isolation": "process"}, "model.isolation: a command has a process of its own"),
        ({"command": ["true"], "mechanisms": "mod"}, "model.mechanisms: mechanisms are loaded by"),
        ({"python": "model.py:simulate", "ranks": 2}, "ranks is for a command only"),
        ({"prepare": "m.py:f", "python": "model.py:simulate"}, "exactly one of python, netpyne and command"),
    ],
)
def test_bad_commands_are_refused(model: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(yaml.safe_dump(SPEC | {"model": model, "space": {"x": [1]}}), "spec.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("spec.yaml:")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"command": ["./cabel"]}, "model.command: no program {folder}/cabel; did you mean 'cable'?"),
        ({"command": ["no-such-program"]}, "model.command: no program 'no-such-program' on PATH"),
        ({"command": ["./spec.yaml"]}, "cannot be executed; make it so with: chmod +x"),
        ({"command": ["./"]}, "is a folder"),
        ({"prepare": "model.py:nothing"}, "has no function 'nothing'"),
    ],
)
def test_programs_that_are_not_there_are_found_before_the_queue(
    tmp_path: Path, model: dict[str, Any], words: str
) -> None:
    spec = write_project(tmp_path, model=model, space={"x": [1]})
    (tmp_path / "cable").touch()
    done = mpiens(0, "validate", spec)
    assert done.returncode == 2, done.stdout
    assert words.replace("{folder}", str(tmp_path)) in done.stderr
    assert "spec.yaml:" in done.stderr


@pytest.mark.mpi
def test_a_program_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    done = mpiens(2, "run", write_project(tmp_path, model={"command": ["./missing"]}))
    assert done.returncode == 2
    assert f"no program {tmp_path}/missing" in done.stdout


def outputs(folder: Path, printed: str, result: tuple[str, str] | None, left_out: int = 0) -> dict[str, object]:
    (folder / "stdout").write_text(printed)
    told = {"total": len(printed) + left_out, "left_out": left_out, "end_at": 0}
    return read_result(result, folder, told, "loss")


@pytest.mark.parametrize(
    ("result", "printed", "found"),
    [
        (("marker", "DH-OUTPUT"), "DH-OUTPUT:0.5\n", {"loss": 0.5}),
        (("marker", "DH-OUTPUT:"), 'x DH-OUTPUT: {"loss": 1, "a": {"b": [1]}}', {"loss": 1, "a": {"b": [1]}}),
        (("marker", "loss"), "loss = 1e-3", {"loss": 1e-3}),
        (("regex", r"energy: (\S+)"), "energy: 1\nenergy: 2.5 J\n", {"loss": 2.5}),
        (("regex", r"^E=(?P<loss>\S+) (?P<label>\w+)$"), "E=1 a\nE=2 b\n", {"loss": 2, "label": "b"}),
        (("regex", r"\d+$"), "n 12", {"loss": 12}),
        (None, "words\n0.25\n\n", {"loss": 0.25}),
    ],
)
def test_results(tmp_path: Path, result: tuple[str, str] | None, printed: str, found: dict[str, object]) -> None:
    assert outputs(tmp_path, printed, result) == found


def test_a_result_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text('{"loss": 2, "v": [1, 2]}\n')
    assert outputs(tmp_path, "", ("file", "out.json")) == {"loss": 2, "v": [1, 2]}
    with pytest.raises(Exception, match=r"the command made no file .*/none.json"):
        outputs(tmp_path, "", ("file", "none.json"))


def test_a_result_that_may_lie_in_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="in the end of its output; 10 bytes before that were not kept"):
        outputs(tmp_path, "x", ("marker", "OUT"), left_out=10)
    with pytest.raises(Exception, match="printed nothing"):
        outputs(tmp_path, "", None)


def test_numpy_in_parameters() -> None:
    from mpiens.command import as_argument, as_json

    params = {"a": np.float32(0.5), "b": np.arange(2), "c": np.bool_(True), "d": float("nan"), "e": Path("x")}
    assert json.loads(as_json(params)) == {"a": 0.5, "b": [0, 1], "c": True, "d": None, "e": "x"}
    assert [as_argument(value) for value in (np.int64(3), 1e-300, True, "a b")] == ["3", "1e-300", "true", "a b"]
    with pytest.raises(ValueError, match="infinite"):
        as_json({"a": float("inf")})
    assert os.sep == "/"
