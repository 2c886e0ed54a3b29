"""Small files that appear whole or not at all, and checksums inside those of them that are JSON.

The calls of ``os`` that they need stand here, below all else, because guards of ranks load nothing more. Larger files:
`mpiens/store/files.py`.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

CHECKSUM = "crc32"
"""Key of the checksum in a JSON object."""


_TEMPORARY = re.compile(r"\..+\.tmp")


def temporary_name(path: Path) -> Path:
    """Where `path` grows before it gets its name. Always the same, so that a killed attempt is overwritten."""
    return path.with_name(f".{path.name}.tmp")


def temporaries(folder: Path) -> list[Path]:
    """What processes have left in a folder that were killed while they wrote; or that write now."""
    return [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name)]


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of it, in one call where the system allows that."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def force(fd: int) -> None:
    """Force what was written to the disk."""
    os.fsync(fd)


def rename(old: Path, new: Path) -> None:
    """Give a file another name; what had that name before goes."""
    os.replace(old, new)  # noqa: PTH105 - all changes are calls of os


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        force(fd)
    finally:
        os.close(fd)


def write_whole(path: Path, content: str | bytes, is_durable: bool = True) -> None:
    """Replace a file: readers, and whoever comes after a kill, find the old one or the new one.

    Args:
        path: The file.
        content: All of it.
        is_durable: Force it to the disk; not needed for what is only looked at.

    Raises:
        OSError: It cannot be written; what was at `path` before is untouched.
    """
    temporary = temporary_name(path)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            write_all(fd, content.encode() if isinstance(content, str) else content)
            if is_durable:
                force(fd)
        finally:
            os.close(fd)
        rename(temporary, path)
        if is_durable:
            sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - all changes are calls of os
        raise


def with_checksum(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with a checksum of itself as its last key."""
    return {**fields, CHECKSUM: checksum(fields)}


def is_as_written(fields: Mapping[str, Any]) -> bool:
    """True when the checksum in a JSON object is that of the rest."""
    rest = {key: value for key, value in fields.items() if key != CHECKSUM}
    return bool(fields.get(CHECKSUM) == checksum(rest))


def checksum(content: Any) -> int:
    """Of what JSON makes of it; the same after it was written and read."""
    return zlib.crc32(json.dumps(json.loads(json.dumps(content))).encode())
