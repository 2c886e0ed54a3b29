"""Rank 0 and ranks that write, with a transport that is a list: messages of two ranks come in any order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import h5py
import pytest

from mpiens.comm.base import Envelope
from mpiens.driver import DriverConfig
from mpiens.driver.actions import Shutdown as EndRun
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
    Message,
    RankLost,
    Ready,
    Result,
    Results,
    Seal,
    Sealed,
    WriterFailed,
    WriterSetup,
    Written,
)
from mpiens.record import Params, TrialRecord, encode
from mpiens.runtime import inbox, writers
from mpiens.runtime.drive import Drive
from mpiens.runtime.lead import share
from mpiens.samplers.base import FinishedTrial
from mpiens.store import FileStore, open_results
from mpiens.store.files import at_once
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


def store_of(folder: Path, writer: int) -> FileStore:
    return FileStore(folder, "small", "", {}, {"loss": "minimize"}, ["x"], writer=writer, writers=3)


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
        loaded=SimpleNamespace(
            text="",
            space=SimpleNamespace(names=("x",)),
            spec=SimpleNamespace(
                name="small", seed=1, search=SimpleNamespace(objectives={"loss": "minimize"}, constraints=[])
            ),
        ),
    )
    store = FileStore(tmp_path, "small", "", {}, {"loss": "minimize"}, ["x"])
    other: Any = lists
    archive = share(job, store, other)
    setups = [(rank, message) for rank, message in lists.sent if isinstance(message, WriterSetup)]
    assert [(rank, setup.index, setup.writers) for rank, setup in setups] == [(1, 1, 3), (2, 2, 3)]
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


def test_the_driver_writes_records_of_failed_trials_itself(drive: Drive, lists: Lists) -> None:
    arrive(drive, lists, (2, Results(1, (failed(1),))))
    (again,) = [rank for rank, number, attempt in lists.assigned() if (number, attempt) == (1, 2)]
    assert numbers(lists) == []
    arrive(drive, lists, (again - 2, Results(again - 3, (failed(1, 2),))))
    assert numbers(lists) == [1]
    assert drive._archive._store.numbers().tolist() == [1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_a_writer_had_written_and_not_told_counts(
    drive: Drive, lists: Lists, tmp_path: Path, is_sealed: bool
) -> None:
    store = store_of(tmp_path, 2)
    record = TrialRecord(1, TrialState.COMPLETE, 1, 1, 1, 1.0, 1.0, "", {"x": 0.0}, {"loss": 1.0}, {})
    store.append([encode(record)])
    if is_sealed:
        store.seal()
    store.close()
    arrive(drive, lists, (0, RankLost(2)))
    assert [(trial.number, trial.values) for trial in lists.told] == [(1, (1.0,))]
    assert [attempt for _rank, number, attempt in lists.assigned() if number == 1] == [1]
    arrive(drive, lists, (1, Written(0, (result(0),))))
    assert {number for rank, number, _ in lists.assigned() if rank == 3} >= {0, 2}, "the other group goes on"
    # Rank 0 goes on with its files.
    at_once(drive._archive.sealing())
    assert open_results(tmp_path).numbers.tolist() == [1]
    assert not list((tmp_path / "journal").glob("2-*"))


def test_without_any_writer_rank_0_finishes_the_files(drive: Drive, lists: Lists, tmp_path: Path) -> None:
    store = store_of(tmp_path, 2)
    record = TrialRecord(1, TrialState.COMPLETE, 1, 1, 1, 1.0, 1.0, "", {"x": 0.0}, {"loss": 1.0}, {})
    store.append([encode(record)])
    store.close()
    arrive(drive, lists, (0, RankLost(1)), (0, RankLost(2)))
    assert drive._end is not None
    assert drive._end.outcome == "stopped"
    drive._archive.finish("stopped", lambda: None, 1)
    assert open_results(tmp_path).numbers.tolist() == [1]


def test_the_others_finish_before_rank_0(drive: Drive, lists: Lists, tmp_path: Path) -> None:
    store = store_of(tmp_path, 2)
    record = TrialRecord(1, TrialState.COMPLETE, 1, 1, 1, 1.0, 1.0, "", {"x": 0.0}, {"loss": 1.0}, {})
    store.append([encode(record)])
    store.finish("complete")
    said: list[Message] = []
    lists.arriving += [
        Envelope(3, Ready(0)),
        Envelope(2, Alive()),
        Envelope(2, Finished(2, ("a note",))),
        Envelope(1, RankLost(1)),
    ]
    sent = len(lists.sent)
    notes = drive._archive.finish("complete", lambda: said.append(Alive()), 1)
    assert lists.sent[sent:] == [(1, Finish("complete")), (2, Finish("complete"))]
    assert notes == ["a note", "rank 1, a writer, was killed at the end; rank 0 has done what it had left"]
    assert said
    with h5py.File(tmp_path / "results.h5") as file:
        assert (file.attrs["state"], file["trials/number"][()].tolist()) == ("complete", [1])


def test_ranks_that_die_at_the_very_end_are_counted(drive: Drive, lists: Lists) -> None:
    arrive(drive, lists, (3, RankLost(3)), (1, Fenced(0)))
    lists.arriving += [Envelope(4, RankLost(4)), Envelope(2, Finished(2, ())), Envelope(1, RankLost(1))]
    ending = drive._finish(EndRun("stopped"))
    assert ending.last.lost_ranks == 3


def test_nothing_is_deleted_when_records_are_missing(drive: Drive, lists: Lists, tmp_path: Path) -> None:
    lists.arriving += [Envelope(1, Finished(1, ())), Envelope(2, Finished(2, ()))]
    with pytest.raises(StoreError, match="0 trials have a record, 3 should; nothing was deleted"):
        drive._archive.finish("complete", lambda: None, 3)
    assert (tmp_path / "segments").is_dir()


def test_segments_are_made_in_rounds(drive: Drive, lists: Lists, tmp_path: Path) -> None:
    sent = len(lists.sent)
    at_once(drive._archive.sealing())
    assert lists.sent[sent:] == [(1, Seal()), (2, Seal())]
    at_once(drive._archive.sealing())
    assert len(lists.sent) == sent + 2, "the last round is not over"
    store = store_of(tmp_path, 1)
    record = TrialRecord(1, TrialState.COMPLETE, 1, 1, 1, 1.0, 1.0, "", {"x": 0.0}, {"loss": 1.0}, {})
    store.append([encode(record)])
    store.seal()
    (_segments, (journal,)) = store.sealed()
    arrive(drive, lists, (1, Sealed(1, *store.sealed())))
    assert drive._archive.chores() is None
    arrive(drive, lists, (2, Sealed(2, (), ())))
    assert (tmp_path / "journal" / journal).exists()
    drive._do_chore()
    while drive._chores is not None:
        drive._do_chore()
    assert open_results(tmp_path).numbers.tolist() == [1]
    assert not (tmp_path / "journal" / journal).exists()
    at_once(drive._archive.sealing())
    assert len(lists.sent) == sent + 4


def test_a_writer_that_cannot_write_ends_the_run(drive: Drive, lists: Lists) -> None:
    with pytest.raises(StoreError, match="rank 2 cannot write results: no space"):
        arrive(drive, lists, (2, WriterFailed(2, "no space")))


def test_a_writer_that_says_nothing_is_named(drive: Drive, lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "SILENCE_S", 16.0)
    now_s = drive._gauge.start_s + 1e6
    drive._archive.tick(now_s)  # the job was suspended
    for _ in range(2):
        drive._archive.tick(now_s := now_s + 4.0)
    arrive(drive, lists, (1, Alive()))
    with pytest.raises(WaitTimeout, match=r"rank 2: gave up after 16 s while waiting for results to be written"):
        for _ in range(2):
            drive._archive.tick(now_s := now_s + 4.0)
    monkeypatch.setattr(writers, "SILENCE_S", -1.0)
    with pytest.raises(WaitTimeout, match=r"rank [12]: gave up .* finishing its results"):
        drive._archive.finish("stopped", lambda: None, 0)
