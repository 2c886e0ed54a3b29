"""`map_space`: a function over a space, in one process and over ranks."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch import run_ranks
from mpiens import Param, map_space, missing
from mpiens.errors import UsageError

SCRIPT = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from mpiens import Param, map_space

def area(a, b, fail=None):
    time.sleep(0.001)
    if a * b == fail:
        raise ValueError("no such area")
    result = {"area": a * b, "row": np.full(2, a)}
    return result | {"even": True} if a % 2 == 0 else result

def by_rank(a, b):
    from mpi4py import MPI
    folder, rank, end_s = Path(__file__).parent, MPI.COMM_WORLD.rank, time.monotonic() + 30
    (folder / f"rank-{rank}").touch()
    # No rank goes on alone, so that none can take all points.
    while len(list(folder.glob("rank-*"))) < 2 and time.monotonic() < end_s:
        time.sleep(0.001)
    return {"rank": rank, "a": -a}

space = Param(a=range(40)) * Param(b=[1, 2, 3]) + Param(a=[7], b=[100])
"""


def ranks(count: int, folder: Path, code: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT + code)
    return run_ranks(count, [script], timeout_s)


def sum_and_product(a: int, b: int) -> dict[str, int]:
    return {"sum": a + b, "product": a * b}


def test_columns_of_parameters_and_results() -> None:
    columns = map_space(sum_and_product, Param(a=[1, 2]) * Param(b=[3, 4]))
    assert columns == {"a": [1, 1, 2, 2], "b": [3, 4, 3, 4], "sum": [4, 5, 5, 6], "product": [3, 4, 6, 8]}
    assert list(columns) == ["a", "b", "sum", "product"]


def test_no_points_give_empty_columns() -> None:
    assert map_space(sum_and_product, Param(a=[], b=[])) == {"a": [], "b": []}


def test_results_take_the_place_of_parameters_and_are_none_where_lacking() -> None:
    def function(**point: Any) -> dict[str, Any]:
        return {"x": -1} | ({"odd": point["root.a"]} if point["root.a"] % 2 else {})

    columns = map_space(function, Param({"root.a": [1, 2, 3]}, x=0))
    assert columns == {"root.a": [1, 2, 3], "x": [-1, -1, -1], "odd": [1, None, 3]}
    assert map_space(function, Param({"root.a": [2]}, x=0), exclude=["x", "odd"]) == {"root.a": [2]}


def test_missing_finds_what_a_map_has_not_done() -> None:
    plan = Param(a=[1, 2, 3]) * Param(b=[0.5, math.nan])
    done = map_space(lambda a, b: {"sum": a + b}, plan - Param(a=[2]))
    assert len(missing(plan, Param(done))) == 2


def test_the_functions_own_error_names_the_point() -> None:
    def fails(a: int) -> dict[str, int]:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError, match="no") as caught:
        map_space(fails, Param(a=[5]))
    assert caught.value.__notes__ == ["at the point {'a': 5}"]
    with pytest.raises(UsageError, match=r"mapping of results by name, it returned int at \{'a': 1\}"):
        map_space(lambda a: a, Param(a=[1]))  # type: ignore[arg-type, return-value]
    with pytest.raises(UsageError, match="needs a Param"):
        map_space(sum_and_product, {"a": [1]})  # type: ignore[arg-type]


def test_without_a_launcher_mpi_is_not_started() -> None:
    code = "import sys; from mpiens import *; map_space(lambda a: {}, Param(a=[1])); print('mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


@pytest.mark.mpi
def test_over_ranks_the_columns_are_those_of_one_process(tmp_path: Path) -> None:
    code = """
columns = map_space(area, space)
text = json.dumps({name: [v.tolist() if hasattr(v, "tolist") else v for v in c] for name, c in columns.items()})
Path(__file__).with_name(f"columns-{os.getpid()}").write_text(text)  # lines of several ranks would mix
assert all(type(row) is np.ndarray for row in columns["row"])
again = map_space(by_rank, space, exclude=["b"])
assert again["a"] == [-a for a in columns["a"]] and "b" not in again
assert set(again["rank"]) == {1, 2}, set(again["rank"])
"""
    alone = ranks(0, tmp_path, code.partition("again")[0])
    assert alone.returncode == 0, alone.stderr
    done = ranks(3, tmp_path, code)
    assert done.returncode == 0, done.stderr
    columns = [path.read_text() for path in tmp_path.glob("columns-*")]
    assert len(columns) == 4
    assert len(set(columns)) == 1


@pytest.mark.mpi
def test_a_failure_on_one_rank_is_raised_on_all(tmp_path: Path) -> None:
    code = """
from mpiens import MpiensError
try:
    map_space(area, space * Param(fail=700))
except MpiensError as error:
    print(error, flush=True)
assert len(map_space(area, Param(a=[1], b=[1]))["area"]) == 1, "the ranks can go on"
"""
    done = ranks(3, tmp_path, code)
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert others == [first] * 2
    assert "ValueError: no such area, at the point {'a': 7, 'b': 100, 'fail': 700}" in first
    assert first.startswith(("rank 1: ", "rank 2: "))


@pytest.mark.mpi
def test_a_function_that_exits_fails_on_every_rank(tmp_path: Path) -> None:
    code = """
from mpiens import MpiensError
try:
    map_space(lambda a: sys.exit(0), Param(a=[1]))
except MpiensError as error:
    print(error, flush=True)
"""
    done = ranks(3, tmp_path, code)
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert others == [first] * 2
    assert "SystemExit: 0, at the point {'a': 1}" in first


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("map_space(lambda a: time.sleep(600), Param(a=[1, 2]), timeout_s=0.5)", "gave up after 0.5 s"),
        ("def f(a): raise KeyboardInterrupt\nmap_space(f, Param(a=[1]))", "KeyboardInterrupt at the point {'a': 1}"),
    ],
)
def test_a_function_that_does_not_come_back_ends_the_job(code: str, words: str, tmp_path: Path) -> None:
    done = ranks(3, tmp_path, code)
    assert done.returncode != 0
    assert words in done.stderr


def test_numpy_points_reach_the_function_as_plain_values() -> None:
    columns = map_space(lambda a: {"kind": type(a).__name__}, Param(a=np.array([1.5])))
    assert columns == {"a": [1.5], "kind": ["float"]}
