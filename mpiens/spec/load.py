"""Reads a spec.yaml and checks all that needs nothing but the spec itself and its points files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mpiens.errors import SpecError
from mpiens.space import Space, parse_space, space_problems
from mpiens.space.values import shown, similar_files
from mpiens.spec.consistency import consistency_problems
from mpiens.spec.overrides import apply_override
from mpiens.spec.problems import plain_problems
from mpiens.spec.schema import Spec
from mpiens.spec.yaml_tree import read_yaml, write_yaml

_MAX_LISTED = 20


@dataclass(frozen=True)
class LoadedSpec:
    """A spec that has passed all checks of its form.

    Attributes:
        spec: Its content.
        file: Where it stands, absolute.
        text: Its YAML, with the overrides.
        lines: Line of each key by its dotted path; keys that were overridden have none.
        space: Its points.
        shown_file: The file as the user named it, for messages.
        overrides: Which keys were set from outside, each with the override that did it.
    """

    spec: Spec
    file: Path
    text: str
    lines: dict[str, int]
    space: Space
    shown_file: str
    overrides: dict[str, str]

    @property
    def folder(self) -> Path:
        """The folder that relative paths are relative to."""
        return self.file.parent

    @property
    def run_dir(self) -> Path:
        """The run directory, absolute."""
        return self.folder / (self.spec.output or f"{self.spec.name}.run")

    def located(self, error: SpecError) -> SpecError:
        """The same error with the place of its key in the file."""
        return _located(error, self.shown_file, self.lines, self.overrides)


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read a spec and check it.

    Args:
        path: A spec.yaml.
        overrides: ``key=value`` each, with a dotted key and a value in YAML; applied in order.

    Raises:
        SpecError: The file cannot be read, or something in it is wrong. All problems are listed; file, line and key
            are those of the first.
        UsageError: An override is not of that form.
    """
    return parse_spec(_read(Path(path), str(path)), path, overrides)


def parse_spec(text: str, path: Path | str, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Like `load_spec`, for a text that was read before; `path` is where it stood."""
    file = str(path)
    tree = read_yaml(text, file)
    if not isinstance(tree.data, dict):
        if tree.data is None:
            raise SpecError("the file is empty", file)
        raise SpecError(f"expected a mapping of keys such as name, model and space, found {shown(tree.data)}", file, 1)
    data, lines = tree.data, tree.lines
    applied: dict[str, str] = {}
    for override in overrides:
        key = apply_override(data, override)
        # What is left gives the same data again when it is applied in order: a run is resumed with it.
        for earlier in [earlier for earlier in applied if earlier == key or earlier.startswith(f"{key}.")]:
            del applied[earlier]
        applied[key] = override
        for known in [known for known in lines if known == key or known.startswith(f"{key}.")]:
            del lines[known]
    folder = Path(path).absolute().parent
    spec, space = _checked(data, folder, lambda error: _located(error, file, lines, applied))
    return LoadedSpec(spec, Path(path).absolute(), write_yaml(data) if applied else text, lines, space, file, applied)


def _read(path: Path, file: str) -> str:
    try:
        if path.is_dir():
            raise SpecError("is a directory; expected a spec such as spec.yaml", file)
        if path.exists() and not path.is_file():
            raise SpecError("is not a regular file; expected a spec such as spec.yaml", file)
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"no such file{similar_files(path.absolute())}", file) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not a text in UTF-8: {error.reason} at byte {error.start}", file) from None
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file) from None


def _located(error: SpecError, file: str, lines: dict[str, int], overrides: dict[str, str]) -> SpecError:
    if error.file is not None:
        return error
    key = error.key or ""
    # The last override of a key, of what it is in or of something in it has set it.
    above = [override for path, override in overrides.items() if key == path or key.startswith(f"{path}.")]
    below = [override for path, override in overrides.items() if key and path.startswith(f"{key}.")]
    if above or (below and key not in lines):
        last = max(above + below, key=list(overrides.values()).index)
        return type(error)(error.problem, f"--set {last}", key=error.key)
    found = error.within(file, lines)
    problem = f"{found.problem} (with --set {below[-1]})" if below else found.problem
    return type(error)(problem, found.file, found.line, found.key)


def combined(problems: Sequence[SpecError]) -> SpecError:
    """One error that lists all of them, in the order of their lines."""
    order = sorted(problems, key=lambda problem: (problem.line is None, problem.line or 0))
    first, *others = order
    listed = [first.problem, *map(str, others[:_MAX_LISTED])]
    if len(others) > _MAX_LISTED:
        listed.append(f"and {len(others) - _MAX_LISTED} more")
    return type(first)("\n".join(listed), first.file, first.line, first.key)


def _checked(data: dict[str, Any], folder: Path, locate: Callable[[SpecError], SpecError]) -> tuple[Spec, Space]:
    spec = space = None
    problems: list[SpecError] = []
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        problems += plain_problems(error)
    tree = data.get("space")
    problems += space_problems(tree)
    if isinstance(tree, dict) and not any((problem.key or "").startswith("space") for problem in problems):
        try:
            space = parse_space(tree, folder)
        except SpecError as error:
            problems.append(error)
    if spec is not None and space is not None:
        problems += consistency_problems(spec, space)
    if problems or spec is None or space is None:
        raise combined([locate(problem) for problem in problems])
    return spec, space
