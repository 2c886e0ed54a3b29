"""What a person asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """A run to make.

    Attributes:
        spec: Path of the spec.
        output: Run directory instead of the spec's.
        overwrite: A run in that directory may be deleted.
        overrides: ``key=value`` settings over the spec's.
    """

    spec: Path
    output: Path | None = None
    overwrite: bool = False
    overrides: Sequence[str] = ()
