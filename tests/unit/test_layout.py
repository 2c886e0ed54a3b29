"""Who does what in a world of N ranks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiens.errors import LayoutError
from mpiens.layout import plan


def test_one_rank_does_everything() -> None:
    layout = plan(1)
    assert layout.is_serial
    assert layout.groups == ((0,),)
    assert layout.warnings == ()


def test_one_rank_runs_groups_of_one_and_says_so() -> None:
    layout = plan(1, group_size=4)
    assert layout.groups == ((0,),)
    assert "groups.size: 4 needs 5 ranks" in layout.warnings[0]


def test_five_ranks_make_two_groups_of_two() -> None:
    layout = plan(5, group_size=2)
    assert layout.groups == ((1, 2), (3, 4))
    assert layout.idle == ()
    assert [layout.group_of(rank) for rank in range(5)] == [None, 0, 0, 1, 1]
    assert layout.describe() == "rank 0: driver and writer\nranks 1 and 2: group 0\nranks 3 and 4: group 1"


def test_left_over_ranks_are_named() -> None:
    layout = plan(10, group_size=4)
    assert layout.idle == (9,)
    assert layout.warnings == (
        "groups.size: 4 does not divide the 9 worker ranks; rank 9 stays idle; sizes that do: 1, 3, 9",
    )


def test_writers_stand_between_driver_and_groups() -> None:
    layout = plan(8, group_size=2, writers=1)
    assert layout.writers == (1,)
    assert layout.groups == ((2, 3), (4, 5), (6, 7))


def test_max_concurrent_limits_the_groups() -> None:
    layout = plan(9, group_size=2, max_concurrent=3)
    assert len(layout.groups) == 3
    assert layout.idle == (7, 8)
    assert "max_concurrent" in layout.warnings[0]


@pytest.mark.parametrize(("world", "size", "needed"), [(2, 2, 3), (4, 4, 5), (3, 8, 9)])
def test_too_few_ranks_is_an_error_that_says_how_many(world: int, size: int, needed: int) -> None:
    with pytest.raises(LayoutError, match=f"needs at least {needed} ranks") as error:
        plan(world, size)
    assert f"this world has {world}" in str(error.value)
    assert error.value.exit_status == 2


@given(st.integers(2, 200), st.integers(1, 20), st.integers(0, 5), st.integers(1, 50) | st.none())
def test_every_rank_has_exactly_one_part(world: int, size: int, writers: int, most: int | None) -> None:
    if world - 1 - writers < size:
        with pytest.raises(LayoutError):
            plan(world, size, writers, most)
        return
    layout = plan(world, size, writers, most)
    parts = [0, *layout.writers, *(rank for group in layout.groups for rank in group), *layout.idle]
    assert sorted(parts) == list(range(world))
    assert {len(group) for group in layout.groups} == {size}
    assert bool(layout.idle) <= bool(layout.warnings)
