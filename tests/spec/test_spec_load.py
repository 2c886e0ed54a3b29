"""Reading a spec: what is found, and where errors point."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from mpiens.errors import SpecError, UsageError
from mpiens.space import Choices, Range
from mpiens.spec import load_spec, parse_spec
from mpiens.spec.algorithms import check_algorithm


def test_full_example(folder: Path, full: str) -> None:
    (folder / "spec.yaml").write_text(full)
    loaded = load_spec(Path("spec.yaml"))
    spec = loaded.spec
    assert (spec.name, spec.seed, spec.output) == ("ca3-weights", 1, "runs/ca3")
    assert (spec.model.python, spec.model.setup, spec.model.mechanisms) == (
        "model.py:simulate",
        "model.py:setup",
        "mod",
    )
    assert (spec.model.fixed, spec.model.isolation) == ({"duration": 1000}, "none")
    assert loaded.space.domains == {"nmda.PYR->BC": Range(1e-3, 1.8e-3)}
    assert (spec.search.algorithm, spec.search.trials, spec.search.objectives) == ("tpe", 500, {"loss": "minimize"})
    assert (spec.groups.size, spec.groups.max_concurrent, spec.store.writers) == (1, None, 0)
    assert (spec.checkpoint.every, spec.limits.trial_timeout, spec.limits.drain) == (60.0, 1200.0, 300.0)
    assert (spec.limits.walltime, spec.limits.max_attempts, spec.limits.group_timeout) == ("auto", 3, 60.0)
    assert spec.job is not None
    assert (spec.job.scheduler, spec.job.walltime, spec.job.memory) == ("slurm", 14400.0, "4G")
    assert spec.job.directives == ["--account=abc"]
    assert (loaded.file, loaded.folder, loaded.text) == (folder / "spec.yaml", folder, full)
    assert loaded.run_dir == folder / "runs" / "ca3"
    assert loaded.lines["space.nmda.PYR->BC.low"] == 15
    assert loaded.lines["groups.size"] == 25


def test_defaults(folder: Path, small: str) -> None:
    (folder / "spec.yaml").write_text(small)
    loaded = load_spec("spec.yaml")
    assert loaded.run_dir == folder / "small.run"
    assert loaded.spec.seed == 1
    assert loaded.spec.job is None
    assert loaded.spec.limits.max_attempts == 3
    assert len(loaded.space.grid()) == 6


def test_paths_are_relative_to_the_spec(folder: Path, small: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "points.csv").write_text("a\n1\n2\n")
    text = small.replace("space:\n  a: [1, 2]\n  b.c: {low: 0, high: 4, step: 2}", "space: {points: points.csv}")
    (folder / "sub" / "spec.yaml").write_text(text)
    loaded = load_spec(Path("sub/spec.yaml"), ["output=../elsewhere"])
    assert len(loaded.space.grid()) == 2
    assert loaded.run_dir == folder / "sub" / ".." / "elsewhere"


def test_absolute_output(folder: Path, small: str) -> None:
    assert parse_spec(small, "spec.yaml", [f"output={folder}/out"]).run_dir == folder / "out"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 1", "seed: '1'", "spec.yaml:2: seed: expected a whole number, found '1'"),
        ("seed: 1", "seed: true", "spec.yaml:2: seed: expected a whole number, found true"),
        ("seed: 1", "seed: 1.0", "spec.yaml:2: seed: expected a whole number, found 1.0"),
        ("seed: 1", "seed: -1", "spec.yaml:2: seed: must be at least 0, found -1"),
        ("seed: 1", "sed: 1", "spec.yaml:2: sed: unknown key; did you mean 'seed'?"),
        ("seed: 1", "trials: 1", "spec.yaml:2: trials: unknown key; did you mean 'search.trials'?"),
        ("seed: 1", "qqqq: 1", "spec.yaml:2: qqqq: unknown key; known here: name, seed, output"),
        ("name: ca3-weights", "name: a/b", "spec.yaml:1: name: a name must not be empty"),
        ("name: ca3-weights", "name: ''", "spec.yaml:1: name: a name must not be empty"),
        ("name: ca3-weights", "name: 3", "spec.yaml:1: name: expected a text, found 3"),
        ("name: ca3-weights", "name: ..", "spec.yaml:1: name: a name must not be empty"),
        ("output: runs/ca3", "output: ''", "spec.yaml:3: output: must not be empty"),
        ("model.py:simulate", "model.py", "spec.yaml:6: model.python: expected path.py:function or package.module"),
        ("model.py:simulate", "[a]", "spec.yaml:6: model.python: expected a text, found ['a']"),
        ("  # netpyne", "  netpyne", "spec.yaml:5: model: expected exactly one of python, netpyne and command, found"),
        ("  python: model.py:simulate", "  x: 1", "spec.yaml:6: model.x: unknown key"),
        (
            "isolation: none ",
            "isolation: proces ",
            "spec.yaml:12: model.isolation: expected none or process, found",
        ),
        ("isolation: none ", "result: {file: a} ", "spec.yaml:5: model: result is for a command only"),
        ("isolation: none ", "ranks: 0 ", "spec.yaml:12: model.ranks: must be at least 1"),
        ("isolation: none ", "ranks: true ", "spec.yaml:12: model.ranks: expected a number or an expression"),
        ("low: 1.0e-3", "lwo: 1.0e-3", "spec.yaml:15: space.nmda.PYR->BC.lwo: unknown key; did you mean 'low'?"),
        ("low: 1.0e-3", "low: 1.0", "spec.yaml:15: space.nmda.PYR->BC.low: 1.0 is above high, 0.0018; exchange them"),
        ("  nmda.PYR->BC:", "  a/b:", "spec.yaml:15: space.a/b: 'a/b' cannot be a parameter's name"),
        (
            "algorithm: tpe",
            "algorithm: tep",
            "spec.yaml:18: search.algorithm: unknown algorithm 'tep'; did you",
        ),
        ("algorithm: tpe", "algorithm: grid", "spec.yaml:15: space.nmda.PYR->BC: a grid cannot use a range without"),
        ("trials: 500", "trials: 0", "spec.yaml:19: search.trials: must be at least 1, found 0"),
        ("trials: 500", "batch: 0", "spec.yaml:22: search.batch: stands twice; first in line 19"),
        ("  trials: 500", "  #", "spec.yaml:17: search: trials is missing: tpe needs to know how many"),
        (
            "loss: minimize",
            "loss: minimise",
            "spec.yaml:21: search.objectives.loss: expected minimize or maximize",
        ),
        ("loss: minimize", "a/b: minimize", "spec.yaml:21: search.objectives.a/b: a name must not be empty"),
        ("{loss: minimize}", "[loss]", "spec.yaml:21: search.objectives: expected a mapping, found ['loss']"),
        ("{loss: minimize}", "{}", "spec.yaml:21: search.objectives: tpe needs an objective"),
        ("batch: 0", "from: [1]", "spec.yaml:22: search.from: expected a run or a list of runs, found [1]"),
        ("batch: 0", "pruner: 3", "spec.yaml:22: search.pruner: expected a pruner's name, or a mapping, found 3"),
        ("batch: 0", "start: [{nmda: 1}]", "spec.yaml:22: search.start.0.nmda: no parameter of the space"),
        ("{size: 1}", "{sise: 1}", "spec.yaml:25: groups.sise: unknown key; did you mean 'size'?"),
        ("{size: 1}", "3", "spec.yaml:25: groups: expected a mapping, found 3"),
        ("{writers: 0}", "{writers: -1}", "spec.yaml:26: store.writers: must be at least 0, found -1"),
        ("every: 60s", "every: soon", "spec.yaml:27: checkpoint.every: expected a duration such as 60s, 20m"),
        ("every: 60s", "every: 0", "spec.yaml:27: checkpoint.every: must be longer than nothing"),
        ("walltime: auto", "walltime: manual", "spec.yaml:28: limits.walltime: expected a duration such as"),
        ("memory: 4G", "memory: 4", "spec.yaml:35: job.memory: expected an amount of memory with its unit"),
        ("scheduler: slurm", "scheduler: pbs", "spec.yaml:30: job.scheduler: expected slurm or sge, found 'pbs'"),
        ("[openmpi/5]", "openmpi/5", "spec.yaml:37: job.modules: expected a list, found 'openmpi/5'"),
        (
            "duration: 1000",
            "nmda.PYR->BC: 1",
            "spec.yaml:11: model.fixed.nmda.PYR->BC: is a parameter of",
        ),
    ],
)
def test_errors_point_to_the_place(
    failing: Callable[..., UsageError], full: str, old: str, new: str, message: str
) -> None:
    assert full.count(old) >= 1
    error = failing(full.replace(old, new, 1))
    assert isinstance(error, SpecError)
    assert str(error).startswith(message)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - made on this line


@pytest.mark.parametrize("key", ["name", "model", "space", "search"])
def test_missing_keys(failing: Callable[..., UsageError], small: str, key: str) -> None:
    lines = small.splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(key))
    if key == "space":
        text = "".join(line for line in lines if not line.startswith(("space", "  ")))
    error = failing(text)
    assert f"spec.yaml: {key}: is missing: " in str(error)


def test_all_problems_are_listed_by_line(failing: Callable[..., UsageError], full: str) -> None:
    text = full.replace("seed: 1", "sed: 1").replace("size: 1", "size: 0").replace("low: 1.0e-3", "low: x")
    error = failing(text)
    assert isinstance(error, SpecError)
    assert (error.line, error.key) == (2, "sed")
    places = [line.split(": ")[:2] for line in str(error).splitlines()]
    assert places == [
        ["spec.yaml:2", "sed"],
        ["spec.yaml:15", "space.nmda.PYR->BC.low"],
        ["spec.yaml:25", "groups.size"],
    ]


def test_very_many_problems_are_cut_short(failing: Callable[..., UsageError], small: str) -> None:
    error = failing(small + "".join(f"bad{index}: 1\n" for index in range(100)))
    assert str(error).endswith("and 79 more")


def test_grid_and_trials(failing: Callable[..., UsageError], folder: Path, small: str) -> None:
    error = failing(small.replace("algorithm: grid", "algorithm: grid, repeats: 2, trials: 6"))
    assert "spec.yaml:6: search.trials: 6 trials, but this grid has 6 points and 2 repeats" in str(error)
    (folder / "spec.yaml").write_text(small.replace("algorithm: grid", "algorithm: grid, trials: 6"))
    assert load_spec("spec.yaml").spec.search.trials == 6


def test_sampler_and_expression(failing: Callable[..., UsageError], small: str) -> None:
    text = small.replace("  a: [1, 2]\n  b.c: {low: 0, high: 4, step: 2}", "  zip: {a: [1, 2]}")
    error = failing(text.replace("algorithm: grid", "algorithm: random, trials: 3"))
    assert str(error).startswith("spec.yaml:3: space: a sampler chooses from ranges and choices")


def test_own_samplers_may_do_as_they_like(folder: Path, small: str) -> None:
    text = small.replace("algorithm: grid", "algorithm: own.py:Sampler, trials: 3")
    assert parse_spec(text, folder / "spec.yaml").spec.search.algorithm == "own.py:Sampler"


def test_bad_points_file_is_named_itself(failing: Callable[..., UsageError], folder: Path, small: str) -> None:
    (folder / "p.csv").write_text("a,b\n1\n")
    error = failing(small.replace("  a: [1, 2]\n  b.c: {low: 0, high: 4, step: 2}", "  points: p.csv"))
    assert str(error) == f"{folder / 'p.csv'}:2: expected 2 fields, as in the first line, found 1"


@pytest.mark.parametrize(
    ("overrides", "path", "value"),
    [
        (["groups.size=2"], "groups.size", 2),
        (["groups.size=2", "groups.size=3"], "groups.size", 3),
        (["limits={max_attempts: 7}"], "limits.max_attempts", 7),
        (["checkpoint.every=1h30m"], "checkpoint.every", 5400.0),
        (["name=a=b"], "name", "a=b"),
        (["job.nodes=2"], "job.nodes", 2),
        (["output="], "output", None),
        (["search.options.seed.x=1"], "search.options", {"seed.x": 1}),
        (["model.fixed.x.y=1e-3"], "model.fixed", {"x.y": 0.001}),
    ],
)
def test_overrides(small: str, overrides: list[str], path: str, value: object) -> None:
    loaded = parse_spec(small, "spec.yaml", overrides)
    found: object = loaded.spec
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value
    again = parse_spec(loaded.text, "spec.yaml")
    assert again.spec == loaded.spec
    assert again.space == loaded.space or again.space.grid().build() == loaded.space.grid().build()


def test_overrides_of_the_space(small: str) -> None:
    loaded = parse_spec(small, "spec.yaml", ["space.b.c.high=8", "space.a.1=5", "space.new.one=[1e-3, no]"])
    assert loaded.space.domains == {
        "a": Choices((1, 5)),
        "b.c": Range(0, 8, step=2, is_int=True),
        "new.one": Choices((0.001, "no")),
    }
    assert parse_spec(loaded.text, "spec.yaml").space == loaded.space


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("groups.size", "expected key=value"),
        ("=2", "expected key=value"),
        ("groups.size=[1", "'[' is not closed"),
        ("name.x=1", "holds one value"),
        ("space.a.7=1", "is a list of 2"),
        ("space.a.x=1", "is a list of 2"),
    ],
)
def test_bad_overrides(failing: Callable[..., UsageError], small: str, override: str, words: str) -> None:
    error = failing(small, [override])
    assert type(error) is UsageError
    assert words in str(error)
    assert override in str(error)


def test_errors_in_overrides_name_the_override(failing: Callable[..., UsageError], small: str) -> None:
    error = failing(small, ["groups.size=0", "space.b.c.low=9"])
    assert str(error).splitlines() == [
        "--set groups.size=0: groups.size: must be at least 1, found 0",
        "--set space.b.c.low=9: space.b.c.low: 9 is above high, 4; exchange them",
    ]


def test_unreadable_files(folder: Path) -> None:
    (folder / "spec.yml").write_text("name: x\n")
    with pytest.raises(SpecError, match=r"^spec.yaml: no such file; similar there: spec.yml"):
        load_spec("spec.yaml")
    with pytest.raises(SpecError, match=r"^mod: is a directory"):
        load_spec(Path("mod"))
    with pytest.raises(SpecError, match=r"no such file; there is no folder"):
        load_spec("nowhere/spec.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec("spec\0.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec("spec.yml/x.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec("x" * 5000)
    os.mkfifo(folder / "pipe")
    with pytest.raises(SpecError, match="not a regular file"):
        load_spec("pipe")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "spec.yaml: the file is empty"),
        ("# nothing\n", "spec.yaml: the file is empty"),
        ("~\n", "spec.yaml: the file is empty"),
        ("- a\n", "spec.yaml:1: expected a mapping of keys such as name"),
        ("text\n", "spec.yaml:1: expected a mapping of keys such as name"),
        (b"name: \xff\n", "spec.yaml: not a text in UTF-8: invalid start byte at byte 6"),
    ],
)
def test_files_that_are_no_spec(failing: Callable[..., UsageError], text: str | bytes, message: str) -> None:
    assert str(failing(text)).startswith(message)


def test_byte_order_mark_is_ignored(folder: Path, small: str) -> None:
    (folder / "spec.yaml").write_bytes(b"\xef\xbb\xbf" + small.encode())
    assert load_spec("spec.yaml").spec.name == "small"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TPESampler", "did you mean 'tpe'?"),
        ("optuna.samplers.TPESampler", "did you mean 'tpe'?"),
        ("NSGAIISampler", "did you mean 'nsga2'?"),
        ("NSGAIIISampler", "did you mean 'nsga3'?"),
        ("CMA-ES", "did you mean 'cmaes'?"),
        ("GridSampler", "did you mean 'grid'?"),
        ("BruteForceSampler", "did you mean 'brute_force'?"),
        ("nsga", "did you mean 'nsga2' or 'nsga3'?"),
        ("tep", "did you mean 'tpe'?"),
        ("Sobol", "did you mean 'sobol'?"),
        ("qqqq", "unknown algorithm 'qqqq'; known are"),
    ],
)
def test_other_names_of_algorithms(name: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_algorithm(name)
    assert words in caught.value.problem
