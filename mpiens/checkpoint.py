"""checkpoint.h5: the driver's memory, in a file that appears whole or not at all. Data only, never code.

The checkpoint before it is kept, and taken where the newest is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np

from mpiens.errors import StoreError
from mpiens.store.checked import created, opened_checked
from mpiens.store.checksums import completing
from mpiens.store.files import at_once, explaining, keep_as, replacing

NAME = "checkpoint.h5"
PREVIOUS_NAME = "checkpoint.previous.h5"
_FORMAT = 1
_COLUMNS = {"states": "|i1", "values": "<f8", "order": "<i8", "points": "|u1"}


@dataclass(frozen=True, slots=True)
class Saved:
    """What a checkpoint holds.

    Attributes:
        spec_text: The spec, with the overrides.
        spec_file: Where it stood, absolute.
        spec_beside: The same, relative to the run directory.
        spec_digest: Of the file's own text.
        points_digest: Of the files of points that the spec names.
        algorithm: The sampler's name.
        version: Of mpiens.
        serial: The driver's journal that follows.
        pending: Unfinished trials in the order of sending: number, attempt, group (-1: it waits), params, history.
        states: Of all trials that were asked for, int8; 0 for those that the sampler was not told.
        values: Their objectives, float64 ``[asked, objectives]``.
        order: Numbers in the order of telling, each with how many points had been asked for by then, int64
            ``[told, 2]``.
        points: Points as MessagePack, where the sampler needs them.
    """

    spec_text: str
    spec_file: str
    spec_beside: str
    spec_digest: str
    points_digest: str
    algorithm: str
    version: str
    serial: int
    pending: list[tuple[int, int, int, dict[str, Any], str]]
    states: np.ndarray
    values: np.ndarray
    order: np.ndarray
    points: bytes | bytearray = field(repr=False, default=b"")


def write_checkpoint(run_dir: Path, saved: Saved) -> None:
    """`writing_checkpoint` in one go."""
    at_once(writing_checkpoint(run_dir, saved))


def writing_checkpoint(run_dir: Path, saved: Saved) -> Iterator[None]:
    """Replace the checkpoint, and keep the one before, step by step.

    Raises:
        StoreError: It cannot be written; the one before is still there.
    """
    path = run_dir / NAME
    facts = {
        name: getattr(saved, name)
        for name in ("spec_text", "spec_file", "spec_beside", "spec_digest", "points_digest", "algorithm", "version")
    }
    header: bytes = msgpack.packb({**facts, "serial": saved.serial, "pending": saved.pending})
    columns = {
        "states": saved.states,
        "values": saved.values,
        "order": saved.order,
        "points": np.frombuffer(saved.points, dtype=np.uint8),
    }
    with replacing(path) as temporary:
        with created(temporary) as file:
            file.attrs["mpiens_checkpoint"] = _FORMAT
            file.create_dataset("header", data=np.frombuffer(header, dtype=np.uint8))
            for name, column in columns.items():
                file.create_dataset(name, data=column)
                yield
        yield from completing(temporary)
        if path.exists():
            keep_as(path, run_dir / PREVIOUS_NAME)


def read_checkpoint(path: Path) -> Saved:
    """What is in this file.

    Raises:
        StoreError: It is not there, damaged, no checkpoint, or of a newer version.
    """
    if not path.is_file():
        raise StoreError(f"{path}: no such file")
    with explaining(path, "read the checkpoint"):
        with opened_checked(path) as file:
            version = file.attrs.get("mpiens_checkpoint")
            if version is None:
                raise StoreError(f"{path}: not a checkpoint of mpiens")
            if version != _FORMAT:
                raise StoreError(f"{path}: checkpoint of format {version}, this mpiens reads format {_FORMAT}; upgrade")
            header = _column(path, file, "header", "|u1").tobytes()
            columns = {name: _column(path, file, name, dtype) for name, dtype in _COLUMNS.items()}
        fields = msgpack.unpackb(header, strict_map_key=False)
    return _saved(path, fields, columns)


def _saved(path: Path, fields: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> Saved:
    try:
        # Checkpoints of earlier versions have no histories.
        pending = [
            (int(n), int(a), int(g), dict(params), "".join(map(str, history)))
            for n, a, g, params, *history in fields["pending"]
        ]
        content: dict[str, Any] = {**fields, **columns, "pending": pending, "points": columns["points"].tobytes()}
        saved = Saved(**content)
        count = len(saved.states)
        texts = (saved.spec_text, saved.spec_file, saved.spec_beside, saved.spec_digest, saved.version)
        sound = (
            all(isinstance(text, str) for text in texts)
            and isinstance(saved.serial, int)
            and saved.values.ndim == 2
            and len(saved.values) == count
            and saved.states.ndim == 1
            and saved.order.ndim == saved.order.shape[1] == 2
            and bool(np.all((saved.order >= 0) & (saved.order <= (count - 1, count))))
            and all(0 <= number < count for number, *_ in pending)
        )
    except (TypeError, ValueError, LookupError) as error:
        raise StoreError(f"{path}: not a checkpoint of mpiens: {error}") from error
    if not sound:
        raise StoreError(f"{path}: not a checkpoint of mpiens: its parts do not go together")
    return saved


def _column(path: Path, file: h5py.File, name: str, dtype: str) -> np.ndarray:
    link = file.get(name, getlink=True)
    node = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(node, h5py.Dataset) or node.dtype.str != dtype or node.is_virtual or node.external:
        raise StoreError(f"{path}: not a checkpoint of mpiens: {name} is not a plain dataset of {dtype}")
    data: np.ndarray = node[()]
    return data
