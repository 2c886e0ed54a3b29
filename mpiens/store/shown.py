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

from mpiens.errors import StoreError
from mpiens.store.columns import Column, take
from mpiens.store.forms import Form, fill_value
from mpiens.store.hdf5 import is_json_text, node_path, opened
from mpiens.store.segment import bare
from mpiens.store.table import NUMBER, Key


class Stale(Exception):
    """Some of the trials are not in the file, or cannot be seen at this moment."""


class SourceGone(Exception):
    """A segment that results.h5 shows is not there. Its argument is the segment's name."""


class Shown:
    """A results.h5 that is open.

    Attributes:
        file: Itself. Its datasets may be virtual: use `read`.
    """

    def __init__(self, path: Path, file: h5py.File, stack: ExitStack, is_checked: bool) -> None:
        self.file = file
        self._path = path
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

    def column(self, key: Key, numbers: np.ndarray) -> Column:
        """A column of these trials.

        Args:
            key: The column.
            numbers: The trials, int64, ascending.

        Raises:
            Stale: Not all of them are there.
            SourceGone: A segment is not there.
            StoreError: Something is damaged, or not what mpiens writes.
        """
        node = self.file[node_path(key)]
        is_json = is_json_text(node)
        data_node = node["values"] if isinstance(node, h5py.Group) else node
        if data_node.dtype.kind not in "biufcS":  # references, opaque data and the like: mpiens writes none
            raise StoreError(f"{self._path}: {node_path(key)} is of a type that mpiens does not write")
        nothing = np.zeros(0, dtype=np.int64)
        if isinstance(node, h5py.Group):
            data, offsets, shapes = bare(self.read(node["values"])), node["offsets"][()], node["shapes"][()]
            column = Column(Form(frozenset([data.dtype.str]), None, shapes.shape[1]), data, nothing, offsets, shapes)
        else:
            data = bare(self.read(node))
            form = Form(frozenset([data.dtype.str]), data.shape[1:], data.ndim - 1, is_json=is_json)
            column = Column(form, data, nothing)
        there = self.read(self.file[node_path(NUMBER)])
        order = np.argsort(there, kind="stable")
        # The run may have gone on since somebody asked for these: later trials are not part of them.
        places = np.searchsorted(there, numbers, sorter=order)
        rows = order[np.minimum(places, max(len(order) - 1, 0))] if len(order) else order
        if not np.array_equal(there[rows], numbers):
            raise Stale
        return take(column, rows)

    def sources(self) -> list[Path]:
        """The segments that are shown."""
        number = self.file[node_path(NUMBER)]
        names = [_plain(source.file_name) for source in number.virtual_sources()] if number.is_virtual else []
        return [self._path.parent / name for name in names]

    def _source(self, name: str) -> h5py.File:
        if name not in self._sources:
            path = self._path.parent / name
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
