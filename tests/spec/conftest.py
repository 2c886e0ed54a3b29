"""The full example of the documentation, and a folder with the files that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mpiens.errors import UsageError
from mpiens.spec import load_spec


@pytest.fixture
def full() -> str:
    return Path(__file__).with_name("full.yaml").read_text()


@pytest.fixture
def small() -> str:
    return Path(__file__).with_name("small.yaml").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with all that the full example names."""
    (tmp_path / "model.py").write_text("def simulate(trial): return {}\ndef setup(context): pass\n")
    (tmp_path / "mod").mkdir()
    (tmp_path / "mod" / "kv.mod").write_text("NEURON { SUFFIX kv }\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def failing(folder: Path) -> Callable[..., UsageError]:
    """Loads a text that must not load, and gives the error."""

    def load(text: str | bytes, overrides: Sequence[str] = ()) -> UsageError:
        (folder / "spec.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UsageError) as caught:
            load_spec(Path("spec.yaml"), overrides)
        return caught.value

    return load
