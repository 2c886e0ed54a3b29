"""A kill at any step: what was appended is there afterwards, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mpiens.store import FileStore, open_results, writer

Maker = Callable[..., FileStore]
Packed = Callable[..., bytes]


class Killed(BaseException):
    """Stands for a kill: nothing may catch it, and no clean-up may touch the disk after it."""


STEPS = ["write", "fsync", "replace", "unlink", "rmdir", "link", "rename", "ftruncate"]


@contextmanager
def dying_at(step: int) -> Iterator[list[str]]:
    """Raise before the step-th call that changes the disk, and let nothing change it afterwards."""
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:

        def hooked(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **options: Any) -> Any:
                if len(seen) >= step:
                    raise Killed(name)
                seen.append(name)
                return call(*args, **options)

            return run

        for name in STEPS:
            patch.setattr(os, name, hooked(name, getattr(os, name)))
        yield seen


def small(packed: Packed, number: int) -> bytes:
    """A record with few columns, because there are many steps to die at."""
    return packed(number, params={"x": number}, results={"label": f"t{number}", "r": np.arange(number % 3)})


def scenario(open_store: Maker, packed: Packed, acknowledged: list[int]) -> None:
    """A run that is opened, sealed, merged, stopped, reopened and completed twice."""

    def add(store: FileStore, *numbers: int) -> None:
        store.append([small(packed, number) for number in numbers])
        acknowledged.extend(numbers)

    store = open_store(parameters=["x"])
    add(store, 1, 2)
    add(store, 3)
    store.seal()
    for number in range(4, 8):
        add(store, number)
        store.seal()
    add(store, 10)
    store.finish("stopped")
    store = open_store(parameters=["x"])
    add(store, 11)
    store.finish("complete")
    store = open_store(parameters=["x"])
    add(store, 12)
    store.finish("complete")


def test_no_record_is_lost_or_doubled(
    open_store: Maker, run_dir: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writer, "MERGE_AT", 3)
    monkeypatch.setattr(writer, "_MERGED_AT_ONCE", 2)
    step = 0
    while True:
        acknowledged: list[int] = []
        with dying_at(step) as seen:
            try:
                scenario(open_store, packed, acknowledged)
                ended = True
            except Killed:
                ended = False
        if (run_dir / "results.h5").exists():
            with h5py.File(run_dir / "results.h5") as file:
                numbers = file["trials/number"][()].tolist()
                assert len(set(numbers)) == len(numbers)
                assert set(numbers) - {0} <= {*acknowledged, *range(1, 13)}
        store = open_store(parameters=["x"])
        found = store.numbers().tolist()
        # What was written when the kill came may be there without having been acknowledged.
        assert set(acknowledged) <= set(found), (step, seen[-1:])
        assert store.warnings == []
        if not ended:
            store.append([small(packed, 101)])
            found.append(101)
        store.finish("complete")
        results = open_results(run_dir)
        assert results.trials["number"].tolist() == found, (step, seen[-1:])
        assert results["label"].tolist() == [f"t{n}" for n in found]
        assert results.trials["seed"].tolist() == [2**32 - 1 - number for number in found]
        assert list(run_dir.iterdir()) == [run_dir / "results.h5"], (step, seen[-1:])
        if ended:
            break
        run_dir.rename(tmp_path / f"{step}.run")
        step += 1
    assert step > 100
    assert set(STEPS) - {"rename", "ftruncate"} <= set(seen)
