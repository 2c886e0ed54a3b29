"""Carries out the steps of one page in the current folder, and stops at the first that goes wrong.

    python play.py steps.json report.json

The report has what the last step printed, and where and why the page failed, if it did.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import yaml

_NUMBER = re.compile(r"\d+(\.\d+)?(e[-+]\d+)?")

_SMALL: dict[str, Any] = {
    "name": "small",
    "model": {"python": "model.py:simulate"},
    "space": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"algorithm": "random", "trials": 4, "objectives": {"loss": "minimize"}},
}
"""The spec that parts are put into."""

Step = dict[str, str]


class StepFailed(Exception):
    """A step did not do what its page says."""


class Player:
    """What lasts from step to step: the working directory, Python's namespace, the last output.

    Each method carries out the kind of step that it is named after.
    """

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__page__"}
        self.printed = ""

    def file(self, step: Step) -> None:
        path, text = Path(step["detail"]), step["text"]
        path.write_text(text)
        if step["language"] == "yaml" and "model" in yaml.safe_load(text):
            _check_spec(text)
        elif path.suffix == ".csv":
            lengths = {len(row) for row in csv.reader(io.StringIO(text))}
            _require(len(lengths) == 1, f"rows of different lengths: {lengths}")

    def spec(self, step: Step) -> None:
        _check_spec(step["text"])

    def part(self, step: Step) -> None:
        parts = yaml.safe_load(step["text"])
        _require(
            list(parts) == step["detail"].split(), f"the comment says {step['detail']}, the keys are {list(parts)}"
        )
        _check_spec(yaml.safe_dump(_SMALL | parts))

    def json(self, step: Step) -> None:
        json.loads(step["text"])

    def bash(self, step: Step) -> None:
        # The file descriptor tells where a `cd` has led, without a word on standard output.
        reading, writing = os.pipe()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"trap 'pwd >&{writing}' EXIT\n{step['text']}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            pass_fds=[writing],
        )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            os.chdir(pipe.read().strip())
        self.printed = done.stdout
        _require(done.returncode == int(step["detail"] or 0), f"exit status {done.returncode}\n{done.stdout}")

    def elsewhere(self, step: Step) -> None:
        checked = subprocess.run(["bash", "-n", "-c", step["text"]], capture_output=True, text=True, check=False)
        _require(checked.returncode == 0, checked.stderr)

    def python(self, step: Step) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                exec(compile(step["text"], step["place"], "exec"), self.namespace)  # noqa: S102 - the page's code
            except BaseException:  # noqa: BLE001 - whatever a page's code raises is what the test is about
                raise StepFailed(traceback.format_exc()) from None
        self.printed = printed.getvalue()

    def output(self, step: Step) -> None:
        wanted, found = step["text"], self.printed
        if step["detail"] == "numbers vary":
            wanted, found = (_NUMBER.sub("#", text) for text in (wanted, found))
        _require(
            _matches(wanted, found),
            f"the page shows\n{step['text']}\nbut what was printed is\n{self.printed}",
        )

    def shared(self, step: Step) -> None:
        """The run has been done for another page; its directory and what it printed are taken over."""
        run_dir = Path(step["text"].split()[-1]).with_name("network.run")
        same = (run_dir.with_name("spec.yaml")).read_text() == Path(step["original"]).with_name("spec.yaml").read_text()
        _require(same, "this is not the network example's spec")
        shutil.copytree(step["original"], run_dir)
        self.printed = step["printed"]


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise StepFailed(problem)


def _matches(wanted: str, found: str) -> bool:
    """Are both the same, apart from white space and what ``...`` stands for?"""
    pattern = re.sub(r"(\\ )?\\\.\\\.\\\.(\\ )?", ".*", re.escape(" ".join(wanted.split())))
    return re.fullmatch(pattern, " ".join(found.split())) is not None


def _check_spec(text: str) -> None:
    from mpiens.errors import MpiensError
    from mpiens.spec import check_available, parse_spec

    try:
        check_available(parse_spec(text, "spec.yaml"))
    except MpiensError as error:
        raise StepFailed(str(error)) from error


def main(steps_file: str, report_file: str) -> None:
    """Play, and report."""
    sys.path.insert(0, "")
    report = Path(report_file).absolute()
    player = Player()
    problem = ""
    for step in json.loads(Path(steps_file).read_text()):
        try:
            getattr(player, step["kind"])(step)
        except StepFailed as error:
            problem = f"{step['place']}: {error}"
            break
    report.write_text(json.dumps({"problem": problem, "printed": player.printed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
