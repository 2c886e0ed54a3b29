"""What a person asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """A run to make, or to go on with.

    Attributes:
        spec: Path of the spec; None: the one that the run was made with.
        output: Run directory instead of the spec's; without `spec`, the run to go on with, or its checkpoint.
        overwrite: A run in that directory may be deleted.
        overrides: ``key=value`` settings over the spec's.
        resume: Go on with the run in that directory.
        force: Go on also where the spec has changed in what must stay.
    """

    spec: Path | None
    output: Path | None = None
    overwrite: bool = False
    overrides: Sequence[str] = ()
    resume: bool = False
    force: bool = False
