"""The journals of results in a run directory: reading those that are there, and beginning new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mpiens.errors import StoreError
from mpiens.record import TrialRecord, decode
from mpiens.small_files import rename
from mpiens.store.files import explaining, name_aside, remove
from mpiens.store.journal import (
    FRAME_BYTES,
    START,
    Journal,
    JournalError,
    damage_behind,
    is_sound,
    journal_name,
    parse_journal_name,
    read_frames,
)


class Intake:
    """The journals, as one writer sees them.

    Args:
        folder: Where they are.
        writer: Index of the writer.
        writers: How many there are. Writer 0 takes over journals of writers that are not there any more.

    Attributes:
        writers: How many there are.
        gone: Those that have died since.
        warnings: What a user should know about what was found, a sentence each.
    """

    def __init__(self, folder: Path, writer: int, writers: int) -> None:
        self.warnings: list[str] = []
        self.writers = writers
        self.gone: set[int] = set()
        self._folder = folder
        self._writer = writer
        self._damaged: set[Path] = set()

    def paths(self) -> list[Path]:
        """Journals that this writer seals, oldest first."""
        found = []
        for path in self._folder.iterdir():
            if parsed := parse_journal_name(path.name):
                writer, serial = parsed
                is_left = writer >= self.writers or writer in self.gone
                if writer == self._writer or (self._writer == 0 and is_left):
                    found.append((writer, serial, path))
        return [path for _writer, _serial, path in sorted(found)]

    def open(self) -> Journal:
        """The journal to append to. Those of an earlier process are left as they are until they are sealed."""
        mine = [path for path in self.paths() if (parse_journal_name(path.name) or (-1,))[0] == self._writer]
        if not mine:
            return Journal(self._folder / journal_name(self._writer, 0))
        return Journal(mine[-1]) if is_sound(mine[-1]) else self.following(mine[-1])

    def following(self, path: Path) -> Journal:
        """The journal behind this one."""
        parsed = parse_journal_name(path.name)
        return Journal(self._folder / journal_name(self._writer, parsed[1] + 1 if parsed else 0))

    def records(self, journals: list[Path] | None = None) -> Iterator[tuple[TrialRecord, int]]:
        """The records in these journals, by default in all, with the bytes that each takes there."""
        for path in self.paths() if journals is None else journals:
            last = START
            try:
                for end, payload in read_frames(path, resync=True):
                    if end - last != len(payload) + FRAME_BYTES:
                        self._warn(path, f"{end - last - len(payload) - FRAME_BYTES} bytes from byte {last} on")
                    last = end
                    try:
                        yield decode(payload), len(payload)
                    except StoreError as error:
                        self._warn(path, f"the record that ends at byte {end} ({error})")
                if part := damage_behind(path, last):
                    self._warn(path, part)
            except JournalError as error:
                self._warn(path, f"all of it ({error})")

    def delete(self, journals: list[Path]) -> None:
        """Delete journals whose records are in segments; damaged ones are kept under another name.

        Raises:
            StoreError: The disk refuses.
        """
        with explaining(self._folder, "delete sealed journals"):
            for path in journals:
                if path in self._damaged:
                    rename(path, name_aside(path))
            remove(journals)

    def _warn(self, path: Path, part: str) -> None:
        if path not in self._damaged:
            self._damaged.add(path)
            self.warnings.append(
                f"{path}: damaged: {part}; what is sound is used, the trials of the rest will run again, and the file "
                f"is kept as {name_aside(path).name}"
            )
