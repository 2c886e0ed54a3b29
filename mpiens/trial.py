"""The life of a trial: its states, what may happen in each, and its seed. Pure values and functions."""

from __future__ import annotations

import enum
import functools
import hashlib

from mpiens.errors import InvalidTransition


class TrialState(enum.IntEnum):
    """States of a trial, with Optuna's numbers, which also stand in results.h5."""

    RUNNING = 0
    COMPLETE = 1
    PRUNED = 2
    FAIL = 3
    WAITING = 4

    @property
    def is_finished(self) -> bool:
        """True when nothing can happen to the trial any more."""
        return not TRANSITIONS[self]


class TrialEvent(enum.IntEnum):
    """What can happen to a trial."""

    DISPATCHED = 0
    COMPLETED = 1
    PRUNED = 2
    FAILED = 3
    REQUEUED = 4


TRANSITIONS: dict[TrialState, dict[TrialEvent, TrialState]] = {
    TrialState.WAITING: {TrialEvent.DISPATCHED: TrialState.RUNNING, TrialEvent.FAILED: TrialState.FAIL},
    TrialState.RUNNING: {
        TrialEvent.COMPLETED: TrialState.COMPLETE,
        TrialEvent.PRUNED: TrialState.PRUNED,
        TrialEvent.FAILED: TrialState.FAIL,
        TrialEvent.REQUEUED: TrialState.WAITING,
    },
    TrialState.COMPLETE: {},
    TrialState.PRUNED: {},
    TrialState.FAIL: {},
}

FINISHING: dict[TrialState, TrialEvent] = {
    TrialState.COMPLETE: TrialEvent.COMPLETED,
    TrialState.PRUNED: TrialEvent.PRUNED,
    TrialState.FAIL: TrialEvent.FAILED,
}
"""The event that takes a running trial to each finished state."""


def advance(number: int, state: TrialState, event: TrialEvent, story: tuple[str, ...] = ()) -> TrialState:
    """The state that follows `state` on `event`.

    Raises:
        InvalidTransition: The event is not allowed there.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise InvalidTransition(number, state.name, event.name, story) from None


_MASK = 0xFFFFFFFF


@functools.lru_cache(maxsize=8)
def _keys(root_seed: int) -> tuple[int, int]:
    digest = hashlib.blake2b(str(root_seed).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def trial_seed(root_seed: int, number: int) -> int:
    """Seed of a trial, 0 to 2**32 - 1: a function of the run's seed and the trial's number alone.

    It is a permutation of the numbers, chosen by `root_seed`, so that no two trials of a run share a seed.
    """
    first, second = _keys(root_seed)
    # Twice a bijection on 32-bit numbers that scatters neighbours: MurmurHash3's finalizer (Appleby, public domain).
    # Written out, because short trials are many.
    x = number & _MASK ^ first
    x ^= x >> 16
    x = x * 0x85EBCA6B & _MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & _MASK
    x = (x ^ x >> 16) + second & _MASK
    x ^= x >> 16
    x = x * 0x85EBCA6B & _MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & _MASK
    return x ^ x >> 16
