"""What a model reports, and how its ranks learn whether to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

import mpiens
from mpiens.comm.group import GroupLink
from mpiens.errors import TrialError, WaitTimeout
from mpiens.messages import Assignment, Reported, Verdict
from mpiens.models.base import GroupContext, Trial
from mpiens.pruning import Pruning
from mpiens.record import TrialRecord, decode, encode
from mpiens.reports import Reports, results_of_pruned
from mpiens.trial import TrialState


def test_steps_grow_and_the_first_value_of_a_step_counts() -> None:
    reports = Reports()
    for value, step in ((1.5, 0), (np.float32(2), np.int64(3)), (True, 3), (np.nan, 4)):
        reports.add(value, step)
    assert str(reports.made) == "[(0, 1.5), (3, 2.0), (4, nan)]"
    for value, step, words in (
        (1.0, 2, "steps must grow, found 2 after 4"),
        (1.0, -1, "must be 0 or above, found -1"),
        (1.0, 5.0, "the step must be a whole number, found 5.0"),
        ("a", 5, "the value must be a number, found 'a'"),
        (None, 5, "the value must be a number, found None"),
    ):
        with pytest.raises(TrialError, match=words):
            reports.add(value, step)  # type: ignore[arg-type]
    assert len(reports.made) == 3


def test_reports_are_part_of_a_record_also_of_one_that_was_written_before_there_were_any() -> None:
    record = TrialRecord(3, TrialState.PRUNED, 1, 0, 7, 1.0, 2.0, "", {"x": 1}, {}, {"n": 4}, "", ((0, 1.5), (7, 2.0)))
    assert decode(encode(record)) == record
    old = encode(record._replace(reports=()))
    assert decode(b"\x9c" + old[1:-1]) == record._replace(reports=())  # an array of twelve, not of thirteen


def test_without_a_driver_reports_are_kept_and_nothing_is_pruned() -> None:
    context = GroupContext(SimpleNamespace(), 0, 0, Path())  # type: ignore[arg-type]
    trial = Trial(context, 0, 1, 1, {})
    trial.report(3.0, 1)
    assert not trial.should_prune()
    assert trial.reports == ((1, 3.0),)


class Driver:
    """Answers what a root asks, after some time."""

    def __init__(self, answers: list[bool], **settings: Any) -> None:
        self.said: list[Reported] = []
        self.answers = answers
        self.pruning = Pruning(2, 5, GroupLink(None, 5).consult, 1.0, **settings)
        self.pruning.say = self.said.append
        self.pruning.listen = self.listen
        self.polls = 0

    def listen(self) -> None:
        self.polls += 1
        question = self.said[-1]
        # What comes too late for an earlier attempt or question must not be taken for the answer.
        for attempt, call in ((question.attempt - 1, question.call), (question.attempt, question.call - 1)):
            self.pruning.deliver(Verdict(question.number, attempt, call, not self.answers[0]))
        if self.answers and self.polls % 3 == 0:
            self.pruning.deliver(Verdict(question.number, question.attempt, question.call, self.answers.pop(0)))


def test_a_root_asks_with_what_is_new_and_takes_no_other_answer() -> None:
    driver = Driver([False, True])
    reports = driver.pruning.begin(Assignment(7, 2, {}))
    assert not driver.pruning.ask(), "nothing was reported, so nothing is asked"
    reports.add(1.0, 1)
    reports.add(2.0, 2)
    assert not driver.pruning.ask()
    assert not driver.pruning.ask(), "nothing new, so the answer is the same"
    reports.add(3.0, 3)
    assert driver.pruning.ask()
    reports.add(0.0, 4)
    assert driver.pruning.ask(), "once pruned, always pruned"
    assert driver.said == [Reported(2, 7, 2, 2, ((1, 1.0), (2, 2.0))), Reported(2, 7, 2, 4, ((3, 3.0),))]
    driver.pruning.begin(Assignment(8, 1, {}))
    assert not driver.pruning.ask()
    assert driver.pruning.made == ()


def test_a_driver_that_does_not_answer_is_waited_for_so_long() -> None:
    driver = Driver([], answer_s=0.05)
    driver.pruning.begin(Assignment(7, 1, {})).add(1.0, 1)
    driver.pruning.listen = lambda: None
    with pytest.raises(WaitTimeout) as caught:
        driver.pruning.ask()
    assert str(caught.value) == (
        "rank 5, trial 7: gave up after 0.05 s while waiting for the driver to answer trial.should_prune()"
    )


def test_nothing_interrupts_the_talk_with_the_driver() -> None:
    depth: list[str] = []

    @contextlib.contextmanager
    def sheltered() -> Iterator[None]:
        depth.append("in")
        yield
        depth.append("out")

    driver = Driver([True], sheltered=sheltered)
    driver.pruning.say = lambda question: (depth.append("say"), driver.said.append(question))[1]
    driver.pruning.begin(Assignment(7, 1, {})).add(1.0, 1)
    assert driver.pruning.ask()
    assert depth[:3] == ["in", "say", "out"]
    assert depth[3:] == ["in", "out"] * driver.polls


def test_a_run_that_is_over_ends_the_trial() -> None:
    driver = Driver([])
    driver.pruning.listen = driver.pruning.give_up
    driver.pruning.begin(Assignment(7, 1, {})).add(1.0, 1)
    assert driver.pruning.ask()


def test_which_exceptions_prune() -> None:
    assert results_of_pruned(mpiens.TrialPruned({"rate": 3.0})) == {"rate": 3.0}
    assert results_of_pruned(mpiens.TrialPruned("too slow")) == {}
    assert results_of_pruned(optuna.TrialPruned()) == {}
    assert results_of_pruned(ValueError()) is None
