"""Grids that go on with more points: only what is missing is computed, and everything keeps its number."""

from __future__ import annotations

import itertools
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch import run_ranks
from mpiens import Param, missing
from mpiens.errors import SpecError
from mpiens.runtime.growth import keep_forms, read_forms, run_points
from mpiens.samplers.base import Past
from mpiens.samplers.grid import GridSampler
from mpiens.space import check_larger, embedded, grown, parse_space
from mpiens.store.unsealed import unsealed_records
from project import TIMEOUT_S, completed, contents, mpiens, trials, write_project

MODEL = """
import os, pathlib, signal

def simulate(trial):
    with (pathlib.Path(__file__).parent / "calls").open("a") as calls:
        calls.write(f"{trial.number}\\n")
    if str(trial.number) == os.environ.get("KILL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    if trial.params.get("y") == "bad":
        raise ValueError("bad point")
    return {"seed": trial.seed, "point": repr(sorted(trial.params.items()))}
"""
RECORD_ONLY = {"algorithm": "grid"}


def project(folder: Path, space: dict[str, Any], **changes: Any) -> Path:
    return write_project(folder, MODEL, space=space, **{"search": RECORD_ONLY, **changes})


def calls(folder: Path) -> list[int]:
    """Trials that were run since the last look."""
    path = folder / "calls"
    numbers = sorted(map(int, path.read_text().split())) if path.exists() else []
    path.unlink(missing_ok=True)
    return numbers


def points(run_dir: Path) -> list[str]:
    return [text.decode() for text in trials(run_dir)["point"]]


@pytest.mark.mpi
def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    spec = project(tmp_path, {"x": [1, 4], "y": ["a", "c"]})
    run_dir = tmp_path / "small.run"
    completed(0, "run", spec)
    first = trials(run_dir)
    assert calls(tmp_path) == [0, 1, 2, 3]
    # Values in between, a float among the whole numbers, and the other order of axes.
    project(tmp_path, {"y": ["a", "b", "c"], "x": [1, 2.5, 4]})
    said = completed(3, "run", spec, "--resume", "--progress", "plain")
    assert "going on after 4 finished trials" in said
    assert calls(tmp_path) == [4, 5, 6, 7, 8]
    second = trials(run_dir)
    for name in ("number", "attempt", "group", "seed", "x", "y", "point"):
        assert second[name][:4].tolist() == first[name].tolist(), name
    assert second["x"].tolist() == [1, 1, 4, 4, 2.5, 1, 2.5, 4, 2.5]
    assert b"".join(second["y"]).decode() == "acacabbbc"
    assert len(set(second["seed"].tolist())) == 9
    completed(0, "resume", run_dir, "--set", "space.x=[0, 1, 2.5, 4]", "--set", "space.y=[a, b, c]")
    assert calls(tmp_path) == [9, 10, 11]
    assert points(run_dir)[:9] == [text.decode() for text in second["point"]]
    expected = [repr([("x", x), ("y", y)]) for x, y in itertools.product([0, 1, 2.5, 4], "abc")]
    assert sorted(points(run_dir)) == sorted(expected)
    assert "complete already" in completed(0, "resume", run_dir)


def test_a_killed_run_that_grows_ends_as_one_that_was_not_killed(tmp_path: Path) -> None:
    small, large = {"x": [1, 2], "y": [1, 2]}, {"x": [0, 1, 2], "y": [1, 2]}
    ends = []
    for name in ("killed", "whole"):
        folder = tmp_path / name
        folder.mkdir()
        search = {"algorithm": "grid", "repeats": 2}
        spec = project(folder, small, search=search)
        env = {"KILL_AT": "2"} if name == "killed" else {}
        done = run_ranks(0, ["-m", "mpiens", "run", spec, "--progress", "off"], TIMEOUT_S, env=env)
        assert done.returncode == (-signal.SIGKILL if env else 0)
        project(folder, large, search=search)
        calls(folder)
        completed(0, "run", spec, "--resume", "--progress", "off")
        first, *_ = ran = calls(folder)
        assert ran == list(range(first, 12))
        assert first <= 2 if env else first == 8
        ends.append(contents(folder / "small.run"))
    assert ends[0] == ends[1]
    assert trials(tmp_path / "whole" / "small.run")["x"].tolist() == [1, 1, 2, 2] * 2 + [0, 0] * 2


def test_rows_added_to_a_file_of_points(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x,y\n1,\n2,b\n")
    spec = project(tmp_path, {"points": "points.csv"})
    completed(0, "run", spec)
    (tmp_path / "points.csv").write_text("x,y\n3,c\n2,b\n1,\n")
    completed(0, "resume", tmp_path / "small.run")
    assert calls(tmp_path) == [0, 1, 2]
    assert points(tmp_path / "small.run")[1:] == ["[('x', 2), ('y', 'b')]", "[('x', 3), ('y', 'c')]"]
    (tmp_path / "points.csv").write_text("x,y\n3,c\n2,b\n")
    done = mpiens(0, "run", spec, "--resume")
    assert done.returncode == 2
    assert "lacks {'x': 1, 'y': nan}" in done.stderr


def test_a_grid_that_loses_points_is_refused(tmp_path: Path) -> None:
    spec = project(tmp_path, {"x": [1, 2], "y": [1, 2]})
    completed(0, "run", spec)
    before = contents(tmp_path / "small.run")
    for space, words in [
        ({"x": [1, 3], "y": [1, 2]}, "this one lacks {'x': 2, 'y': 1}; add points"),
        ({"x": [1, 2], "y": [1, 2], "z": 1}, "must keep its parameters, x, y; found x, y, z"),
    ]:
        project(tmp_path, space)
        done = mpiens(0, "run", spec, "--resume")
        assert done.returncode == 2
        assert words in done.stderr
        assert "--force" in done.stderr
    assert contents(tmp_path / "small.run") == before
    project(tmp_path, {"x": [1, 2, 3], "y": [1, 2]}, seed=2)
    done = mpiens(0, "run", spec, "--resume")
    assert (done.returncode, "seed: 1 -> 2" in done.stderr) == (2, True)
    assert "space" not in done.stderr


def test_without_the_forms_of_the_space_records_tell(tmp_path: Path) -> None:
    spec = project(tmp_path, {"x": [1, 2], "y": ["a", 2.0]})
    completed(0, "run", spec)
    run_dir = tmp_path / "small.run"
    (run_dir / "space.json").write_text("{damaged")
    project(tmp_path, {"x": [1, 2, 3], "y": ["a", 2.0]})
    assert "space.x: [1, 2] -> [1, 2, 3]" in mpiens(0, "run", spec, "--resume").stderr
    for path in run_dir.glob("checkpoint*"):
        path.unlink()
    project(tmp_path, {"x": [0, 1, 2], "y": ["a", 2.0]})
    done = mpiens(0, "run", spec, "--resume")
    assert done.returncode == 2
    assert "trial 0 is at {'x': 1, 'y': 'a'}, and by the spec it would be at {'x': 0, 'y': 'a'}" in done.stderr
    assert not read_forms(run_dir)
    project(tmp_path, {"x": [1, 2, 3], "y": ["a", 2.0]})
    calls(tmp_path)
    completed(0, "run", spec, "--resume")
    assert calls(tmp_path) == [4, 5]


def test_a_changed_bit_in_the_forms_of_the_space_moves_no_point(tmp_path: Path) -> None:
    spec = project(tmp_path, {"x": [10, 20, 30, 40], "y": ["a", "b"]})
    run_dir = killed_at(3, spec)
    path = run_dir / "space.json"
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"20", b"30").replace(b"30, 30", b"30, 20"))
    assert path.read_bytes() != sound
    done = mpiens(0, "run", spec, "--resume")
    assert done.returncode == 0, done.stderr
    assert "space.json: damaged" in done.stdout
    expected = [repr([("x", x), ("y", y)]) for x in (10, 20, 30, 40) for y in ("a", "b")]
    assert points(run_dir) == expected
    assert path.read_bytes() == sound


def test_forms_of_the_space_are_compared_with_the_records(tmp_path: Path) -> None:
    spec = project(tmp_path, {"x": [10, 20, 30, 40], "y": ["a", "b"]})
    run_dir = killed_at(5, spec)
    keep_forms(run_dir, ({"x": [20, 10], "y": ["a", "b"]}, {"x": [10, 20, 30, 40], "y": ["a", "b"]}))
    done = mpiens(0, "run", spec, "--resume")
    assert done.returncode == 2
    assert "trial 0 is at {'x': 10, 'y': 'a'}, and by the spec it would be at {'x': 20, 'y': 'a'}" in done.stderr


def test_status_lists_what_failed_and_what_is_missing(tmp_path: Path) -> None:
    spec = project(tmp_path, {"x": list(range(20)), "y": ["bad", "good"]}, limits={"max_attempts": 1})
    run_dir = killed_at(9, spec)
    lines = completed(0, "status", "-v", run_dir).splitlines()
    done = {record.number for record in unsealed_records(run_dir)}
    assert 0 in done
    assert any(line.startswith("  trial 0 failed: ") and line.endswith("bad point (x=0 y=bad)") for line in lines)
    assert f"  missing   {40 - len(done)} of 40 trials" in lines
    rest = [number for number in range(40) if number not in done]
    listed = [f"    trial {n}: x={n // 2} y={('bad', 'good')[n % 2]}" for n in rest[:20]]
    assert lines[-21:] == [*listed, f"    and {len(rest) - 20} more"]


def test_status_of_a_sampler_lists_the_points_that_it_has_chosen(tmp_path: Path) -> None:
    space = {"x": {"low": 0.0, "high": 1.0}}
    run_dir = killed_at(2, project(tmp_path, space, search={"algorithm": "random", "trials": 4}))
    said = completed(0, "status", "-v", run_dir)
    done = len(list(unsealed_records(run_dir)))
    listed = re.findall(r"^    trial \d: x=", said, re.MULTILINE)
    rest = re.findall(r"^  missing   (\d) of 4 trials(; their points have not been chosen yet)?$", said, re.MULTILINE)
    assert rest == [(str(4 - done), "" if listed else "; their points have not been chosen yet")]
    more = 4 - done - len(listed)
    assert (f"    and {more} more, whose points have not been chosen yet\n" in said) == bool(listed and more)
    assert ("more" in said) == bool(listed and more)
    assert not (run_dir / "space.json").exists()


def killed_at(number: int, spec: Path) -> Path:
    command = ["-m", "mpiens", "run", spec, "--progress", "off"]
    done = run_ranks(0, command, TIMEOUT_S, env={"KILL_AT": str(number)})
    assert done.returncode == -signal.SIGKILL, done.stderr
    return spec.parent / "small.run"


def test_forms_are_kept_without_files(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("a\n1\n2.5\n")
    tree = {"product": [{"points": "p.csv"}, {"b": {"linspace": [0, 1, 3]}}, {"zip": {"points": ["p.csv"]}}]}
    plain = embedded(tree, tmp_path)
    assert plain["product"][0] == {"zip": {"a": [1, 2.5]}}
    assert plain["product"][1:] == tree["product"][1:]
    assert parse_space(plain, Path("/nowhere")).grid().build() == parse_space(tree, tmp_path).grid().build()
    assert run_points(tmp_path) == ()


def test_a_large_grid_that_grows_is_not_visited() -> None:
    thousand = {"range": [0, 1000, 1]}
    small = {"a": thousand, "b": thousand, "c": thousand}
    large = parse_space(small | {"b": {"range": [-1, 1000, 1]}}, Path())
    check_larger(large, parse_space(small, Path()).grid())
    assert grown(large, [small]).parts()[1].count() == 10**6
    sampler = GridSampler(grown(large, [small]).parts())
    assert sampler.total == 1_001_000_000
    assert sampler.ask(1) == [{"a": 0, "b": 0, "c": 0}]
    sampler.restore(Past(10**9))
    assert sampler.ask(1) == [{"a": 0, "b": -1, "c": 0}]


def test_parts_hold_every_point_once() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        axes = [sorted(rng.choice(6, size=rng.integers(1, 4), replace=False).tolist()) for _ in range(2)]
        forms = [{"a": axes[0], "b": axes[1]}]
        for _ in range(3):
            axes = [rng.permutation(sorted({*axis, int(rng.integers(6))})).tolist() for axis in axes]
            forms.append({"a": axes[0], "b": axes[1]})
        space = grown(parse_space(forms[-1], Path()), forms[:-1])
        check_larger(space, parse_space(forms[-2], Path()).grid())
        repeats = int(rng.integers(1, 3))
        sampler = GridSampler(space.parts(), repeats)
        found = sampler.ask(10**6)
        assert len(found) == sampler.total == repeats * space.grid().count()
        before = GridSampler(grown(parse_space(forms[-2], Path()), forms[:-2]).parts(), repeats)
        assert before.ask(10**6) == found[: before.total]
        assert not missing(space.grid(), Param({name: [point[name] for point in found] for name in "ab"}))
        start = int(rng.integers(sampler.total + 1))
        assert list(sampler.points_from(start)) == found[start:]


def test_a_smaller_grid_names_the_point() -> None:
    with pytest.raises(SpecError, match=r"lacks \{'a': 2\}"):
        check_larger(parse_space({"a": [1, 3]}, Path()), Param(a=[1, 2]))
