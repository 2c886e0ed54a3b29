"""Dotted paths into nested values."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mpiens.models.dotted import UnknownPath, assign, exists, nearest


def make():
    return SimpleNamespace(
        duration=1.0,
        nmda={"PYR->BC": 1, "a.b": 2},
        xn=[1, 2],
        pops=[{"rate": 5}],
        by_number={3: "x"},
        fixed=(1, 2),
        vector=np.zeros(3),
    )


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("duration", lambda cfg: cfg.duration),
        ("nmda.PYR->BC", lambda cfg: cfg.nmda["PYR->BC"]),
        ("nmda.a.b", lambda cfg: cfg.nmda["a.b"]),
        ("xn.1", lambda cfg: cfg.xn[1]),
        ("pops.0.rate", lambda cfg: cfg.pops[0]["rate"]),
        ("by_number.3", lambda cfg: cfg.by_number[3]),
        ("vector.2", lambda cfg: cfg.vector[2]),
    ],
)
def test_assign(path, read):
    cfg = make()
    assign(cfg, path, 9)
    assert read(cfg) == 9


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("nmda.PYR->BX", "did you mean 'nmda.PYR->BC'?"),
        ("xn.2", "the list has 2 items"),
        ("fixed.0", "a tuple"),
        ("durations", "'duration'"),
    ],
)
def test_unknown_paths_change_nothing(path, hint):
    cfg = make()
    with pytest.raises(UnknownPath, match="there is no") as caught:
        assign(cfg, path, 9)
    assert hint in str(caught.value)
    assert cfg.nmda == make().nmda and cfg.xn == [1, 2] and not hasattr(cfg, "durations")


def test_a_copy_is_stored():
    cfg, value = make(), [3, 4]
    assign(cfg, "xn", value)
    assert cfg.xn == value
    assert cfg.xn is not value


def test_exists_and_nearest():
    assert exists(make(), "pops.0.rate")
    assert not exists(make(), "pops.0.rat")
    assert nearest(make(), "pops.0.rat") == "pops.0.rate"
    assert nearest(make(), "zzzzzzzz") is None
