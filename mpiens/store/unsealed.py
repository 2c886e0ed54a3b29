"""Records that are not in results.h5 yet, for whoever looks at a run from outside."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from mpiens.errors import StoreError
from mpiens.record import TrialRecord, decode
from mpiens.store.journal import read_frames
from mpiens.store.reader import open_results

_NAME = re.compile(r"\d+-\d+\.bin")


def recorded_numbers(run_dir: Path) -> set[int]:
    """The trials of a run that have a record, as far as it can be read."""
    # First what is not in results.h5 yet: it may come to be there meanwhile, but not the other way round.
    found = {record.number for record in unsealed_records(run_dir)}
    with contextlib.suppress(StoreError):
        found.update(open_results(run_dir).numbers.tolist())
    return found


def unsealed_records(run_dir: Path) -> Iterator[TrialRecord]:
    """What stands in the journals of a run's results; some of it may be in results.h5 too.

    Reads only, so the run may be going on. A journal that is damaged gives what is sound of it, and one that is sealed
    and deleted meanwhile gives nothing.
    """
    folder = run_dir / "journal"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        if not _NAME.fullmatch(name):
            continue
        try:
            for _end, payload in read_frames(folder / name, resync=True):
                yield decode(payload)
        except StoreError:
            continue
