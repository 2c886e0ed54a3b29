"""Rank 0 and ranks that write, with a transport that is a list: messages of two ranks come in any order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from mpiens.comm.base import Envelope
from mpiens.driver import DriverConfig
from mpiens.errors import StoreError, WaitTimeout
from mpiens.layout import plan
from mpiens.messages import (
    Alive,
    Assign,
    Fence,
    Fenced,
    Finish,
    Finished,
    GroupStuck,
    Keep,
    Message,
    RankLost,
    Ready,
    Result,
    Results,
    Seal,
    WriterFailed,
    WriterSetup,
    Written,
)
from mpiens.record import Params, TrialRecord, decode, encode
from mpiens.runtime import inbox, writers
from mpiens.runtime.drive import Drive
from mpiens.runtime.writers import WriterRanks
from mpiens.samplers.base import FinishedTrial
from mpiens.store import FileStore
from mpiens.trial import TrialState

WRITERS = (1, 2)
ROOTS = (3, 4)


class Lists:
    """Transport and sampler."""

    def __init__(self) -> None:
        self.arriving: deque[Envelope] = deque()
        self.sent: list[tuple[int, Message]] = []
        self.told: list[FinishedTrial] = []

    def poll(self) -> Envelope | None:
        return self.arriving.popleft() if self.arriving else None

    def send(self, rank: int, message: Message) -> None:
        self.sent.append((rank, message))

    def ask(self, count: int) -> list[Params]:
        return [{"x": 0.0}] * count

    def tell(self, trials: Sequence[FinishedTrial]) -> None:
        self.told += trials

    def assigned(self) -> list[tuple[int, int, int]]:
        """Root, number and attempt of all assignments."""
        sent = [(rank, message) for rank, message in self.sent if isinstance(message, Assign)]
        return [(rank, a.number, a.attempt) for rank, message in sent for a in message.assignments]


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Lists:
    monkeypatch.setattr(inbox, "_DRAIN_S", 60.0)
    return Lists()


def own_store(folder: Path) -> FileStore:
    return FileStore(folder, "small", "", {}, {"loss": "minimize"}, ["x"])


@pytest.fixture
def drive(lists: Lists, tmp_path: Path) -> Drive:
    """Two writers and two groups of one rank; group 0's results go to rank 1, group 1's to rank 2."""
    layout = plan(5, 1, writers=2)
    assert (layout.writers, layout.groups) == (WRITERS, ((3,), (4,)))
    job: Any = SimpleNamespace(
        layout=layout,
        driver=DriverConfig(total=4, groups=2, max_attempts=2),
        sampler=lists,
        pruner=None,
        run_dir=tmp_path,
        setup=SimpleNamespace(seed=1, objectives=("loss",)),
        loaded=SimpleNamespace(spec=SimpleNamespace(name="small")),
    )
    (tmp_path / "journal").mkdir()
    setups = [WriterSetup(index, WRITERS, str(tmp_path), "small", "", {}, {}, ("x",)) for index in range(2)]
    other: Any = lists
    archive = WriterRanks(other, layout, setups, lambda: own_store(tmp_path))
    assert [rank for rank, message in lists.sent if isinstance(message, WriterSetup)] == [1, 2]
    begun = Drive(job, archive, MagicMock(), None, other, MagicMock(), MagicMock())
    arrive(begun, lists, (3, Ready(0)), (4, Ready(1)))
    assert [(rank, number) for rank, number, _ in lists.assigned()[:2]] == [(3, 0), (4, 1)]
    return begun


def arrive(drive: Drive, lists: Lists, *messages: tuple[int, Message]) -> None:
    lists.arriving += [Envelope(source, message) for source, message in messages]
    drive._handle(drive._inbox.receive())


def result(number: int, attempt: int = 1) -> Result:
    return Result(number, attempt, TrialState.COMPLETE, (1.0,), 1.0, 1.0, "", False, b"")


def failed(number: int, attempt: int = 1) -> Result:
    return Result(number, attempt, TrialState.FAIL, (), 1.0, 1.0, "bad", True, b"")


def numbers(lists: Lists) -> list[int]:
    return sorted(trial.number for trial in lists.told)


def test_a_group_is_given_up_when_its_writer_has_told_all(drive: Drive, lists: Lists) -> None:
    before = lists.assigned()
    arrive(drive, lists, (3, GroupStuck(0, 3, 2, 1, "a rank waits")))
    assert lists.sent[-1] == (1, Fence(0))
    assert lists.assigned() == before, "its results may be on their way"
    arrive(drive, lists, (1, Written(0, (result(0),))), (1, Fenced(0)))
    assert numbers(lists) == [0]
    again = lists.assigned()[len(before) :]
    assert {number for _rank, number, _attempt in again}.isdisjoint({0})
    assert {rank for rank, _number, _attempt in again} <= {4}


def test_a_rank_that_dies_after_its_last_result_costs_nothing(drive: Drive, lists: Lists) -> None:
    held = [number for rank, number, _ in lists.assigned() if rank == 3]
    arrive(drive, lists, (3, RankLost(3)), (1, Written(0, tuple(map(result, held)))), (1, Fenced(0)))
    assert numbers(lists) == held
    assert all(attempt == 1 for _rank, _number, attempt in lists.assigned())


def test_the_driver_has_records_of_failed_trials_written(drive: Drive, lists: Lists) -> None:
    arrive(drive, lists, (2, Results(1, (failed(1),))))
    (again,) = [(rank, attempt) for rank, number, attempt in lists.assigned() if (number, attempt) == (1, 2)]
    group, writer = again[0] - 3, again[0] - 2
    arrive(drive, lists, (writer, Results(group, (failed(1, 2),))))
    rank, keep = lists.sent[-1] if isinstance(lists.sent[-1][1], Keep) else lists.sent[-2]
    assert isinstance(keep, Keep)
    assert (rank, decode(keep.result.record).error) == (writer, "bad")
    assert numbers(lists) == []
    # That writer dies before it has answered; the other one is asked.
    sent = len(lists.sent)
    arrive(drive, lists, (0, RankLost(writer)))
    assert (3 - writer, keep) in lists.sent[sent:]
    arrive(drive, lists, (3 - writer, Written(group, (keep.result,))))
    assert numbers(lists) == [1]


def test_what_a_writer_had_written_and_not_told_counts(drive: Drive, lists: Lists, tmp_path: Path) -> None:
    store = FileStore(tmp_path, "small", "", {}, {"loss": "minimize"}, ["x"], writer=1, writers=2)
    record = TrialRecord(1, TrialState.COMPLETE, 1, 1, 1, 1.0, 1.0, "", {"x": 0.0}, {"loss": 1.0}, {})
    store.append([encode(record), encode(record._replace(number=0))])  # that is another group's
    store.close()
    arrive(drive, lists, (0, RankLost(2)))
    assert numbers(lists) == [1]
    assert [attempt for _rank, number, attempt in lists.assigned() if number == 1] == [1]
    arrive(drive, lists, (1, Written(0, (result(0),))))
    assert {number for rank, number, _ in lists.assigned() if rank == 3} >= {0, 2}, "the other group goes on"


def test_without_any_writer_rank_0_finishes_the_files(drive: Drive, lists: Lists, tmp_path: Path) -> None:
    store = FileStore(tmp_path, "small", "", {}, {"loss": "minimize"}, ["x"], writer=1, writers=2)
    record = TrialRecord(1, TrialState.COMPLETE, 1, 1, 1, 1.0, 1.0, "", {"x": 0.0}, {"loss": 1.0}, {})
    store.append([encode(record)])
    store.close()
    arrive(drive, lists, (0, RankLost(1)), (0, RankLost(2)))
    assert drive._end is not None
    assert drive._end.outcome == "stopped"
    drive._archive.finish("stopped", lambda: None)
    assert own_store(tmp_path).numbers().tolist() == [1]


def test_the_first_writer_finishes_last(drive: Drive, lists: Lists) -> None:
    said: list[Message] = []
    lists.arriving += [
        Envelope(3, Ready(0)),
        Envelope(2, Alive()),
        Envelope(2, Finished(2, ("a note",))),
        Envelope(1, Finished(1, ("another",))),
    ]
    sent = len(lists.sent)
    notes = drive._archive.finish("complete", lambda: said.append(Alive()))
    assert lists.sent[sent:] == [(2, Finish("complete")), (1, Finish("complete"))]
    assert notes == ["a note", "another"]
    assert said


def test_segments_are_made_by_all(drive: Drive, lists: Lists) -> None:
    sent = len(lists.sent)
    assert list(drive._archive.sealing()) == []
    assert lists.sent[sent:] == [(1, Seal()), (2, Seal())]


def test_a_writer_that_cannot_write_ends_the_run(drive: Drive, lists: Lists) -> None:
    with pytest.raises(StoreError, match="rank 2 cannot write results: no space"):
        arrive(drive, lists, (2, WriterFailed(2, "no space")))


def test_a_writer_that_says_nothing_is_named(drive: Drive, lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "SILENCE_S", -1.0)
    with pytest.raises(WaitTimeout, match=r"rank 1: gave up .* waiting for results to be written"):
        drive._archive.tick(0.0 + drive._gauge.start_s + 5.0)
    with pytest.raises(WaitTimeout, match=r"rank 2: gave up .* finishing its results"):
        drive._archive.finish("stopped", lambda: None)
