"""What is kept of a finished trial, and its form in bytes.

The group's root packs the record, the writer frames it into a journal, and nobody between them looks inside. The form
is MessagePack: data, never code. Arrays travel as (dtype, shape, bytes in C order).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgpack
import numpy as np

from mpiens.errors import StoreError, TrialError
from mpiens.reports import Report
from mpiens.trial import TrialState

Value = bool | int | float | str | np.ndarray
"""A result: a plain scalar, or an array of numbers, booleans or strings."""

Params = dict[str, Any]
"""Parameters of a trial by name; every value is a plain scalar, a list or a mapping of such."""

_ARRAY = 1
_PLAIN = frozenset({float, bool, str})
"""Types that need no second look."""
_FORBIDDEN = frozenset({"", ".", ".."})
_KINDS = "biufcU"


class TrialRecord(NamedTuple):
    """A finished trial. A named tuple: made and packed a hundred thousand times a second when trials are short.

    Attributes:
        number: Counted from 0 in the order of asking.
        state: COMPLETE, PRUNED or FAIL.
        attempt: Which dispatch of the trial this was, from 1.
        group: Group that ran it.
        seed: The trial's seed.
        started_s: Start, in seconds since 1970 (UTC).
        elapsed_s: How long it ran.
        error: Cause of a failure, one line; empty otherwise.
        params: The trial's parameters, without the constants of ``model.fixed``.
        values: Value of each objective; empty unless COMPLETE.
        results: Everything else that the model returned.
        history: Attempts that have failed, as `mpiens.history` writes them.
        reports: What it has reported while it ran, in the order of the steps.
    """

    number: int
    state: TrialState
    attempt: int
    group: int
    seed: int
    started_s: float
    elapsed_s: float
    error: str
    params: Params
    values: dict[str, float]
    results: dict[str, Value]
    history: str = ""
    reports: tuple[Report, ...] = ()


def encode(record: TrialRecord) -> bytes:
    """The record as bytes."""
    packed: bytes = _packer.pack(record)
    return packed


def decode(data: bytes) -> TrialRecord:
    """The record in these bytes.

    Raises:
        StoreError: They are not the bytes of a record.
    """
    try:
        number, state, *rest = msgpack.unpackb(data, ext_hook=_unpack_special, strict_map_key=False)
        record = TrialRecord(number, TrialState(state), *rest)
        if record.reports:
            record = record._replace(reports=tuple([(int(step), float(value)) for step, value in record.reports]))
        sound = isinstance(record.number, int) and isinstance(record.results, dict) and isinstance(record.history, str)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StoreError(f"not a trial record: {error}") from error
    if not sound:
        raise StoreError("not a trial record: wrong fields")
    return record


def plain_results(returned: Mapping[str, object]) -> dict[str, Value]:
    """What a model returned, in the types that the store keeps.

    Mappings inside are flattened with dots: ``{"rates": {"E": 5.0}}`` becomes ``{"rates.E": 5.0}``. Lists become
    arrays.

    Raises:
        TrialError: A name or a value cannot be stored; the message names it.
    """
    results: dict[str, Value] = {}
    for name, value in returned.items():
        is_plain = type(value) in _PLAIN or (type(value) is int and -(2**63) <= value < 2**63)
        if not is_plain and isinstance(value, Mapping):
            for inner, part in plain_results(value).items():
                if f"{name}.{inner}" in results:
                    raise TrialError(f"result '{name}.{inner}': two results have this name")
                results[f"{name}.{inner}"] = part
            continue
        if not isinstance(name, str):
            name = str(name)  # noqa: PLW2901 - gids are often keys
        if name in results:
            raise TrialError(f"result {name!r}: two results have this name")
        if "/" in name or name in _FORBIDDEN:
            raise TrialError(f"result {name!r}: a name must not be empty or contain '/'")
        results[name] = cast("Value", value) if is_plain else _plain(name, value)
    return results


def objective_values(names: tuple[str, ...], results: dict[str, Value]) -> dict[str, float]:
    """Takes the objectives out of `results`.

    Raises:
        TrialError: An objective is missing, not a number, or not finite.
    """
    values = {}
    returned = sorted(results)
    for name in names:
        if name not in results:
            found = ", ".join(map(repr, returned)) or "nothing"
            raise TrialError(f"objective {name!r} is missing; the model returned {found}")
        value = results.pop(name)
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            values[name] = float(value)
            continue
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
            value = value.item()
        if isinstance(value, (str, np.ndarray)):
            kind = "a string" if isinstance(value, str) else f"an array of shape {value.shape}"
            raise TrialError(f"objective {name!r} must be one number, the model returned {kind}")
        if not math.isfinite(value):
            raise TrialError(f"objective {name!r} is not finite: {value}")
        values[name] = float(value)
    return values


def _plain(name: str, value: object) -> Value:
    if isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return value
        raise TrialError(f"result {name!r} cannot be stored: an integer needs more than 64 bits; convert it to float")
    if isinstance(value, np.generic) and not isinstance(value, np.complexfloating):
        return _plain(name, value.item())
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TrialError(f"result {name!r} is not an array of one shape: {error}") from None
    if array.dtype.kind not in _KINDS:
        # Not its repr: that may hold an address, and failures are counted by their text.
        kind = f"an array of {array.dtype}" if isinstance(value, (np.ndarray, list, tuple)) else _article(value)
        raise TrialError(
            f"result {name!r} cannot be stored: expected a number, string, boolean, array or list of numbers, "
            f"found {kind}"
        )
    return array


def _article(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _pack_special(value: object) -> Any:
    if isinstance(value, np.ndarray):
        # Native byte order and C order, so that the reader needs to know neither.
        array = np.ascontiguousarray(value, value.dtype.newbyteorder("=")) if value.ndim else value
        return msgpack.ExtType(_ARRAY, msgpack.packb((array.dtype.str, value.shape, array.tobytes())))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot pack {type(value).__name__}")


_packer = msgpack.Packer(default=_pack_special)


def _unpack_special(code: int, data: bytes) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    text, shape, content = msgpack.unpackb(data)
    dtype = np.dtype(text)
    if dtype.kind not in _KINDS:
        raise ValueError(f"unknown dtype {text}")
    return np.frombuffer(content, dtype).reshape(shape)
