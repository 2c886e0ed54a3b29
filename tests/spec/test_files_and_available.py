"""What is missing on disk, and what is valid but not acted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpiens.errors import SpecError, UnavailableError
from mpiens.spec import check_available, check_files, parse_spec
from mpiens.spec.available import UNAVAILABLE_KEYS, UNAVAILABLE_VALUES
from mpiens.spec.schema import Spec


def test_all_files_are_there(folder: Path, full: str) -> None:
    check_files(parse_spec(full, "spec.yaml"))
    check_files(parse_spec(full.replace("model.py:", "package.module:"), folder / "spec.yaml"))


def test_missing_files_are_listed_with_similar_ones(folder: Path, full: str) -> None:
    text = full.replace("model.py:simulate", "mdoel.py:simulate").replace("mechanisms: mod ", "mechanisms: mods ")
    with pytest.raises(SpecError) as caught:
        check_files(parse_spec(text, "spec.yaml"))
    assert str(caught.value).splitlines() == [
        f"spec.yaml:6: model.python: no such file: {folder / 'mdoel.py'}; similar there: model.py",
        f"spec.yaml:10: model.mechanisms: no such folder: {folder / 'mods'}; similar there: mod, model.py",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("python: model.py:simulate", "netpyne: init.py", "model.netpyne: no such file"),
        ("python: model.py:simulate", "netpyne: mod", "model.netpyne: expected a file, but"),
        ("model.py:simulate", "nowhere/model.py:simulate", "there is no folder"),
        ("model.py:setup", "stup.py:setup", "model.setup: no such file"),
        ("mechanisms: mod ", "mechanisms: model.py ", "model.mechanisms: expected a folder"),
        ("mechanisms: mod ", "mechanisms: empty ", "no .mod file in"),
        ("algorithm: tpe", "algorithm: own.py:Sampler", "search.algorithm: no such file"),
        ("output: runs/ca3", "output: model.py", "output: expected a directory"),
    ],
)
def test_each_missing_file(folder: Path, full: str, old: str, new: str, words: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(SpecError, match=words) as caught:
        check_files(parse_spec(full.replace(old, new), "spec.yaml"))
    assert str(folder) in str(caught.value)


def test_a_missing_file_of_a_command(folder: Path, small: str) -> None:
    with pytest.raises(SpecError, match=r"model\.prepare: no such file"):
        check_files(parse_spec(small, folder / "spec.yaml", ["model={prepare: prep.py:f}"]))


def test_what_is_acted_on(small: str, full: str) -> None:
    check_available(parse_spec(small, "spec.yaml", ["search.repeats=3", "groups={size: 2, max_concurrent: 3}"]))
    without_job = full.partition("\njob:")[0]
    check_available(parse_spec(without_job, "spec.yaml"))
    check_available(parse_spec(small, "spec.yaml", ["model={netpyne: init.py, reuse: true, seeds: fixed}"]))
    check_available(
        parse_spec(small, "spec.yaml", ["search={algorithm: random, trials: 3, batch: 2, options: {seed: 1}}"])
    )


def test_a_network_is_kept_in_a_rank_only(small: str) -> None:
    with pytest.raises(SpecError, match="reuse keeps a network from trial to trial, isolation: process nothing"):
        parse_spec(small, "spec.yaml", ["model={netpyne: init.py, reuse: true, isolation: process}"])


def test_message(full: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        check_available(parse_spec(full, "spec.yaml"))
    assert str(caught.value).splitlines() == [
        "spec.yaml:29: job: valid, but this version of mpiens does not act on it yet; remove it; "
        "it is for job scripts, which come later",
    ]


SEARCH = "search={algorithm: tpe, trials: 3, objectives: {loss: minimize}, "


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("job={scheduler: slurm}", "job"),
    ],
)
def test_each_unavailable_part(small: str, override: str, key: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        check_available(parse_spec(small, "spec.yaml", [override]))
    assert f"{key}: valid, but this version of mpiens does not act on it yet; " in str(caught.value)


def test_the_tables_name_keys_that_exist() -> None:
    for path in (*UNAVAILABLE_KEYS, *UNAVAILABLE_VALUES):
        part, _, field = path.partition(".")
        annotation = Spec.model_fields[part].annotation
        assert annotation is not None
        assert not field or field in annotation.model_fields
