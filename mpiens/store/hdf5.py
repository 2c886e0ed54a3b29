"""How columns and the facts about a run stand in an HDF5 file. Results, segments and masters all look like this.

No type of variable length is used for data: parallel HDF5 cannot write them. Besides the layout that users see there
is ``/missing/<group>/<name>`` with the indices of the trials that have no value, where there are such, so that files
can be joined exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiens.errors import StoreError
from mpiens.store.base import RunState
from mpiens.store.checked import opened_checked
from mpiens.store.columns import Column
from mpiens.store.files import explaining
from mpiens.store.forms import Form
from mpiens.store.table import GROUPS, PARAMS, STATE, STATES, VALUES, Key

FORMAT = 1
_WIDE_BYTES = 64
_CHUNK_BYTES = 2**17  # rows that a damaged byte costs together
_ATTRIBUTE_BYTES = 32_000  # HDF5 keeps attributes up to 64 kB
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class Facts:
    """What results.h5 says about the run besides its trials.

    Attributes:
        name: The run's label.
        spec: Text of the spec.
        provenance: Where the run comes from: versions, host, command.
        objectives: ``minimize`` or ``maximize`` by name.
        parameters: Names.
    """

    name: str
    spec: str = ""
    provenance: Mapping[str, str | int | float] = field(default_factory=dict)
    objectives: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()


@contextmanager
def opened(path: Path, is_checked: bool = True) -> Iterator[h5py.File]:
    """A file for reading. What it says is checked as it is read.

    Args:
        path: The file.
        is_checked: False: take it as it is.

    Raises:
        StoreError: It is not there, not HDF5, damaged, or of another version of the format.
    """
    if not path.exists():
        raise StoreError(f"{path}: no such file; expected a results.h5 or a run directory")
    with ExitStack() as stack:
        with explaining(path, "read this as HDF5 (is it a results.h5, and copied completely?)"):
            file = stack.enter_context(opened_checked(path) if is_checked else h5py.File(path, "r", locking=False))
        check_format(path, file)
        yield file


def check_format(path: Path, file: h5py.File) -> None:
    """Refuse a file that is not of this format.

    Raises:
        StoreError: It is not of mpiens, or of another version.
    """
    version = file.attrs.get("mpiens_format")
    if version is None:
        raise StoreError(f"{path}: an HDF5 file, but not of mpiens: the attribute mpiens_format is missing")
    if version != FORMAT:
        raise StoreError(f"{path}: format {version}, this mpiens reads format {FORMAT}; install a newer mpiens")


def write_facts(file: h5py.File, facts: Facts, state: RunState) -> None:
    """Write everything outside of /trials and /results."""
    file.attrs["mpiens_format"] = FORMAT
    file.attrs["name"] = facts.name
    file.attrs["state"] = state
    _write_text(file, "spec", facts.spec)
    group = file.create_group("provenance")
    for name, value in facts.provenance.items():
        if isinstance(value, str) and len(value.encode()) > _ATTRIBUTE_BYTES:
            _write_text(group, escape(name), value)
        else:
            group.attrs[name] = value
    for name, direction in facts.objectives.items():
        file[node_path((VALUES, name))].attrs["direction"] = direction


def read_facts(file: h5py.File) -> tuple[Facts, RunState]:
    """The inverse of `write_facts`."""
    provenance = {name: _scalar(value) for name, value in file["provenance"].attrs.items()}
    provenance |= {unescape(name): _scalar(node[()]) for name, node in file["provenance"].items()}
    objectives = {
        unescape(name): str(_scalar(node.attrs["direction"]))
        for name, node in file[VALUES].items()
        if "direction" in node.attrs
    }
    parameters = tuple(unescape(name) for name in file[PARAMS])
    facts = Facts(str(file.attrs["name"]), str(_scalar(file["spec"][()])), provenance, objectives, parameters)
    return facts, file.attrs["state"]


def make_groups(file: h5py.File) -> None:
    """The groups of columns, whose members keep the order in which they were made."""
    for group in GROUPS:
        file.create_group(group, track_order=True)


def create_dataset(file: h5py.File, key: Key, path: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> h5py.Dataset:
    """An empty dataset of exactly this size. Wide strings are compressed, because most of their bytes are padding."""
    packing: dict[str, Any] = {}
    if dtype.kind == "S" and dtype.itemsize >= _WIDE_BYTES and all(shape):
        rows = max(1, min(shape[0], _CHUNK_BYTES // (dtype.itemsize * int(np.prod(shape[1:])))))
        packing = {"chunks": (rows, *shape[1:]), "compression": "gzip", "compression_opts": 1}
    return file.create_dataset(path, shape, stored_dtype(key, dtype), **packing)


def write_column(file: h5py.File, key: Key, column: Column) -> None:
    """Write a whole column, contiguously."""
    path = node_path(key)
    data = column.data.view(stored_dtype(key, column.data.dtype))
    if column.offsets is None or column.shapes is None:
        file.create_dataset(path, data=data)
    else:
        group = file.create_group(path, track_order=True)
        group.create_dataset("values", data=data)
        group.create_dataset("offsets", data=column.offsets)
        group.create_dataset("shapes", data=column.shapes)
    write_form(file, key, column.form)
    write_missing(file, key, column.missing)


def write_form(file: h5py.File, key: Key, form: Form) -> None:
    """Note at the column what its dataset does not tell."""
    attributes = file[node_path(key)].attrs
    if form.layout == "json":
        attributes["encoding"] = "json"
    elif form.dtypes and form.dtypes != {_type_name(form.dtype)}:
        attributes["dtypes"] = " ".join(sorted(form.dtypes))


def write_missing(file: h5py.File, key: Key, missing: np.ndarray) -> None:
    """Note which trials have no value."""
    if len(missing):
        file.create_dataset("missing/" + node_path(key), data=missing)


def read_form(file: h5py.File, key: Key) -> Form:
    """The form of a column in this file."""
    node = file[node_path(key)]
    count, missing = len(file["trials/number"]), len(read_missing(file, key))
    values = node["values"] if isinstance(node, h5py.Group) else node
    is_json = is_json_text(node)
    base = Form(has_missing=missing > 0, strict=key[0] == PARAMS)
    if missing == count and not is_json:
        return base
    names = str(_scalar(node.attrs["dtypes"])).split() if "dtypes" in node.attrs else [_type_name(values.dtype)]
    width = values.dtype.itemsize if values.dtype.kind == "S" else 1
    ragged = isinstance(node, h5py.Group)
    shape = None if ragged else values.shape[1:]
    ndim = node["shapes"].shape[1] if ragged else values.ndim - 1
    return Form(frozenset(names), shape, ndim, width, is_json, base.has_missing, base.strict)


def read_missing(file: h5py.File, key: Key) -> np.ndarray:
    """Indices of the trials without a value."""
    path = "missing/" + node_path(key)
    found: np.ndarray = file[path][()] if path in file else np.zeros(0, dtype=np.int64)
    return found


def write_replaced(file: h5py.File, names: Iterable[str]) -> None:
    """Note which segments' rows are all in this file."""
    encoded = sorted(name.encode() for name in names)
    file.create_dataset("replaces", data=np.array(encoded, dtype=(np.bytes_, max(1, *map(len, encoded), 1))))


def read_replaced(file: h5py.File) -> tuple[str, ...]:
    """The inverse of `write_replaced`."""
    return tuple(name.decode() for name in file["replaces"][()].tolist()) if "replaces" in file else ()


def is_json_text(node: h5py.Dataset | h5py.Group) -> bool:
    """True when the strings of this column are JSON."""
    return "encoding" in node.attrs and _scalar(node.attrs["encoding"]) == "json"


def keys(file: h5py.File) -> list[Key]:
    """The columns in this file, in their order."""
    found: list[Key] = []
    for group in GROUPS:
        found += [(group, unescape(name)) for name in file[group] if f"{group}/{name}" not in GROUPS]
    return found


def stored_dtype(key: Key, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in the file for a type in memory."""
    if key == STATE:
        enum: np.dtype[Any] = h5py.enum_dtype(STATES, basetype="i1")
        return enum
    if dtype.kind == "S":
        text: np.dtype[Any] = h5py.string_dtype("utf-8", dtype.itemsize)
        return text
    return dtype


def node_path(key: Key) -> str:
    """Where a column stands in a file."""
    return f"{key[0]}/{escape(key[1])}"


def escape(name: str) -> str:
    """The name as HDF5 can hold it: only what HDF5 forbids is changed, to percent signs and hexadecimal digits."""
    if name in ("", ".", ".."):
        return "%" if not name else name.replace(".", "%2E")
    if name == "%" or _ESCAPED.search(name):
        name = name.replace("%", "%25")
    return name.replace("/", "%2F").replace("\0", "%00")


def unescape(name: str) -> str:
    """The inverse of `escape`."""
    return "" if name == "%" else _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), name)


def _type_name(dtype: np.dtype[Any]) -> str:
    return "S" if dtype.kind == "S" else dtype.str


def _write_text(group: h5py.Group, name: str, text: str) -> None:
    data = text.replace("\0", "").encode()
    group.create_dataset(name, data=np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data)))))


def _scalar(value: Any) -> Any:
    """An attribute or scalar dataset as a plain Python value."""
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value
