"""What a program reports while it runs: lines of a file, each with a step and a value."""

from __future__ import annotations

from mpiens.errors import MpiensError, TrialError, TrialPruned
from mpiens.models.base import Trial

VARIABLE = "MPIENS_REPORTS"
"""Name of the environment variable that tells a program the file."""

NAME = "mpiens-reports"
_MOST_SHOWN = 60


class ProgramReports:
    """Follows the file of one attempt, and has each line judged in its turn.

    Which line ends the trial does not depend on when the file is looked at: what comes after it is dropped.

    Args:
        trial: Takes the reports.
    """

    def __init__(self, trial: Trial) -> None:
        self.path = trial.directory / NAME
        self.path.unlink(missing_ok=True)
        self._trial = trial
        self._place = 0
        self._line = 0
        self._error: MpiensError | None = None
        self._is_pruned = False

    @property
    def is_over(self) -> bool:
        """True when the program need not run any longer."""
        return self._is_pruned or self._error is not None

    def look(self) -> bool:
        """Take in the lines that have been completed; True when the program need not run any longer."""
        lines = self._read().split(b"\n")
        self._take([line + b"\n" for line in lines[:-1]])
        return self.is_over

    def finish(self) -> None:
        """The program has ended: take in what is left.

        Raises:
            TrialPruned: The trial is given up.
            TrialError: A line is no report.
            WaitTimeout: The driver has not answered.
        """
        self._take(self._read().splitlines(keepends=True))
        if self._error is not None:
            raise self._error
        if self._is_pruned:
            raise TrialPruned

    def _read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self._place)
                return file.read()
        except OSError:
            return b""

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            if self.is_over:
                return
            self._place += len(line)
            self._line += 1
            if line.strip():
                self._judge(line.decode("utf-8", "replace"))

    def _judge(self, line: str) -> None:
        try:
            step, value = line.split()
            report = int(step), float(value)
        except ValueError:
            text = repr(line.strip()[:_MOST_SHOWN])
            self._error = TrialError(f"{self.path.name}:{self._line}: expected a step and a value, found {text}")
            return
        try:
            self._trial.report(report[1], report[0])
            self._is_pruned = self._trial.should_prune()
        except MpiensError as error:
            self._error = error
