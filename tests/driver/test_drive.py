"""Rank 0's loop with a transport, a store and a logbook that are lists."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from mpiens.comm.base import Envelope
from mpiens.driver import DriverConfig
from mpiens.driver.actions import Shutdown
from mpiens.layout import plan
from mpiens.messages import Alive, Assign, Message, RankLost, Ready, Reported, Result, Results, Verdict
from mpiens.record import Params, TrialRecord, decode, encode
from mpiens.runtime import drive as drive_file
from mpiens.runtime import inbox
from mpiens.runtime.archive import OwnArchive
from mpiens.runtime.drive import Drive
from mpiens.samplers.base import FinishedTrial
from mpiens.trial import TrialState


class Lists:
    """Transport, store and sampler."""

    def __init__(self) -> None:
        self.arriving: deque[Envelope] = deque()
        self.sent: list[tuple[int, Message]] = []
        self.stored: list[TrialRecord] = []
        self.told: list[FinishedTrial] = []

    def poll(self) -> Envelope | None:
        return self.arriving.popleft() if self.arriving else None

    def send(self, rank: int, message: Message) -> None:
        self.sent.append((rank, message))

    def finish(self, state: str, between: Callable[[], None] = lambda: None, trials: int = 0) -> Sequence[str]:
        assert (state, trials) == ("complete", 0)
        for _ in range(3):
            between()
        return ["a note"]

    def append(self, records: Sequence[bytes]) -> None:
        self.stored += map(decode, records)

    def ask(self, count: int) -> list[Params]:
        return [{"x": 0.0}] * count

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        self.told += trials


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lists]:
    monkeypatch.setattr(inbox, "_DRAIN_S", 60.0)  # all that has arrived, however slow the machine is
    yield Lists()


def drive_of(lists: Lists, folder: Path, trials: int) -> Drive:
    """Two groups of two ranks each: 1 and 2, 3 and 4."""
    job: Any = SimpleNamespace(
        layout=plan(5, 2),
        driver=DriverConfig(total=trials, groups=2, max_attempts=2),
        sampler=lists,
        pruner=None,
        run_dir=folder,
        setup=SimpleNamespace(seed=1, objectives=("loss",)),
        loaded=SimpleNamespace(spec=SimpleNamespace(name="small")),
    )
    other: Any = lists
    return Drive(job, OwnArchive(other), MagicMock(), None, other, MagicMock(), MagicMock())


def ended(group: int, number: int, attempt: int) -> Envelope:
    record = TrialRecord(number, TrialState.COMPLETE, attempt, group, 1, 1.0, 1.0, "", {"x": 0.0}, {"loss": 1.0}, {})
    result = Result(number, attempt, TrialState.COMPLETE, (1.0,), 1.0, 1.0, "", False, encode(record))
    return Envelope(1 + 2 * group, Results(group, (result,)))


def test_a_result_that_comes_together_with_the_death_of_its_group_is_not_stored(lists: Lists, tmp_path: Path) -> None:
    drive = drive_of(lists, tmp_path, trials=2)
    lists.arriving += [Envelope(1, Ready(0)), Envelope(3, Ready(1))]
    drive._handle(drive._inbox.receive())
    lists.arriving += [Envelope(2, RankLost(2)), ended(0, 0, 1), ended(1, 1, 1)]
    drive._handle(drive._inbox.receive())
    again = lists.sent[-1][1]
    assert isinstance(again, Assign)
    assert [(a.number, a.attempt) for a in again.assignments] == [(0, 2)]
    lists.arriving.append(ended(1, 0, 2))
    drive._handle(drive._inbox.receive())
    assert [(record.number, record.attempt) for record in lists.stored] == [(1, 1), (0, 2)]
    assert sorted(trial.number for trial in lists.told) == [0, 1]


def test_a_question_is_answered_unless_its_attempt_has_been_given_up(lists: Lists, tmp_path: Path) -> None:
    drive = drive_of(lists, tmp_path, trials=2)
    pruner = drive._job.pruner = MagicMock()  # type: ignore[misc]
    pruner.judge.side_effect = [True, False]
    lists.arriving += [Envelope(1, Ready(0)), Envelope(3, Ready(1))]
    drive._handle(drive._inbox.receive())
    sent = len(lists.sent)
    asked = [Reported(0, 0, 1, 1, ((1, 2.0), (2, 3.0))), Reported(1, 1, 1, 4, ((5, 1.0),))]
    stale = [Reported(0, 0, 2, 1, ((1, 2.0),)), Reported(1, 0, 1, 1, ((1, 2.0),)), Reported(1, 7, 1, 1, ((1, 2.0),))]
    lists.arriving += [Envelope(1 + 2 * question.group, question) for question in (*stale, *asked)]
    drive._handle(drive._inbox.receive())
    assert lists.sent[sent:] == [(1, Verdict(0, 1, 1, True)), (3, Verdict(1, 1, 4, False))]
    assert [call.args for call in pruner.judge.call_args_list] == [(0, 1, asked[0].reports), (1, 1, asked[1].reports)]
    lists.arriving.append(ended(1, 1, 1))
    drive._handle(drive._inbox.receive())
    ((told,),) = [call.args for call in pruner.learn.call_args_list]
    assert [trial.number for trial in told] == [1]


def test_the_ranks_hear_of_the_driver_while_results_are_packed(
    lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = drive_of(lists, tmp_path, trials=2)
    monkeypatch.setattr(drive_file, "TICK_S", 0.0)
    monkeypatch.setattr(drive_file, "_ALIVE_EVERY_S", 0.0)
    drive._logbook.finish = lambda _driver, _is_complete, between: between()  # type: ignore[method-assign]
    drive._finish(Shutdown("complete"))
    assert lists.sent == [(rank, Alive()) for rank in range(1, 5)] * 4
    drive._observer.noted.assert_called_once_with("a note")  # type: ignore[attr-defined]
