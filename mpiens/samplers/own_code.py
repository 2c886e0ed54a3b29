"""Classes of the user's own: finding them, and calling them so that whatever they raise ends in a plain error."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from mpiens.blame import describe_exception
from mpiens.errors import SearchError, SpecError
from mpiens.samplers.options import arguments, check_options
from mpiens.samplers.signatures import check_values
from mpiens.space.values import nearest

_T = TypeVar("_T")


def load_class(target: str, folder: Path, key: str = "search.algorithm") -> Any:
    """The class ``path.py:Class`` or ``package.module:Class``.

    Raises:
        SpecError: There is none.
    """
    place, _, name = target.rpartition(":")
    try:
        module = _module(place, folder)
    except FileNotFoundError as error:
        raise SpecError(f"{place}: no such file beside the spec", key=key) from error
    except BaseException as error:
        if _is_signal(error):
            raise
        raise SpecError(f"{place} cannot be imported: {describe_exception(error, str(folder))}", key=key) from error
    if not hasattr(module, name):
        raise SpecError(f"{place} has no {name!r}{nearest(name, vars(module))}", key=key)
    return getattr(module, name)


def called(what: str, folder: Path, call: Callable[[], _T]) -> _T:
    """What the user's code returns.

    Args:
        what: What is called, and how, for the error.
        folder: The spec's folder.
        call: Calls it.

    Raises:
        SearchError: It has raised something, be it SystemExit or KeyboardInterrupt; nothing of that may end rank 0, on
            which all others wait.
    """
    try:
        return call()
    except BaseException as error:
        if _is_signal(error):
            raise
        raise SearchError(f"{what} failed: {describe_exception(error, str(folder))}") from error


def _is_signal(error: BaseException) -> bool:
    """True for what mpiens itself raises when a signal comes."""
    if isinstance(error, Exception):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")) == "mpiens.runtime.signals"


def check_keywords(
    target: str, kind: Any, options: Mapping[str, Any], own: Sequence[str], key: str = "search.options"
) -> None:
    """Accept options that are keyword arguments of a class, `own` aside.

    Raises:
        SpecError: One is not.
    """
    if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(kind).parameters.values()):
        check_options(target, options, arguments(kind, own), key)
    check_values(options, kind, key, is_library=False)


def _module(place: str, folder: Path) -> ModuleType:
    if not place.endswith(".py"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        return importlib.import_module(place)
    path = (folder / place).resolve()
    if not path.is_file():
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(f"mpiens_sampler_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and the like look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
