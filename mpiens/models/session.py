"""What passes between one trial and its script: parameters one way, results the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpiens.errors import TrialError
from mpiens.models import dotted
from mpiens.models.base import Trial


class TrialFolder(str):
    """Path in a trial's folder, as text; the folder is made when the text is used to form a path."""

    folder: str

    def __new__(cls, text: str, folder: str) -> TrialFolder:
        """`text` is `folder` or a path below it."""
        made = super().__new__(cls, text)
        made.folder = folder
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str.__str__(self), self.folder

    def __str__(self) -> str:
        return self._made()

    def __format__(self, form: str) -> str:
        return format(self._made(), form)

    def __add__(self, other: str) -> str:
        return self._made() + other

    def __fspath__(self) -> str:
        return self._made()

    def _made(self) -> str:
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return str.__str__(self)


class Session:
    """What passes between one trial and its script.

    Args:
        params: Values by dotted path into the script's configuration.
        number: The trial's.
        directory: Its folder, not made yet.
        seed: Replaces every seed in the configuration's `seeds`, unless a parameter sets it; None: they stay.
        trial: Takes what the script reports.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        number: int,
        directory: Path,
        seed: int | None = None,
        trial: Trial | None = None,
    ) -> None:
        self.params = dict(params)
        self.trial = trial
        self._seed = seed
        self.results: dict[str, object] = {}
        self.has_sent = False
        self.unapplied = set(self.params)
        """Names of parameters that no configuration has taken yet."""
        self._label = f"trial_{number}"
        self._folder = str(directory)
        self._configured: list[object] = []
        self._has_updated = False

    @property
    def mappings(self) -> dict[str, Any]:
        """What the configuration gets, by dotted path."""
        return {"saveFolder": self._folder, "simLabel": self._label, **self.params}

    def update(self, cfg: Any) -> None:
        """The script asks for the trial's parameters; its later assignments stand."""
        self._has_updated = True
        self._apply(cfg)

    def offer(self, cfg: Any) -> None:
        """A module of the script has made `cfg`; if the script never asks, this is where the parameters come in."""
        if not self._has_updated and not any(known is cfg for known in self._configured):
            self._apply(cfg)

    def require(self, cfg: Any) -> None:
        """The simulation begins with `cfg`.

        Raises:
            TrialError: A parameter is in no configuration.
        """
        self.offer(cfg)
        for name in sorted(self.unapplied):
            try:
                dotted.assign(cfg, name, self.params[name])
            except dotted.UnknownPath as error:
                raise TrialError(unknown_parameter(error)) from None
        self.unapplied.clear()

    def insist(self) -> None:
        """The script has ended.

        Raises:
            TrialError: A parameter is in no configuration.
        """
        for name in sorted(self.unapplied)[:1]:
            for cfg in reversed(self._configured):
                if not dotted.exists(cfg, name):
                    raise TrialError(unknown_parameter(dotted.UnknownPath(name, dotted.nearest(cfg, name))))
            raise TrialError(
                f"parameter {name!r} never reached a SimConfig that has it; does the script make a SimConfig, and is "
                "the name a path in it?"
            )

    def receive(self, data: object) -> None:
        """Results from the script; later ones are added to those before.

        Raises:
            TrialError: They are not results by name.
        """
        self.results.update(plain_data(data))
        self.has_sent = True

    def _apply(self, cfg: Any) -> None:
        self._configured.append(cfg)
        if "simLabel" not in self.params:
            cfg.simLabel = self._label
        if "saveFolder" not in self.params:
            cfg.saveFolder = TrialFolder(self._folder, self._folder)
        if "filename" not in self.params:
            cfg.filename = TrialFolder(f"{self._folder}/{self._label}", self._folder)
        if self._seed is not None:
            cfg.seeds = dict.fromkeys(cfg.seeds, self._seed)
        for name, value in self.params.items():
            try:
                dotted.assign(cfg, name, value)
            except dotted.UnknownPath:
                # The script may create it below this line; `require` and the script's end insist.
                continue
            self.unapplied.discard(name)


def unknown_parameter(error: dotted.UnknownPath) -> str:
    """What to tell a user whose parameter is not in the configuration."""
    return f"parameter {error.path!r}: the script's SimConfig has no such path; " + (
        f"did you mean {error.nearest!r}?"
        if error.nearest
        else error.reason or "give it a value in cfg.py, or name one that is there"
    )


def plain_data(data: object) -> dict[str, object]:
    """What a script sends, as a dict.

    Args:
        data: A mapping, JSON text of one, or an object with ``to_dict`` or ``to_json`` such as a pandas.Series.

    Raises:
        TrialError: It is something else.
    """
    found = data
    if isinstance(found, (str, bytes)):
        try:
            found = json.loads(found)
        except ValueError as error:
            raise TrialError(f"comm.send: expected a dict or JSON, found text that is not JSON: {error}") from None
    elif not isinstance(found, Mapping):
        if hasattr(found, "to_dict"):
            found = found.to_dict()
        elif hasattr(found, "to_json"):
            found = json.loads(found.to_json())
    if not isinstance(found, Mapping):
        raise TrialError(f"comm.send: expected results by name, a dict, found {type(found).__name__}")
    return {str(name): value for name, value in found.items()}
