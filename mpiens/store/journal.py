"""Append-only file of records that survives a kill at any byte.

Form, all numbers little-endian::

    header   magic (8 bytes), version (u32), reserved (u32)
    frame    length of the payload (u32), CRC-32 of length and payload (u32), payload
    ...

The length is part of the checksum, so that a tail of zeros, which some file systems leave behind after a loss of
power, is no frame. A payload is never empty.
"""

from __future__ import annotations

import functools
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mpiens.errors import StoreError
from mpiens.small_files import force, sync_folder, write_all
from mpiens.store.base import JOURNAL_MAGIC
from mpiens.store.files import cut, explaining, store_error

_VERSION = 1
_HEADER = struct.pack("<8sII", JOURNAL_MAGIC, _VERSION, 0)
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_NAME = re.compile(r"(\d+)-(\d+)\.bin")
_MAX_PAYLOAD = 0xFFFFFFFF
_SEARCH_BYTES = 2**24
_ZEROS = 16

FRAME_BYTES = _FRAME.size
"""Bytes of a frame besides its payload."""

START = len(_HEADER)
"""Offset of the first frame."""


def journal_name(writer: int, serial: int) -> str:
    """File name of a journal of results."""
    return f"{writer}-{serial:06d}.bin"


def parse_journal_name(name: str) -> tuple[int, int] | None:
    """Writer and serial number of a journal of results, or None for another file."""
    match = _NAME.fullmatch(name)
    return (int(match.group(1)), int(match.group(2))) if match else None


@functools.lru_cache(maxsize=1024)
def _length_checksum(length: int) -> int:
    # Records of one run have few different lengths.
    return zlib.crc32(_LENGTH.pack(length))


class JournalError(StoreError):
    """A file is no journal."""


class Journal:
    """A journal open for appending, by one process. A torn tail of an existing file is cut off.

    Args:
        path: The file; made when it is not there.

    Attributes:
        end: Offset behind the last whole frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._dirty = False
        self._torn = False
        self._sync_error: StoreError | None = None
        with explaining(path, "open the journal"):
            is_new = not path.exists()
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self.end = START if is_new else recover(path)
            with explaining(path, "write the journal's header"):
                if os.fstat(self._fd).st_size < START:
                    cut(self._fd, 0)
                    write_all(self._fd, _HEADER)
                    force(self._fd)
                    sync_folder(path.parent)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, *payloads: bytes) -> None:
        """Write a frame for each payload, all of them at once. When this returns they survive a kill of the process.

        Raises:
            StoreError: They cannot be written. The journal is as it was before, and another attempt may be made.
        """
        frames: list[bytes] = []
        head, checksum = _FRAME.pack, zlib.crc32
        for payload in payloads:
            length = len(payload)
            if not 0 < length <= _MAX_PAYLOAD:
                raise StoreError(f"{self.path}: a record must have 1 to {_MAX_PAYLOAD} bytes, this one has {length}")
            frames += (head(length, checksum(payload, _length_checksum(length))), payload)
        if self._fd < 0:
            raise StoreError(f"{self.path}: the journal is closed, the run has ended; nothing can be appended")
        if not payloads:
            return
        if self._torn:
            self._cut()
        data = b"".join(frames)
        try:
            write_all(self._fd, data)
            self.end += len(data)
        except OSError as error:
            self._torn = True
            failure = store_error(self.path, "append a record", error)
            try:
                self._cut()
            except StoreError as second:
                # The next append tries again, so that no frame ever comes to stand behind half a frame.
                raise failure from second
            raise failure from error
        except BaseException:  # an interrupt: what it left behind goes before the next append
            self._torn = True
            raise
        self._dirty = True

    def sync(self) -> None:
        """Force what was appended to the disk.

        Raises:
            StoreError: The disk refused. The system may have dropped what it could not write, so every later call
                fails as well; reopening finds what is left.
        """
        if self._sync_error is not None:
            raise self._sync_error
        if self._dirty:
            try:
                force(self._fd)
            except OSError as error:
                self._sync_error = store_error(self.path, "force records to the disk", error)
                raise self._sync_error from error
            self._dirty = False

    def close(self) -> None:
        """Sync and close. Closing twice is no error."""
        if self._fd >= 0:
            try:
                self.sync()
            finally:
                os.close(self._fd)
                self._fd = -1

    def _cut(self) -> None:
        with explaining(self.path, "cut off half a record"):
            cut(self._fd, self.end)
        self._torn = False


def read_frames(path: Path, start: int = 0, resync: bool = False) -> Iterator[tuple[int, bytes]]:
    """Payloads with the offset behind each, from `start` (0 or such an offset).

    Args:
        path: The journal.
        start: Where to begin.
        resync: Go on behind a bad frame, where another sound one is found. Otherwise the first bad frame is the end.

    Raises:
        StoreError: The file is no journal, has another version, or cannot be read.
    """
    with explaining(path, "read the journal"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(START)
        if resync and _is_damaged(header) and _read_frame(file, START, size) is not None:
            pass  # what stands behind its mark is sound
        elif not _check_header(path, header):
            return
        offset, lead = max(start, START), b""
        while True:
            payload = _read_frame(file, offset, size)
            if payload is None:
                found = _next_frame(file, offset, size, lead) if resync else None
                if found is None:
                    return
                offset = found
                continue
            offset, lead = offset + _FRAME.size + len(payload), payload[:1]
            yield offset, payload


def damage_behind(path: Path, end: int) -> str:
    """What is wrong with a journal besides what `read_frames` has found; empty: nothing that a kill does not do.

    A write that was cut short has fewer bytes than it says, or ends in zeros that a loss of power has left.

    Args:
        path: The journal.
        end: Offset behind its last sound frame.

    Raises:
        StoreError: It cannot be read.
    """
    with explaining(path, "read the journal"), path.open("rb") as file:
        if _is_damaged(file.read(START)):
            return "its first bytes"
        file.seek(end)
        head = file.read(_FRAME.size)
        left = os.fstat(file.fileno()).st_size - end
        if len(head) < _FRAME.size or not 0 < _FRAME.unpack(head)[0] <= left - _FRAME.size:
            return ""
        file.seek(-min(left, _ZEROS), os.SEEK_END)
        return f"{left} bytes from byte {end} on" if file.read().strip(b"\0") else ""


def recover(path: Path) -> int:
    """Cut off a torn tail.

    Returns:
        Offset behind the last whole frame. A file whose header is not whole becomes empty.

    Raises:
        StoreError: The file is no journal, has another version, or cannot be read or written.
    """
    end = max((offset for offset, _payload in read_frames(path)), default=START)
    with explaining(path, "cut off a torn tail"):
        with path.open("rb") as file:
            keep = end if _check_header(path, file.read(START)) else 0
        if path.stat().st_size > keep:
            fd = os.open(path, os.O_WRONLY)
            try:
                cut(fd, keep)
                force(fd)
            finally:
                os.close(fd)
    return end


def is_sound(path: Path) -> bool:
    """True when the file is a journal that ends with a whole frame, so that it can be appended to.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        return max((offset for offset, _payload in read_frames(path)), default=START) == path.stat().st_size
    except JournalError:
        return False


def _read_frame(file: BinaryIO, offset: int, size: int) -> bytes | None:
    file.seek(offset)
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack(head)
    if not 0 < length <= size - offset - _FRAME.size:
        return None
    payload = file.read(length)
    sound = len(payload) == length and zlib.crc32(payload, zlib.crc32(head[:4])) == checksum
    return payload if sound else None


def _next_frame(file: BinaryIO, bad: int, size: int, lead: bytes) -> int | None:
    """Offset of the first sound frame behind a bad one at `bad`.

    Args:
        file: The journal.
        bad: Where the bad one begins.
        size: Of the file.
        lead: The byte with which payloads mostly begin, because they are lists of one length; empty: it is not known.
    """
    file.seek(bad)
    head = file.read(_FRAME.size)
    if len(head) == _FRAME.size:
        skipped: int = bad + _FRAME.size + _FRAME.unpack(head)[0]
        if _read_frame(file, skipped, size) is not None:
            return skipped  # the length was right, something behind it was not
    if lead and (found := _search(file, bad, size, lead, _SEARCH_BYTES * 4)) is not None:
        return found
    is_torn = len(head) < _FRAME.size or bad + _FRAME.size + _FRAME.unpack(head)[0] > size
    # A write that a kill cut short is the usual case, and nothing follows it: look only a little.
    return _search(file, bad, size, b"", _SEARCH_BYTES // 16 if is_torn else _SEARCH_BYTES)


def _search(file: BinaryIO, bad: int, size: int, lead: bytes, budget: int) -> int | None:
    """Offset of the first sound frame in so many bytes behind `bad` whose payload begins with `lead`."""
    file.seek(bad)
    window = file.read(budget)
    place = 0
    while (place := window.find(lead, place + 1 + _FRAME.size) - _FRAME.size) > 0:
        length: int = _LENGTH.unpack_from(window, place)[0]
        if 0 < length <= min(size - bad - place - _FRAME.size, budget):
            budget -= length
            if _read_frame(file, bad + place, size) is not None:
                return bad + place
    return None


def _is_damaged(header: bytes) -> bool:
    """True for a header of this version that begins with something else than it should."""
    mark = len(JOURNAL_MAGIC)
    return header[:mark] != JOURNAL_MAGIC and header[mark:] == _HEADER[mark:]


def _check_header(path: Path, header: bytes) -> bool:
    """True for a whole header, False for one that was cut short by a kill before any record followed."""
    if len(header) < START and _HEADER.startswith(header):
        return False
    if header[: len(JOURNAL_MAGIC)] != JOURNAL_MAGIC:
        if not header.strip(b"\0"):
            return False  # the name became durable before the content: no record can have been synced
        raise JournalError(
            f"{path}: not a journal of mpiens: it begins with {header[:8]!r}, expected {JOURNAL_MAGIC!r}"
        )
    version = struct.unpack_from("<I", header, len(JOURNAL_MAGIC))[0] if len(header) == START else None
    if version != _VERSION:
        raise JournalError(
            f"{path}: journal of version {version}, this mpiens reads version {_VERSION}; upgrade mpiens"
        )
    return True
