"""Requests to stop the run, on their way from signals to the driver, and what a person is told of them."""

from __future__ import annotations

import time
from pathlib import Path

from mpiens.driver.events import Event, StopRequested
from mpiens.driver.stopping import Stopping
from mpiens.runtime.observer import Observer
from mpiens.runtime.signals import StopSignals
from mpiens.runtime.stopword import take_word


class Stops:
    """What asks one run to stop.

    Args:
        run_dir: The run directory.
        signals: Where requests come from.
        stopping: What the driver makes of them.
        observer: Who watches.
    """

    def __init__(self, run_dir: Path, signals: StopSignals, stopping: Stopping, observer: Observer) -> None:
        self._run_dir = run_dir
        self._signals = signals
        self._stopping = stopping
        self._observer = observer
        self._is_noted = False
        self._word = ""

    def begin(self) -> None:
        """From here on signals are requests."""
        take_word(self._run_dir)  # an earlier supervisor's
        self._signals.count()

    def bound(self, drain_s: float) -> None:
        """As a rank that simulates itself: see `StopSignals.bound`."""
        self._signals.bound(drain_s, self._stopping.last_s, self._say)

    def take(self) -> list[Event]:
        """What has been asked for since the last time."""
        return [StopRequested(self._reason_of(name), may_be_loss) for name, may_be_loss in self._signals.take()]

    def note(self, running: int) -> None:
        """Say once that the run is stopping, if it is and trials run."""
        if self._stopping.until_s is None or self._is_noted:
            return
        self._is_noted = True
        if running:
            self._say(self._stopping.reason, self._stopping.until_s - time.monotonic())

    def _say(self, reason: str, left_s: float) -> None:
        self._is_noted = True
        left = f"those that are running have {max(0.0, left_s):.0f} s"
        self._observer.noted(f"{self._reason_of(reason)}: no new trials; {left}; another signal stops at once")

    def _reason_of(self, name: str) -> str:
        """Why the run stops: the signal, or what a supervisor has sent it for."""
        if name == "SIGUSR1" and not self._word:
            self._word = take_word(self._run_dir)
        return self._word if name == "SIGUSR1" and self._word else name
