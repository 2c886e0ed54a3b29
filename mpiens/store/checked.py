"""Reading HDF5 files with checksums so that nothing damaged is ever believed.

HDF5 believes what it reads: a flipped bit in a dataset is a wrong number, one in its own structures may hang or crash
it. So it gets no block whose checksum is wrong. Only the blocks that are read are checked, so that a look into a file
of gigabytes costs little.
"""

from __future__ import annotations

import atexit
import io
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mpiens.store.checksums import STEP_BYTES, DamageError, block_sums, read_copy, read_footer, read_sums
from mpiens.store.files import at_once, explaining

_PAGE_BYTES = 2**16
_CACHED_PAGES = 64
_LIBVER = ("earliest", "v110")


@contextmanager
def created(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file for writing. Nobody else opens it before it gets its final name, so it needs no lock.

    It needs `completing` when it is closed.
    """
    with h5py.File(path, "w", libver=_LIBVER, locking=False) as file:
        yield file


@contextmanager
def opened_checked(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading, every block of which is checked before HDF5 sees it.

    Raises:
        DamageError: From here or from any read, when something is not what was written.
        OSError: It cannot be read, or is not HDF5.
    """
    with CheckedFile(path) as source, opened_from(source) as file:
        yield file


@contextmanager
def opened_from(source: CheckedFile) -> Iterator[h5py.File]:
    """The HDF5 file that `source` reads.

    Raises:
        DamageError: As of `opened_checked`.
        OSError: It is not HDF5.
    """
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
        for start in range(0, source.length, STEP_BYTES):
            source.check(start, start + STEP_BYTES)
            yield
        source.copied()


def verify(path: Path) -> None:
    """`verifying` in one go."""
    at_once(verifying(path))


class CheckedFile(io.RawIOBase):
    """The content of a file with checksums, for h5py to read from.

    Attributes:
        path: The file.
        damage: What was found to be damaged; empty: nothing.

    Raises:
        DamageError: The checksums are missing or damaged themselves.
    """

    is_strict = True
    """Damaged checksums are refused, whatever they belong to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.damage = ""
        self.path = path
        self._place = 0
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._page_bytes = _PAGE_BYTES
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._sums_fd = self._fd
        try:
            self._find_sums()
        except BaseException:
            self.close()
            raise

    def _find_sums(self) -> None:
        """Read the checksums, which are in `_sums_fd`."""
        self._footer = read_footer(self.path, self._fd, self.is_strict)
        self._sums = read_sums(self.path, self._fd, self._footer, self.is_strict)

    @property
    def length(self) -> int:
        """Bytes of the content."""
        return self._footer.length

    @property
    def block_bytes(self) -> int:
        """Bytes that share a checksum."""
        return self._footer.block_bytes

    def close(self) -> None:
        """Close the file; twice is no error."""
        super().close()
        for fd in {self._fd, self._sums_fd} - {-1}:
            os.close(fd)
        self._fd = self._sums_fd = -1

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
            page = place // self._page_bytes
            begin = page * self._page_bytes
            end = min(stop, begin + STEP_BYTES)
            # HDF5's own structures are many small reads close to each other.
            if end <= begin + self._page_bytes:
                data: bytes | memoryview = self._cached(page)
            else:
                data, begin = self.check(place, end), place // self.block_bytes * self.block_bytes
            buffer[place - start : end - start] = data[place - begin : end - begin]
            self._place = end
        return max(0, stop - start)

    def check(self, start: int, stop: int) -> memoryview:
        """All blocks that touch these bytes.

        Raises:
            DamageError: They are not what was written.
        """
        size = self.block_bytes
        first, last = start // size, -(-min(stop, self.length) // size)
        begin, end = first * size, min(last * size, self.length)
        data = bytearray(end - begin)
        view, filled = memoryview(data), 0
        while filled < len(data) and (count := os.preadv(self._fd, [view[filled:]], begin + filled)):
            filled += count
        found = block_sums(view, size)
        if found != list(self._sums[first:last]):
            for index, (expected, actual) in enumerate(zip(self._sums[first:last], found, strict=True), first):
                if expected != actual:
                    place = index * size
                    self._meet_damage(place, view[place - begin : place - begin + size])
        return view

    def copied(self) -> list[tuple[int, bytes]]:
        """The copy of the file's structure: parts with their offsets.

        Raises:
            DamageError: It is not what was written.
        """
        return read_copy(self.path, self._sums_fd, self._footer)

    def _meet_damage(self, place: int, block: memoryview) -> None:
        self.damage = (
            f"{self.path}: damaged: bytes {place} to {place + len(block)} are not what was written (their checksum "
            "differs)"
        )
        raise DamageError(self.damage)

    def _cached(self, page: int) -> bytes:
        data = self._pages.get(page)
        if data is None:
            data = bytes(self.check(page * self._page_bytes, (page + 1) * self._page_bytes))
            self._pages[page] = data
            if len(self._pages) > _CACHED_PAGES:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(page)
        return data
