"""What people see of a run: terminal, status.json, summary."""

from __future__ import annotations

from typing import TextIO

from mpiens.errors import MpiensError
from mpiens.runtime.observer import Ending, Observer, Snapshot


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def take_terminal(self, terminal: TextIO) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.take_terminal(terminal)

    def warned(self, text: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.warned(text)

    def noted(self, text: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.noted(text)

    def started(self, snapshot: Snapshot, plan: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.started(snapshot, plan)

    def updated(self, snapshot: Snapshot) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.updated(snapshot)

    def ended(self, ending: Ending) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.ended(ending)

    def failed(self, error: MpiensError, last: Snapshot) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.failed(error, last)
