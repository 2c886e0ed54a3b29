"""results.h5 open for reading, with the segments that its virtual datasets show.

HDF5 would read the segments by itself, but without looking at their checksums, and with fill values where a segment is
gone. So what virtual datasets say is carried out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np

from mpiens.store.columns import fill_value
from mpiens.store.hdf5 import opened
from mpiens.store.segment import bare
from mpiens.store.table import NUMBER


class SourceGone(Exception):
    """A segment that results.h5 shows is not there. Its argument is the segment's name."""


class Shown:
    """A results.h5 that is open.

    Attributes:
        file: Itself. Its datasets may be virtual: use `read`.
    """

    def __init__(self, path: Path, file: h5py.File, stack: ExitStack, is_checked: bool) -> None:
        self.file = file
        self._folder = path.parent
        self._stack = stack
        self._is_checked = is_checked
        self._sources: dict[str, h5py.File] = {}

    def read(self, dataset: h5py.Dataset) -> np.ndarray:
        """All of a dataset.

        Raises:
            SourceGone: A segment is not there.
            StoreError: Something is damaged.
        """
        if not dataset.is_virtual:
            data: np.ndarray = dataset[()]
            return data
        dtype = np.dtype(dataset.dtype.str)
        found = np.full(dataset.shape, fill_value(dtype), dtype)
        for source in dataset.virtual_sources():
            (start, *_), (stop, *_) = source.vspace.get_select_bounds()
            inner = self._source(_plain(source.file_name))[_plain(source.dset_name)]
            if source.src_space.get_select_type() == h5py.h5s.SEL_ALL:
                first, last = 0, len(inner) - 1
            else:
                (first, *_), (last, *_) = source.src_space.get_select_bounds()
            found[start : stop + 1] = bare(inner[first : last + 1])
        return found

    def sources(self) -> list[Path]:
        """The segments that are shown."""
        number = self.file["/".join(NUMBER)]
        names = [_plain(source.file_name) for source in number.virtual_sources()] if number.is_virtual else []
        return [self._folder / name for name in names]

    def _source(self, name: str) -> h5py.File:
        if name not in self._sources:
            path = self._folder / name
            if not path.exists():
                raise SourceGone(name)
            self._sources[name] = self._stack.enter_context(opened(path, self._is_checked))
        return self._sources[name]


@contextmanager
def shown(path: Path, is_checked: bool) -> Iterator[Shown]:
    """Open a results.h5.

    Raises:
        StoreError: It is not there, not HDF5, or damaged.
    """
    with ExitStack() as stack:
        yield Shown(path, stack.enter_context(opened(path, is_checked)), stack, is_checked)


def _plain(name: str) -> str:
    return name.replace("%%", "%")
