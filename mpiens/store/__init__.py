"""Where results are kept: journals, segments and results.h5, and how they are read."""

from __future__ import annotations

from mpiens.store.pack import packed_size, remove_packed
from mpiens.store.reader import Results, open_results
from mpiens.store.writer import FileStore

__all__ = ["FileStore", "Results", "open_results", "packed_size", "remove_packed"]
