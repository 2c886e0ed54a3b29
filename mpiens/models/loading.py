"""Functions that a spec names: finding them."""

from __future__ import annotations

import difflib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from mpiens.blame import describe_exception
from mpiens.errors import ModelError, SpecError


def load_function(target: str, folder: str) -> Callable[..., Any]:
    """The function that `target` names.

    A file's own folder stays at the front of ``sys.path``, so that the file can import its neighbours, also later.

    Args:
        target: ``/path/to/file.py:function`` or ``package.module:function``.
        folder: The spec's folder; a module named by its dotted name may live there.

    Raises:
        SpecError: The file, module or function is not there, or is not callable.
        ModelError: The module raises on import; the message has file, line and cause.
    """
    place, separator, name = target.rpartition(":")
    if not separator or not place or not name:
        raise SpecError(f"{target!r} must be path.py:function or package.module:function")
    is_file = place.endswith(".py") or os.sep in place
    module = _load_file(Path(folder, place), folder) if is_file else _load_module(place, folder)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise SpecError(f"{place} has no function {name!r}{nearest_name(part, _functions(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise SpecError(f"{place}: {name!r} is {_article(type(found).__name__)}, expected a function")
    function: Callable[..., Any] = found
    return function


def prepend_path(folder: str) -> None:
    """Put `folder` at the front of ``sys.path``, once."""
    while folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)


def _load_file(path: Path, folder: str) -> ModuleType:
    path = Path(os.path.abspath(path))  # noqa: PTH100 - keeps symbolic links, so that tracebacks show the given path
    if not path.is_file():
        neighbours = [str(other.name) for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise SpecError(f"no file {path}{nearest_name(path.name, neighbours)}")
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path) and getattr(module, "__name__", "") != "__main__":
            return module
    prepend_path(str(path.parent))
    # Under its own name, its neighbours can import it; a name that is taken already would hand them the wrong module.
    name = path.stem if path.stem not in sys.modules and path.stem.isidentifier() else f"mpiens_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # noqa: BLE001 - whatever the user's module does, SystemExit included
        del sys.modules[name]
        _reraise(error, str(path), folder)
    return module


def _load_module(name: str, folder: str) -> ModuleType:
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            neighbours = [other.stem for other in Path(folder).glob("*.py")]
            raise SpecError(
                f"no module {name!r}, neither in {folder} nor among the installed packages"
                f"{nearest_name(name, neighbours)}"
            ) from None
        _reraise(error, name, folder)
    except BaseException as error:  # noqa: BLE001 - whatever the user's module does, SystemExit included
        _reraise(error, name, folder)
    raise AssertionError("unreachable")


def _reraise(error: BaseException, place: str, folder: str) -> None:
    """Turn what a module raised into a ModelError; KeyboardInterrupt, a wish of the user, goes on as it is."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    described = describe_exception(error, folder)
    where, separator, cause = described.partition(f": {type(error).__name__}")
    if not separator:
        where, cause = place, f": {described}"
        raise ModelError(f"{where}: raises on import{cause}") from error
    raise ModelError(f"{where}: raises on import: {type(error).__name__}{cause}") from error


def _functions(place: object) -> list[str]:
    return [name for name in dir(place) if not name.startswith("_") and callable(getattr(place, name, None))]


def nearest_name(name: str, choices: Iterable[str]) -> str:
    """What to add to a message about `name`: the choice most like it, or all choices if they are few."""
    choices = sorted(choices)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are: {', '.join(choices[:8])}" if choices else ""


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
