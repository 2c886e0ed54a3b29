"""Which unfinished trials pay for the end of the process before them, and what a new driver must know of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mpiens.driver import Pending
from mpiens.driver.ledger import Sent
from mpiens.driver.machine import LOST
from mpiens.guard import Death
from mpiens.history import FailedAttempt, extended, spared_in

KILLED = "the run was killed in the midst of it"
"""Cause of an attempt that has ended with its process, where nothing more is known."""

Kills = Mapping[tuple[int, int], str]
"""Causes of the attempts, by trial and attempt, that are known to have ended their process."""


def at_work(unfinished: Mapping[int, Sent]) -> list[int]:
    """The first trial of those that each group had: those behind it had not begun, as far as anybody knows."""
    first: dict[int, int] = {}
    for number, sent in unfinished.items():
        if sent.group >= 0:
            first.setdefault(sent.group, number)
    return list(first.values())


def charge(
    unfinished: Mapping[int, Sent], deaths: Sequence[Death], kills: Kills, has_said_why: bool = False
) -> tuple[dict[int, str], bool]:
    """Trials that pay for the end of the process before, with what is known of it; and if they are known to be guilty.

    They are where the process is known to have died in them, or where no other trial had been sent. Otherwise each
    that was at work pays, and no trial fails for it. None does where rank 0 has ended the run itself, and said why.
    """
    found: list[tuple[int, int, str]] = [(number, attempt, "") for number, attempt in kills]
    found += [(death.trial, death.attempt, str(death)) for death in deaths if death.trial is not None]
    named: dict[int, str] = {}
    for number, attempt, cause in found:
        trial = unfinished.get(number)
        if trial is not None and trial.group >= 0 and trial.attempt == attempt:
            named[number] = cause
    if deaths or named or has_said_why:
        return named, True
    is_alone = sum(sent.group >= 0 for sent in unfinished.values()) == 1
    return dict.fromkeys(at_work(unfinished), ""), is_alone


def cost(unfinished: Mapping[int, Sent], deaths: Sequence[Death], kills: Kills) -> int:
    """Attempts that unfinished trials have cost."""
    charged, _ = charge(unfinished, deaths, kills)
    return sum(_attempts(number, sent, charged) for number, sent in unfinished.items())


def pending(
    unfinished: Mapping[int, Sent],
    numbers: Iterable[int],
    max_attempts: int,
    deaths: Sequence[Death],
    kills: Kills,
    has_said_why: bool = False,
) -> list[Pending]:
    """What a new driver must know of unfinished trials.

    Args:
        unfinished: By number, in the order in which they were sent.
        numbers: All of them, in the order in which they are to run.
        max_attempts: More own attempts than that count as so many, because the limit was lowered.
        deaths: How ranks were killed when the process before ended, as far as that is known.
        kills: Attempts that are known to have ended their process.
        has_said_why: Rank 0 has ended the run before itself.
    """
    charged, is_known = charge(unfinished, deaths, kills, has_said_why)
    found = []
    for number in numbers:
        sent = unfinished[number]
        attempt = _attempts(number, sent, charged)
        is_charged = number in charged
        cause, last, history = kills.get((number, attempt), ""), charged.get(number, ""), sent.history
        if is_charged:
            failed = FailedAttempt(attempt, sent.group, None, None, cause or last or KILLED, is_known)
            history = extended(history, failed)
        if last and not cause:
            cause = f"{LOST.format(attempt)}; at last {last}"
        spared = spared_in(history)
        found.append(
            Pending(
                number,
                min(attempt, max_attempts + spared),
                sent.params,
                was_sent=sent.group >= 0 or attempt > 0,
                is_cleared=not (is_charged or spared) and (is_known or sent.group < 0),
                cause=cause,
                history=history,
                spared=spared,
                is_guilty=is_charged and is_known,
            )
        )
    return found


def _attempts(number: int, sent: Sent, charged: Mapping[int, str]) -> int:
    """How often it was sent; an attempt that ended with the process, and was not to blame for it, does not count."""
    return sent.attempt - (sent.group >= 0 and number not in charged)
