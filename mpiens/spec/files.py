"""Checks that need the file system: is there what the spec names?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mpiens.errors import SpecError
from mpiens.space.values import similar_files
from mpiens.spec.load import LoadedSpec, combined


def check_files(loaded: LoadedSpec) -> None:
    """Look for every file and folder that the spec names.

    Raises:
        SpecError: Some are missing; the error lists them all, with the absolute paths that were looked at.
    """
    problems = [loaded.located(problem) for problem in _problems(loaded)]
    if problems:
        raise combined(problems)


def _problems(loaded: LoadedSpec) -> Iterator[SpecError]:
    model = loaded.spec.model
    targets = {
        "model.python": model.python,
        "model.setup": model.setup,
        "model.prepare": model.prepare,
        "search.algorithm": loaded.spec.search.algorithm,
    }
    for key, target in targets.items():
        file = (target or "").rpartition(":")[0]
        if file.endswith(".py"):
            yield from _missing_file(loaded.folder / file, key)
    if model.netpyne is not None:
        yield from _missing_file(loaded.folder / model.netpyne, "model.netpyne")
    if model.mechanisms is not None:
        yield from _missing_mechanisms(loaded.folder / model.mechanisms)
    if loaded.run_dir.exists() and not loaded.run_dir.is_dir():
        yield SpecError(f"expected a directory, but {loaded.run_dir} is a file", key="output")


def _missing_file(path: Path, key: str) -> Iterator[SpecError]:
    if path.is_dir():
        yield SpecError(f"expected a file, but {path} is a folder", key=key)
    elif not path.is_file():
        yield SpecError(f"no such file: {path}{similar_files(path)}", key=key)


def _missing_mechanisms(folder: Path) -> Iterator[SpecError]:
    key = "model.mechanisms"
    if not folder.is_dir():
        problem = f"expected a folder, but {folder} is a file" if folder.exists() else f"no such folder: {folder}"
        yield SpecError(problem + ("" if folder.exists() else similar_files(folder)), key=key)
    elif not any(folder.glob("*.mod")):
        yield SpecError(f"there is no .mod file in {folder}", key=key)
