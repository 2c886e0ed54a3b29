"""Checksums behind the end of an HDF5 file, and a copy of what HDF5 needs to find its way in it.

HDF5 ignores what stands behind its own end, so that plain h5py opens these files like any other. Form of what stands
there, all numbers little-endian::

    copy of the structure, zlib: how many parts (u64), offset and length of each (u64 each), the parts
    CRC-32 of every block of the file before (u32 each)
    length of the file before (u64), bytes of a block (u32), bytes of the copy (u64), CRC-32 of the copy (u32),
    CRC-32 of the checksums (u32), CRC-32 of this line before (u32), version (u32), mark (16 bytes)

The structure is all but the rows of columns, and some columns too (`mpiens/store/extents.py`). A file that holds no
rows needs no copy.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiens.errors import StoreError
from mpiens.small_files import write_all
from mpiens.store.beside import beside, writing_beside
from mpiens.store.files import at_once, syncing

STEP_BYTES = 2**22
"""Bytes that are looked at in one step; a multiple of any block."""

MARK = b"mpiens checksums"
_VERSION = 2
_SEARCHED_BYTES = 2**20
_FIELDS = struct.Struct("<QIQII")
_END = struct.Struct("<II16s")
_COUNT = struct.Struct("<Q")
_BLOCK_BYTES = ((2**20, 2**7), (2**24, 2**9), (2**63, 2**12))  # in files up to so many bytes

Ranges = np.ndarray
"""Parts of a file, int64 ``[n, 2]``: first byte and the one behind the last of each, ascending, apart."""


class DamageError(StoreError):
    """Content of a file is not what was written."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What the end of a file says.

    Attributes:
        length: Bytes of the content.
        block_bytes: Bytes that share a checksum.
        copy_bytes: Of the copy of the structure, as it stands there.
        copy_sum: Its checksum.
        sums_sum: Checksum of the checksums.
        place: Where it stands itself.
    """

    length: int
    block_bytes: int
    copy_bytes: int
    copy_sum: int
    sums_sum: int
    place: int

    @property
    def start(self) -> int:
        """Where the copy of the structure begins; the checksums follow."""
        return self.place - 4 * self.blocks - self.copy_bytes

    @property
    def blocks(self) -> int:
        """How many blocks the content has."""
        return -(-self.length // self.block_bytes)


def sealing(path: Path, rows: Ranges | None = None) -> Generator[None, None, bytes]:
    """Put checksums behind the end of a file, step by step; the value of ``yield from`` is what was put there.

    Args:
        path: The file.
        rows: Where the rows of columns stand; all else is copied. None: no copy.

    Raises:
        OSError: It cannot be read or written.
    """
    length = path.stat().st_size
    block_bytes = next(block for most, block in _BLOCK_BYTES if length <= most)
    sums: list[int] = []
    with path.open("rb", buffering=0) as file:
        while data := file.read(STEP_BYTES):
            sums += block_sums(data, block_bytes)
            yield
    packer, copied = zlib.compressobj(1), bytearray()
    if rows is not None:
        parts = _others(rows, length)
        copied += packer.compress(_COUNT.pack(len(parts)) + parts.astype("<u8").tobytes())
        with path.open("rb") as file:
            for start, size in parts.tolist():
                file.seek(start)
                for begin in range(0, size, STEP_BYTES):
                    copied += packer.compress(file.read(min(STEP_BYTES, size - begin)))
                    yield
        copied += packer.flush()
    table = struct.pack(f"<{len(sums)}I", *sums)
    fields = _FIELDS.pack(length, block_bytes, len(copied), zlib.crc32(copied), zlib.crc32(table))
    tail = bytes(copied) + table + fields + _END.pack(zlib.crc32(fields), _VERSION, MARK)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        write_all(fd, tail)
    finally:
        os.close(fd)
    return tail


def completing(path: Path, rows: Ranges | None = None, final: Path | None = None) -> Iterator[None]:
    """What a file of its own needs before it gets its name, step by step: checksums, and to be on the disk.

    Args:
        path: The file.
        rows: As of `sealing`.
        final: The name that it will get, where the checksums are to be kept beside it too.

    Raises:
        OSError: The disk refuses.
    """
    tail = yield from sealing(path, rows)
    yield from syncing(path)
    if final is not None:
        yield from writing_beside(final, tail)


def seal(path: Path) -> None:
    """`sealing` in one go."""
    at_once(sealing(path))


def read_footer(path: Path, fd: int, is_strict: bool = True, is_beside: bool = False) -> Footer:
    """What the end of an open file says.

    Args:
        path: The file.
        fd: The same, open.
        is_strict: Otherwise something may stand behind that end.
        is_beside: It is the file beside another that holds a copy of this alone.

    Raises:
        DamageError: It is missing or damaged.
    """
    size = os.fstat(fd).st_size
    if not is_strict:
        first = max(0, size - _SEARCHED_BYTES)
        place = os.pread(fd, _SEARCHED_BYTES, first).rfind(MARK)
        size = size if place < 0 else first + place + len(MARK)
    width = _FIELDS.size + _END.size
    line = os.pread(fd, width, max(0, size - width))
    if len(line) < width or line[-len(MARK) :] != MARK:
        raise DamageError(
            f"{path}: damaged: the checksums at its end are missing; the file was cut off, is not of mpiens, "
            "or was changed by another program (then mpiens.open(path, verify=False) reads it as it is)"
        )
    fields = line[: _FIELDS.size]
    found = Footer(*(*_FIELDS.unpack(fields), size - width))
    own_sum, version, _mark = _END.unpack(line[_FIELDS.size :])
    is_whole = version == _VERSION and own_sum == zlib.crc32(fields) and found.block_bytes > 0
    if not is_whole or found.start != (0 if is_beside else found.length):
        raise DamageError(f"{path}: damaged: the checksums at its end are not what was written")
    return found


def read_sums(path: Path, fd: int, footer: Footer, is_strict: bool = True) -> tuple[int, ...]:
    """The checksum of each block.

    Args:
        path: The file.
        fd: The same, open.
        footer: What its end says.
        is_strict: Refuse them where one of them is damaged. Otherwise that one fits no block, sound or not.

    Raises:
        DamageError: They are not what was written.
    """
    table = os.pread(fd, 4 * footer.blocks, footer.start + footer.copy_bytes)
    if is_strict and zlib.crc32(table) != footer.sums_sum:
        raise DamageError(f"{path}: damaged: the checksums at its end are not what was written")
    return struct.unpack(f"<{footer.blocks}I", table)


def read_copy(path: Path, fd: int, footer: Footer) -> list[tuple[int, bytes]]:
    """The parts of the structure with their offsets; nothing where the file has no copy.

    Raises:
        DamageError: The copy is damaged.
    """
    copied = os.pread(fd, footer.copy_bytes, footer.start)
    if zlib.crc32(copied) != footer.copy_sum:
        raise DamageError(f"{path}: damaged: the copy of its structure, at its end, is not what was written")
    if not copied:
        return []
    content = zlib.decompress(copied)
    (count,) = _COUNT.unpack_from(content)
    place = _COUNT.size + 16 * count
    found = []
    for start, size in np.frombuffer(content, "<u8", 2 * count, _COUNT.size).reshape(-1, 2).tolist():
        found.append((start, content[place : place + size]))
        place += size
    return found


def open_beside(path: Path) -> tuple[int, Footer, tuple[int, ...]] | None:
    """The copy of a file's checksums beside it, open, with what it says; None where there is no sound one."""
    place = beside(path)
    try:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        footer = read_footer(place, fd, is_beside=True)
        return fd, footer, read_sums(place, fd, footer)
    except DamageError:
        os.close(fd)
        return None


def block_sums(data: bytes | memoryview, block_bytes: int) -> list[int]:
    """Checksum of each block."""
    view = memoryview(data)
    return [zlib.crc32(view[start : start + block_bytes]) for start in range(0, len(view), block_bytes)]


def _others(rows: Ranges, length: int) -> np.ndarray:
    """Offset and size of each part of a file between these."""
    starts = np.concatenate([[0], rows[:, 1]])
    stops = np.concatenate([rows[:, 0], [length]])
    between = starts < stops
    return np.stack([starts[between], (stops - starts)[between]], axis=1).astype(np.int64)
