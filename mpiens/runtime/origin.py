"""origin.yaml: which spec a run is of, and the settings that it was given besides.

The one thing in a run directory that decides which code `mpiens resume` runs. So it is a plain text that a person can
read and change, and only names a spec: what checkpoints say of the spec is compared with that, and never run. It also
keeps digests of the model's files, so that a run that goes on with another model says so.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mpiens.errors import SpecError, UsageError
from mpiens.small_files import write_whole
from mpiens.spec import LoadedSpec
from mpiens.spec.yaml_tree import read_yaml, write_yaml
from mpiens.store.files import explaining

NAME = "origin.yaml"
_TAIL = "# checksum of what the run wrote here: {:08x}\n"
_HEAD = "# The spec of this run, changed by the settings under `set`, is what `mpiens resume` runs.\n"


@dataclass(frozen=True, slots=True)
class Origin:
    """What origin.yaml says.

    Attributes:
        spec: Where the spec stood, absolute.
        beside: The same, relative to the run directory.
        settings: Overrides, ``key=value`` each.
        model: What tells the model's files, by name, from other versions of them.
    """

    spec: str
    beside: str
    settings: tuple[str, ...]
    model: dict[str, str] = field(default_factory=dict)

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
        "model": model_digests(loaded),
    }
    path = run_dir / NAME
    text = _HEAD + write_yaml(content)
    with explaining(path, "write"):
        write_whole(path, text + _TAIL.format(zlib.crc32(text.encode())))


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
    model = content.get("model")  # earlier versions have not kept it
    digests = {str(name): str(digest) for name, digest in model.items()} if isinstance(model, dict) else {}
    return Origin(str(texts[0]), str(texts[1]), tuple(settings), digests)


def edited(run_dir: Path) -> str:
    """What to tell a person where origin.yaml is not what the run has written: edited, or damaged."""
    try:
        text = (run_dir / NAME).read_bytes().decode("utf-8")
        origin = read_origin(run_dir)
    except (OSError, UnicodeDecodeError, UsageError):
        return ""  # said by whoever needs it
    head, _, _ = text.rpartition(_TAIL.partition("{")[0])
    if text == head + _TAIL.format(zlib.crc32(head.encode())):
        return ""
    settings = ", ".join(origin.settings) or "no settings"
    return (
        f"{run_dir / NAME} is not as the run has written it, but edited or damaged; it names the spec "
        f"{origin.spec} (beside: {origin.beside}) with {settings}"
    )


def changed_model(run_dir: Path, loaded: LoadedSpec) -> str:
    """What to tell a person where the model's files are not those that the run was last started with."""
    try:
        before = read_origin(run_dir).model
    except UsageError:
        return ""  # a run can go on without it
    now = model_digests(loaded)
    changed = [name for name in before.keys() | now.keys() if before and before.get(name) != now.get(name)]
    if not changed:
        return ""
    return (
        f"the model has changed since the run was last started: {', '.join(sorted(changed))}; trials that are finished "
        "keep the results of the old one. Where the new one gives other results, start a new run with --output DIR"
    )


def model_digests(loaded: LoadedSpec) -> dict[str, str]:
    """Tells the files that the spec names for its model from other versions of them; not what those import."""
    return {os.path.relpath(path, loaded.folder): spec_digest(path) for path in _model_files(loaded) if path.is_file()}


def _model_files(loaded: LoadedSpec) -> Iterator[Path]:
    model, folder = loaded.spec.model, loaded.folder
    for target in (model.python, model.setup, model.prepare):
        file = (target or "").rpartition(":")[0]
        if file.endswith(".py"):
            yield folder / file
    if model.netpyne is not None:
        script = folder / model.netpyne
        yield from (script, script.with_name("cfg.py"), script.with_name("netParams.py"))
    if model.mechanisms is not None:
        yield from sorted((folder / model.mechanisms).glob("*.mod"))


def spec_digest(path: Path) -> str:
    """Tells a spec's file, or one of its model, from another."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
