"""What earlier processes have left of a run, put together: checkpoint, driver's journals, results.

Each part may be damaged; then what is sound is used, the rest follows from the results and the sampler.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from mpiens.checkpoint import NAME, PREVIOUS_NAME, Saved, read_checkpoint
from mpiens.driver import Start
from mpiens.driver.ledger import Ledger, Sent
from mpiens.driver.tally import Best, Tally, add_cause
from mpiens.errors import StoreError, UsageError
from mpiens.goals import Goals, front
from mpiens.guard import Death
from mpiens.history import attempts_in
from mpiens.record import Params
from mpiens.runtime.charges import Kills, pending
from mpiens.runtime.logbook import FOLDER, Kept, driver_journals, journal_name
from mpiens.samplers.base import FinishedTrial, Past, PastTrial, Pruner, Sampler
from mpiens.small_files import rename
from mpiens.store.files import explaining, name_aside
from mpiens.store.journal import START, damage_behind, read_frames
from mpiens.store.outcomes import Outcomes
from mpiens.trial import TrialState


class Results(Protocol):
    """What recovery needs of a store."""

    def outcomes(self) -> Outcomes:
        """How every trial with a record has ended."""

    def points(self, numbers: Collection[int]) -> dict[int, Params]:
        """The parameters of these trials, of those that have a record."""


@dataclass(slots=True)
class Found:
    """The newest sound checkpoint of a run directory.

    Attributes:
        saved: What it holds; None: there is none.
        is_newest_bad: checkpoint.h5 is there, and damaged.
        warnings: What a person should know.
    """

    saved: Saved | None = None
    is_newest_bad: bool = False
    warnings: list[str] = field(default_factory=list)


def find_checkpoint(run_dir: Path) -> Found:
    """Read the checkpoint, or the one before where it is damaged."""
    found = Found()
    for name in (NAME, PREVIOUS_NAME):
        path = run_dir / name
        if not path.exists():
            if name == NAME and (run_dir / PREVIOUS_NAME).exists():
                found.warnings.append(f"{path}: missing; the checkpoint before it and the journals are used")
            continue
        try:
            found.saved = read_checkpoint(path)
        except StoreError as error:
            found.is_newest_bad |= name == NAME
            found.warnings.append(f"a checkpoint is damaged, an older one or the journals are used: {error}")
            continue
        break
    return found


def set_aside(run_dir: Path, found: Found) -> None:
    """Give a damaged checkpoint another name, so that the sound one before it is not pushed out by it.

    Raises:
        StoreError: It cannot be renamed.
    """
    if found.is_newest_bad:
        path = run_dir / NAME
        with explaining(path, "rename"):
            rename(path, name_aside(path))


def replay(run_dir: Path, saved: Saved | None, objectives: int, keeps_points: bool) -> tuple[Ledger, Kept, list[str]]:
    """The course of the run: the checkpoint's columns, and what the driver's journals say after them."""
    warnings: list[str] = []
    if saved is None:
        ledger, first = Ledger(objectives, keeps_points), 0
    else:
        values = saved.values
        if values.shape[1] != objectives:
            values = np.full((len(saved.states), objectives), np.nan)
        points = saved.points if keeps_points else b""
        ledger = Ledger.from_columns(keeps_points, saved.states, values, saved.order, bytes(points))
        ledger.open = {
            number: Sent(attempt, group, params, history) for number, attempt, group, params, history in saved.pending
        }
        first = saved.serial
    journals = driver_journals(run_dir)
    serial = 1 + max((number for number, _path in journals), default=first - 1)
    following = [(number, path) for number, path in journals if number >= first]
    if saved is not None and not following and not saved.states.all():
        missing = run_dir / FOLDER / journal_name(first)
        warnings.append(f"{missing}: this journal of the driver is missing; what it said is taken from the results")
    for expected, (number, path) in enumerate(following, first):
        if number != expected:
            missing = path.with_name(path.name.replace(f"{number:06d}", f"{expected:06d}"))
            warnings.append(
                f"{missing}: this journal of the driver is missing; what followed is taken from the results"
            )
            break
        problem = _replay_journal(ledger, path)
        if problem:
            warnings.append(f"{path}: {problem}; what followed is taken from the results")
            break
    return ledger, Kept(max(serial, first), first), warnings


def _replay_journal(ledger: Ledger, path: Path) -> str:
    """Take in a journal as far as it is sound; what is wrong with it, or nothing."""
    last = START
    try:
        for end, payload in read_frames(path):
            ledger.replay(payload)
            last = end
        # A tail that a kill has torn is the usual case. Sound frames behind a bad one mean damage.
        if path.stat().st_size > last and (
            damage_behind(path, last) or any(True for _ in read_frames(path, last, resync=True))
        ):
            return f"damaged from byte {last} on"
    except StoreError as error:
        return f"damaged from byte {last} on ({error})"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a run goes on.

    Attributes:
        start: For the driver.
        ledger: For the logbook.
        is_over: Nothing is left to be done.
        warnings: What a person should know.
    """

    start: Start
    ledger: Ledger
    is_over: bool
    warnings: list[str]


def recover(
    ledger: Ledger,
    results: Results,
    sampler: Sampler,
    max_attempts: int,
    goals: Goals,
    batch: int = 0,
    deaths: Sequence[Death] = (),
    kills: Kills = MappingProxyType({}),
    pruner: Pruner | None = None,
    has_said_why: bool = False,
) -> Recovered:
    """Bring ledger, results and sampler together; the sampler is restored by it.

    A trial with a record is finished, one without is not, whatever the ledger says: results that were stored and
    never told are told, and trials that were told and whose records were lost run again.

    Args:
        ledger: The run's course.
        results: What is stored.
        sampler: New.
        max_attempts: More attempts than that count as so many.
        goals: What is searched for.
        batch: Size of a generation.
        deaths: How ranks were killed when the process before ended, as far as that is known.
        kills: Causes of the attempts, by trial and attempt, that are known to have ended their process.
        pruner: New; None: there is none.
        has_said_why: Rank 0 has ended the process before itself, for a cause that is none of the trials.

    Raises:
        UsageError: More trials have been asked for than the run is to have.
    """
    outcomes = results.outcomes()
    warnings = _match_results(ledger, outcomes, results, sampler, batch)
    recorded = np.zeros(ledger.asked, dtype=bool)
    recorded[outcomes.numbers] = True
    untold = tuple(_untold(ledger, outcomes))
    if pruner is not None:
        _teach(pruner, ledger, outcomes, batch)
    # In generations, results wait to be told; their trials have ended all the same.
    points = {number: sent for number, sent in ledger.open.items() if not recorded[number]}
    numbers = np.flatnonzero(~recorded).tolist()
    waiting = pending(points, numbers, max_attempts, deaths, kills, has_said_why)
    tally = _tally(outcomes, results, sampler.total, goals)
    for trial in waiting:
        failed = [attempt.error for attempt in attempts_in(trial.history)]
        # An attempt that is the last is not tried again.
        is_last = trial.has_failed(max_attempts)
        tally.retried += trial.attempt - is_last
        for cause in failed[:-1] if is_last else failed:
            add_cause(tally.repeated, cause)
    start = Start(ledger.asked, tally, tuple(waiting), untold)
    is_over = ledger.asked == sampler.total and not waiting and not untold
    return Recovered(start, ledger, is_over, warnings)


def check_total(asked: int, total: int) -> None:
    """Refuse a run that is to have fewer trials than it has.

    Raises:
        UsageError: It would.
    """
    if asked > total:
        raise UsageError(
            f"the run has {asked} trials already and cannot end at {total}; give search.trials: {asked} or more"
        )


def _match_results(ledger: Ledger, outcomes: Outcomes, results: Results, sampler: Sampler, batch: int) -> list[str]:
    """Let the ledger know all trials that have a record, with their points; restore the sampler."""
    warnings = []
    known_asked = ledger.asked
    asked = max(known_asked, int(outcomes.numbers[-1]) + 1 if len(outcomes.numbers) else 0)
    check_total(asked, sampler.total)
    if batch and asked > known_asked:  # generations are asked for whole
        asked = min(sampler.total, -(-asked // batch) * batch)
    told = np.flatnonzero(ledger.states)
    gone = told[~np.isin(told, outcomes.numbers)]
    if len(gone):
        ledger.take_back(gone)
        shown = ", ".join(map(str, gone[:10].tolist())) + (", ..." if len(gone) > 10 else "")
        warnings.append(
            f"{len(gone)} finished trials have no record any more ({shown}): what held it is damaged, or missing from "
            "journal/ and segments/; they run again"
        )
    unfinished = set(np.setdiff1d(np.arange(asked), outcomes.numbers).tolist())
    new = range(known_asked, asked)
    adopted = results.points([n for n in new if n not in unfinished]) if new else {}
    history: dict[int, Params] = {}
    trials: list[Params | None] | None = None
    if sampler.needs_history:
        trials = [*_kept_points(ledger, results), *(adopted.get(number) for number in new)]
        history = {number: point for number in unfinished if (point := trials[number]) is not None}
        lost = [number for number, point in enumerate(trials) if point is None]
    else:
        lost = sorted(number for number in unfinished if number not in ledger.open)
    # All generations but the last had been told before the next was asked for.
    behind = (asked - 1) // batch * batch if batch and new else 0
    late = {trial.number: trial for trial in _untold(ledger, outcomes) if trial.number < behind}
    past = _past(ledger, outcomes, trials or [], late) if trials is not None else iter(())
    chosen = sampler.restore(Past(asked, lost, past, [(given, number) for number, given in ledger.order.tolist()]))
    if new:
        nothing: Params = {}
        ledger.ask([adopted.get(number) or chosen.get(number) or nothing for number in new])
    ledger.tell(list(late.values()))
    for number in unfinished:
        if number not in ledger.open:
            ledger.open[number] = Sent(0, -1, history[number] if number in history else chosen[number])
    return warnings


def _untold(ledger: Ledger, outcomes: Outcomes) -> list[FinishedTrial]:
    """Trials with a record that the sampler has not been told, by number."""
    new = outcomes.numbers >= ledger.asked
    new[~new] = ledger.states[outcomes.numbers[~new]] == 0
    return [
        FinishedTrial(
            number,
            TrialState(state),
            tuple(values) if state == TrialState.COMPLETE else (),
            reports=outcomes.reported(number),
        )
        for number, state, values in zip(
            outcomes.numbers[new].tolist(), outcomes.states[new].tolist(), outcomes.values[new].tolist(), strict=True
        )
    ]


def _past(
    ledger: Ledger, outcomes: Outcomes, points: list[Params | None], late: Mapping[int, FinishedTrial]
) -> Iterator[PastTrial]:
    for number, point in enumerate(points):
        ending = _ending(ledger, outcomes, number) if number < ledger.asked else None
        yield PastTrial(point, ending or late.get(number))


def _ending(ledger: Ledger, outcomes: Outcomes, number: int) -> FinishedTrial | None:
    """What the sampler was told of a trial."""
    ending = ledger.ending(number)
    return None if ending is None else ending._replace(reports=outcomes.reported(number))


def _teach(pruner: Pruner, ledger: Ledger, outcomes: Outcomes, batch: int) -> None:
    """Let the pruner know what it knew before, in the same order."""
    told = iter(ledger.order[:, 0].tolist())
    for _, numbers in groupby(told, key=lambda number: number // batch) if batch else ((n, (n,)) for n in told):
        endings = [_ending(ledger, outcomes, number) for number in numbers]
        pruner.learn([ending for ending in endings if ending is not None])


def _kept_points(ledger: Ledger, results: Results) -> Iterator[Params | None]:
    kept = list(ledger.points())
    if len(kept) == ledger.asked:
        return iter(kept)
    # The sampler of earlier processes did not need them.
    found = results.points(range(ledger.asked))
    found |= {number: sent.params for number, sent in ledger.open.items()}
    return chain(found.get(number) for number in range(ledger.asked))


def _tally(outcomes: Outcomes, results: Results, total: int, goals: Goals) -> Tally:
    tally = Tally(total)
    for state in tally.finished:
        tally.finished[state] = int(np.count_nonzero(outcomes.states == state))
    tally.retried = int(np.sum(np.maximum(outcomes.attempts - 1, 0)))
    for cause, count in Counter(outcomes.errors.values()).most_common():
        add_cause(tally.causes, cause, count)
    for number, history in outcomes.histories.items():
        failed = [attempt.error for attempt in attempts_in(history)]
        for cause in failed[:-1] if number in outcomes.errors else failed:
            add_cause(tally.repeated, cause)
    complete = np.flatnonzero(outcomes.states == TrialState.COMPLETE)
    if goals.directions and len(complete):
        rows = complete[front(goals, outcomes.values[complete])]
        points = results.points(outcomes.numbers[rows].tolist())
        for row in rows.tolist():
            number = int(outcomes.numbers[row])
            tally.note(Best(number, tuple(outcomes.values[row].tolist()), points.get(number, {})), goals)
    return tally
