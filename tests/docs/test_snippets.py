"""Every fenced block of the documentation is carried out; `doc_pages` says what a block may be."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from doc_pages import ROOT, all_pages, blocks_of, parse
from launch import mpiexec_argv, run_ranks

PAGE_TIMEOUT_S = 200.0
NETWORK = Path("examples/network")

ELSEWHERE = [
    ("CONTRIBUTING.md", "takes most of an hour"),
    ("CONTRIBUTING.md", "makes an environment and runs all tests"),
    ("CONTRIBUTING.md", "downloads gigabytes"),
    ("docs/howto/cluster-mpi.md", "needs a cluster's MPI"),
    ("docs/howto/openmpi.md", "makes an environment"),
    ("docs/howto/openmpi.md", "needs Open MPI"),
    ("examples/batchtools/README.md", "compiles into the example's folder"),
]
"""Blocks of which only the syntax is checked, with the reason that stands above each. Nothing else is left out."""

PAGES = all_pages()


def marks_of(page: str) -> list[pytest.MarkDecorator]:
    """Which of the marks in pyproject.toml the test of a page needs."""
    blocks = [block for block in blocks_of(page) if block.kind in ("bash", "shared", "setup", "file")]
    texts = "\n".join(block.text for block in blocks)
    needs_mpi = "mpiexec" in texts or "mpiens doctor" in texts
    needs_neuron = (
        "examples/network" in texts
        or "import h\n" in texts
        or "from netpyne" in texts
        or any(b.kind == "shared" for b in blocks)
    )
    marks = {"mpi": needs_mpi, "neuron": needs_neuron or page.startswith(("examples/ring", "examples/batchtools"))}
    return [getattr(pytest.mark, name) for name, is_needed in marks.items() if is_needed]


class NetworkRun(NamedTuple):
    """The main job of README.md."""

    run_dir: Path
    printed: str


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the commands that pages use: this environment's, and mpiexec with what its MPI needs for tests."""
    folder = tmp_path_factory.mktemp("bin")
    for name, argv in {
        "mpiexec": mpiexec_argv(1)[:-2],
        "mpiens": [sys.executable, "-m", "mpiens"],
        "python": [sys.executable],
    }.items():
        script = folder / name
        script.write_text("#!/bin/sh\nexec " + " ".join(f"'{part}'" for part in argv) + ' "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def network_run(commands: Path, tmp_path_factory: pytest.TempPathFactory) -> NetworkRun:
    """What README's first command does once the environment is there; done once for all pages."""
    folder = scratch(tmp_path_factory.mktemp("network"))
    run = setup_commands()[0].split(" && ")[-1].replace(".venv/bin/", "")
    printed = play([{"kind": "bash", "detail": "", "text": run, "place": "README.md"}], folder, commands)
    return NetworkRun(folder / NETWORK / "network.run", printed)


def scratch(folder: Path) -> Path:
    """`folder` with the examples in it, without runs of theirs."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("*.run", "__pycache__"))
    return folder


def setup_commands() -> list[str]:
    return [block.text.strip() for block in blocks_of("README.md") if block.kind == "setup"]


def play(steps: Iterable[dict[str, Any]], folder: Path, commands: Path) -> str:
    """Carry out steps in `folder`, by a process of their own; what the last one printed."""
    files = commands / "steps.json", commands / "report.json"
    files[0].write_text(json.dumps(list(steps)))
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    player = Path(__file__).with_name("play.py")
    done = run_ranks(0, [player, *files], PAGE_TIMEOUT_S, env={"PATH": path, "COLUMNS": "120"}, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(files[1].read_text())
    if report["problem"]:
        pytest.fail(report["problem"], pytrace=False)
    printed: str = report["printed"]
    return printed


@pytest.mark.parametrize("page", [pytest.param(page, marks=marks_of(page)) for page in PAGES])
def test_a_page_does_what_it_says(page: str, tmp_path: Path, commands: Path, request: pytest.FixtureRequest) -> None:
    steps = []
    for block in blocks_of(page):
        step = asdict(block) | {"place": block.place}
        if block.kind == "setup" and "mpiexec" in block.text:
            # Makes an environment, which takes minutes and the network: here only its last part is done, the run, in
            # the environment of the tests. `test_the_first_command_...` looks at the rest.
            step |= {"kind": "shared", "text": str(NETWORK / "spec.yaml")}
        elif block.kind == "shared":
            assert block.text.startswith("mpiexec -n 5 python -m mpiens run "), block.place
        elif block.kind in ("setup", "text"):
            continue
        if step["kind"] == "shared":
            run: NetworkRun = request.getfixturevalue("network_run")
            step |= {"original": str(run.run_dir), "printed": run.printed}
        steps.append(step)
    if steps:
        folder = scratch(tmp_path)
        play(steps, folder / Path(page).parent if page.startswith("examples/") else folder, commands)


def test_every_page_is_there() -> None:
    assert {"README.md", "docs/index.md", "docs/tutorial.md", "docs/design.md", "docs/reference/files.md"} <= set(PAGES)
    assert len([page for page in PAGES if page.startswith("docs/howto/")]) >= 10
    assert {f"{path.relative_to(ROOT)}/README.md" for path in ROOT.glob("examples/*") if path.is_dir()} <= set(PAGES)
    blocks = [block for page in PAGES for block in blocks_of(page)]
    assert len(blocks) > 80
    assert {block.kind for block in blocks} >= {"bash", "python", "file", "part", "output", "shared", "setup"}


def test_only_the_blocks_listed_here_are_left_out() -> None:
    found = [(b.page, b.detail) for page in PAGES for b in blocks_of(page) if b.kind == "elsewhere"]
    assert sorted(set(found)) == sorted(ELSEWHERE)


def test_the_first_command_installs_parts_that_exist_and_runs_the_network() -> None:
    make, install, run = setup_commands()[0].split(" && ")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert make == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install -q '.[mpich,neuron]'"
    assert {"mpich", "neuron", "test"} <= extras.keys()
    assert run == ".venv/bin/mpiexec -n 5 .venv/bin/python -m mpiens run examples/network/spec.yaml"


def test_the_second_command_is_what_ci_runs() -> None:
    command = setup_commands()[1]
    install = ".venv/bin/pip install -q -e '.[mpich,neuron,test]'"
    assert command == f"python3 -m venv .venv && {install} && .venv/bin/python -m pytest"
    # .ci/run takes the line out of README.md by this pattern, and runs it.
    pattern = re.search(r"grep -E '(.+)' README\.md", (ROOT / ".ci" / "run").read_text())
    assert pattern is not None
    assert re.findall(pattern[1], (ROOT / "README.md").read_text(), re.MULTILINE) == [command]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```\nls\n```\n", "what is this bare block"),
        ("```yaml\na: 1\n```\n", "what is this yaml block"),
        ("<!-- file: a.rs -->\n```rust\n```\n", "unknown language 'rust'"),
        ("<!-- spec -->\ntext\n```yaml\n```\n", "right above"),
        ("```bash\nls\n", "does not end"),
        ("<!-- output -->\n", "names no block"),
    ],
)
def test_a_block_that_is_not_understood_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse("page.md", text)


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("bash", "exit 3", "exit status 3"),
        ("python", "1 / 0", "ZeroDivisionError"),
        ("spec", "name: a", "model: is missing"),
        ("part", "job: {scheduler: slurm}", "does not act on it yet"),
        ("output", "something", "but what was printed is"),
        ("elsewhere", "if then", "syntax error"),
    ],
)
def test_a_step_that_goes_wrong_fails_the_page(
    kind: str, text: str, problem: str, tmp_path: Path, commands: Path
) -> None:
    step = {"kind": kind, "detail": "job", "text": text, "place": "page.md:1", "language": ""}
    if kind == "bash":
        step["detail"] = ""
    with pytest.raises(pytest.fail.Exception, match=problem):
        play([step], tmp_path, commands)
