"""Checksums behind the end of an HDF5 file, and reading such a file so that nothing damaged is ever believed.

HDF5 believes what it reads: a flipped bit in a dataset is a wrong number, one in its own structures may hang or crash
it. It ignores what stands behind its own end, though, so that plain h5py opens these files like any other. Form of what
stands there, all numbers little-endian::

    CRC-32 of every block of 64 KiB of the file before (u32 each)
    length of the file before (u64), CRC-32 of all that stands here before (u32), version (u32), mark (16 bytes)

Reading checks only the blocks that are read, so that a look into a file of gigabytes costs little.
"""

from __future__ import annotations

import atexit
import io
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mpiens.errors import StoreError
from mpiens.store.files import at_once, explaining, syncing, write_all

BLOCK_BYTES = 2**16
_MARK = b"mpiens checksums"
_VERSION = 1
_FOOTER = struct.Struct("<QII16s")
_STEP_BLOCKS = 256
_CACHED_BLOCKS = 64
_LIBVER = ("earliest", "v110")


class DamageError(StoreError):
    """Content of a file is not what was written."""


@contextmanager
def created(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file for writing. Nobody else opens it before it gets its final name, so it needs no lock.

    It needs `completing` when it is closed.
    """
    with h5py.File(path, "w", libver=_LIBVER, locking=False) as file:
        yield file


def sealing(path: Path) -> Iterator[None]:
    """Put checksums behind the end of a file, step by step.

    Raises:
        OSError: It cannot be read or written.
    """
    sums: list[int] = []
    with path.open("rb", buffering=0) as file:
        while data := file.read(_STEP_BLOCKS * BLOCK_BYTES):
            sums += _sums(data)
            yield
        length = file.tell()
    table = struct.pack(f"<{len(sums)}I", *sums)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        write_all(fd, table + _footer(table, length))
    finally:
        os.close(fd)


def completing(path: Path) -> Iterator[None]:
    """What a file of its own needs before it gets its name, step by step: checksums, and to be on the disk.

    Raises:
        OSError: The disk refuses.
    """
    yield from sealing(path)
    yield from syncing(path)


def seal(path: Path) -> None:
    """`sealing` in one go."""
    at_once(sealing(path))


@contextmanager
def opened_checked(path: Path, is_checked: bool = True) -> Iterator[h5py.File]:
    """An HDF5 file for reading, every block of which is checked before HDF5 sees it.

    Args:
        path: The file.
        is_checked: False: take it as it is.

    Raises:
        DamageError: From here or from any read, when something is not what was written.
        OSError: It cannot be read, or is not HDF5.
    """
    if not is_checked:
        with h5py.File(path, "r", locking=False) as file:
            yield file
        return
    with CheckedFile(path) as source:
        file = _open(source)
        _opened.add(file)
        try:
            yield file
        finally:
            file.close()
            _opened.discard(file)
            if source.damage:  # h5py may have taken it for the absence of something
                raise DamageError(source.damage)


_opened: set[h5py.File] = set()
_closes_at_exit = False


def _open(source: CheckedFile) -> h5py.File:
    """The HDF5 file in `source`.

    HDF5 calls back into Python when it ends with the process, later than Python allows, if anything refers to `source`
    then. So all is closed before, and what h5py had at hand when it failed is not kept in the error's traceback.
    """
    global _closes_at_exit  # noqa: PLW0603 - a module has no side effects when it is imported
    if not _closes_at_exit:
        _closes_at_exit = True
        atexit.register(_close_all)
    try:
        return h5py.File(source, "r")
    except BaseException as error:  # noqa: BLE001 - raised again
        failure = error.with_traceback(None)
        failure.__context__ = failure.__cause__ = None
    raise failure


def _close_all() -> None:
    for file in _opened:
        file.close()


def verifying(path: Path) -> Iterator[None]:
    """Check all of a file, step by step.

    Raises:
        DamageError: Something is not what was written.
        StoreError: It cannot be read.
    """
    with explaining(path, "read"), CheckedFile(path) as source:
        for start in range(0, source.length, _STEP_BLOCKS * BLOCK_BYTES):
            source.check(start, start + _STEP_BLOCKS * BLOCK_BYTES)
            yield


def verify(path: Path) -> None:
    """`verifying` in one go."""
    at_once(verifying(path))


class CheckedFile(io.RawIOBase):
    """The content of a file with checksums, for h5py to read from.

    Attributes:
        length: Bytes of the content.
        damage: What was found to be damaged; empty: nothing.

    Raises:
        DamageError: The checksums are missing or damaged themselves.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.damage = ""
        self._path = path
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.length, self._table = self._read_table()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; twice is no error."""
        super().close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place; as of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.length}[whence]
        self._place = base + offset
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer; fewer bytes at the end only.

        Raises:
            DamageError: They are not what was written.
        """
        start, stop = self._place, min(self._place + len(buffer), self.length)
        while self._place < stop:
            place = self._place
            first = place // BLOCK_BYTES
            begin = first * BLOCK_BYTES
            end = min(stop, begin + _STEP_BLOCKS * BLOCK_BYTES)
            # HDF5's own structures are many small reads close to each other.
            data = self._cached(first) if end <= begin + BLOCK_BYTES else self.check(place, end)
            buffer[place - start : end - start] = data[place - begin : end - begin]
            self._place = end
        return max(0, stop - start)

    def check(self, start: int, stop: int) -> memoryview:
        """All blocks that touch these bytes.

        Raises:
            DamageError: They are not what was written.
        """
        first, last = start // BLOCK_BYTES, -(-min(stop, self.length) // BLOCK_BYTES)
        begin, end = first * BLOCK_BYTES, min(last * BLOCK_BYTES, self.length)
        data = bytearray(end - begin)
        view, filled = memoryview(data), 0
        while filled < len(data) and (count := os.preadv(self._fd, [view[filled:]], begin + filled)):
            filled += count
        found = _sums(view)
        for index, (expected, actual) in enumerate(zip(self._table[first:last], found, strict=True), first):
            if expected != actual:
                self.damage = (
                    f"{self._path}: damaged: bytes {index * BLOCK_BYTES} to "
                    f"{min((index + 1) * BLOCK_BYTES, self.length)} are not what was written (their checksum differs)"
                )
                raise DamageError(self.damage)
        return view

    def _cached(self, block: int) -> bytes:
        data = self._blocks.get(block)
        if data is None:
            data = bytes(self.check(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES))
            self._blocks[block] = data
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(block)
        return data

    def _read_table(self) -> tuple[int, tuple[int, ...]]:
        size = os.fstat(self._fd).st_size
        footer = os.pread(self._fd, _FOOTER.size, max(0, size - _FOOTER.size))
        if len(footer) < _FOOTER.size or footer[-len(_MARK) :] != _MARK:
            raise DamageError(
                f"{self._path}: damaged: the checksums at its end are missing; the file was cut off, is not of mpiens, "
                "or was changed by another program (then mpiens.open(path, verify=False) reads it as it is)"
            )
        length, _sum, version, _mark = _FOOTER.unpack(footer)
        count = -(-length // BLOCK_BYTES)
        is_possible = length + 4 * count + _FOOTER.size == size
        table = os.pread(self._fd, 4 * count, length) if is_possible else b""
        if version != _VERSION or not is_possible or footer != _footer(table, length):
            raise DamageError(f"{self._path}: damaged: the checksums at its end are not what was written")
        return length, struct.unpack(f"<{count}I", table)


def _footer(table: bytes, length: int) -> bytes:
    head = struct.pack("<Q", length)
    return _FOOTER.pack(length, zlib.crc32(table, zlib.crc32(head)), _VERSION, _MARK)


def _sums(data: bytes | memoryview) -> list[int]:
    view = memoryview(data)
    return [zlib.crc32(view[start : start + BLOCK_BYTES]) for start in range(0, len(view), BLOCK_BYTES)]
