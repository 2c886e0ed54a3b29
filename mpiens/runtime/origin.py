"""origin.yaml: which spec a run is of, and the settings that it was given besides.

The one thing in a run directory that decides which code `mpiens resume` runs. So it is a plain text that a person can
read and change, and only names a spec: what checkpoints say of the spec is compared with that, and never run.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mpiens.errors import SpecError, UsageError
from mpiens.spec import LoadedSpec
from mpiens.spec.yaml_tree import read_yaml, write_yaml
from mpiens.store.files import explaining, replacing

NAME = "origin.yaml"
_HEAD = "# The spec of this run, changed by the settings under `set`, is what `mpiens resume` runs.\n"


@dataclass(frozen=True, slots=True)
class Origin:
    """What origin.yaml says.

    Attributes:
        spec: Where the spec stood, absolute.
        beside: The same, relative to the run directory.
        settings: Overrides, ``key=value`` each.
    """

    spec: str
    beside: str
    settings: tuple[str, ...]

    def place(self, run_dir: Path) -> Path | None:
        """Where the spec stands now; None: nowhere. The run directory may have been moved or copied."""
        return next((place for place in self.places(run_dir) if place.is_file()), None)

    def places(self, run_dir: Path) -> tuple[Path, Path]:
        """Where it is looked for, in this order: a copy of a project has its own spec."""
        return Path(os.path.normpath(run_dir / self.beside)), Path(self.spec)


def keep_origin(run_dir: Path, loaded: LoadedSpec) -> None:
    """Write origin.yaml.

    Raises:
        StoreError: The disk refuses.
    """
    file = loaded.file
    content = {
        "spec": str(file),
        "beside": os.path.relpath(file, run_dir),
        "set": list(loaded.overrides.values()),
    }
    path = run_dir / NAME
    with explaining(path, "write"), replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(_HEAD + write_yaml(content))
        stream.flush()
        os.fsync(stream.fileno())


def read_origin(run_dir: Path) -> Origin:
    """What origin.yaml says.

    Raises:
        UsageError: It is not there, or says something else.
    """
    path = run_dir / NAME
    try:
        content = read_yaml(path.read_bytes().decode("utf-8"), str(path)).data
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except SpecError as error:
        raise UsageError(str(error)) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected the keys spec, beside and set")
    texts = [content.get("spec"), content.get("beside")]
    settings = content.get("set")
    if not isinstance(settings, list) or not all(
        isinstance(text, str) and "\0" not in text for text in (*texts, *settings)
    ):
        raise UsageError(f"{path}: expected texts under spec and beside, and a list of texts under set")
    return Origin(str(texts[0]), str(texts[1]), tuple(settings))


def spec_digest(path: Path) -> str:
    """Tells a spec's file from another."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
