"""The driver in simulated worlds: any order of messages, failing trials, dying groups, ten thousand groups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpiens.driver import DriverConfig
from mpiens.trial import TrialState
from simulated import World


@given(
    seed=st.integers(0, 2**16),
    groups=st.integers(1, 7),
    points=st.integers(1, 40),
    batch=st.integers(0, 9),
    max_attempts=st.integers(1, 3),
    failing=st.sets(st.tuples(st.integers(0, 40), st.integers(1, 3))),
    elapsed_s=st.lists(st.sampled_from([1e-6, 1e-3, 0.04, 1.0]), min_size=1, max_size=5),
    is_adaptive=st.booleans(),
)
def test_every_trial_is_told_exactly_once(
    seed: int,
    groups: int,
    points: int,
    batch: int,
    max_attempts: int,
    failing: set[tuple[int, int]],
    elapsed_s: list[float],
    is_adaptive: bool,
) -> None:
    config = DriverConfig(points, groups, batch, max_attempts, is_adaptive=is_adaptive)
    world = World(
        config,
        points,
        seed,
        fail=lambda a: (a.number, a.attempt) in failing,
        elapsed_s=lambda a: elapsed_s[a.number % len(elapsed_s)],
    )
    driver = world.run()
    assert world.ended is not None
    assert world.ended.outcome == "complete"
    assert sorted(trial.number for trial in world.told) == list(range(points))
    for trial in world.told:
        fails = all((trial.number, attempt) in failing for attempt in range(1, max_attempts + 1))
        assert trial.state is (TrialState.FAIL if fails else TrialState.COMPLETE)
    assert sorted(world.records) == sorted(t.number for t in world.told if t.state is TrialState.FAIL)
    assert driver.tally.done == points
    if batch:
        assert [t.number for t in world.told] == list(range(points))
        assert all(size == batch for size in world.batches[:-1])


@given(seed=st.integers(0, 2**16), dying=st.sets(st.integers(0, 5)), max_attempts=st.integers(1, 3))
def test_lost_groups_lose_no_trial(seed: int, dying: set[int], max_attempts: int) -> None:
    world = World(DriverConfig(30, 6, max_attempts=max_attempts), 30, seed, lose=lambda group: group in dying)
    driver = world.run()
    assert world.ended is not None
    numbers = [trial.number for trial in world.told]
    assert len(numbers) == len(set(numbers))
    if len(dying) < 6:
        assert world.ended.outcome == "complete"
        assert sorted(numbers) == list(range(30))
    else:
        assert world.ended.outcome == "failed"
    assert set(driver.tally.lost_groups) <= dying


def test_ten_thousand_groups() -> None:
    world = World(DriverConfig(15_000, 10_000, max_attempts=2), 15_000, seed=1, check_invariants=False)
    driver = world.run()
    assert driver.tally.done == 15_000
    assert sorted(trial.number for trial in world.told) == list(range(15_000))
    assert world.deepest == 1
