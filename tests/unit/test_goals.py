"""The front against a comparison of every pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpiens.driver.tally import Best, Tally
from mpiens.goals import CONSTRAINT, Goals, dominates, front

CELLS = st.sampled_from([-1.0, 0.0, 1.0, 2.0, float("nan")])


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.tuples(
            st.lists(st.sampled_from(["minimize", "maximize"]), min_size=width, max_size=width),
            st.lists(st.lists(CELLS, min_size=width + 1, max_size=width + 1), max_size=12),
        )
    )
)
def test_the_front_is_what_no_other_feasible_row_dominates(case: tuple[list[str], list[list[float]]]) -> None:
    directions, rows = case
    goals = Goals.of({**{f"o{i}": d for i, d in enumerate(directions)}, "c": CONSTRAINT})
    assert goals == Goals(tuple(directions), 1)
    values = np.array(rows).reshape(len(rows), len(directions) + 1)
    counts = [i for i, row in enumerate(rows) if not np.isnan(row).any() and goals.is_feasible(row)]
    losses = {i: goals.losses(rows[i]) for i in counts}
    expected = [i for i in counts if not any(dominates(losses[j], losses[i]) for j in counts)]
    assert front(goals, values).tolist() == expected
    tally = Tally(len(rows))
    for i in counts:
        tally.note(Best(i, tuple(rows[i]), {}), goals)
    if len(directions) > 1:
        assert sorted(best.number for best in tally.front) == expected
    else:
        assert (tally.best.number if tally.best else None) == (expected[0] if expected else None)
