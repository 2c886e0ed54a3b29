"""What netpyne.batchtools does to a configuration, without a simulation."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from mpiens.models import dotted
from mpiens.models.batchtools import UnmatchedItem, _merge
from mpiens.models.session import Session


class Cfg(dict[str, Any]):
    """Attributes and items are the same, as in NetPyNE's SimConfig."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


def test_update_merges_mappings_and_lists() -> None:
    cfg = {"a": 1, "nest": {"x": 1, "y": {"z": 2}}, "items": [1, {"w": 3}]}
    _merge(cfg, {"a": 2, "nest": {"y": {"z": 5}}, "items": {0: 7, "1": {"w": 4}}, "new": {"k": 1}}, False)
    assert cfg == {"a": 2, "nest": {"x": 1, "y": {"z": 5}}, "items": [7, {"w": 4}], "new": {"k": 1}}


@pytest.mark.parametrize("update", [{"b": 1}, {"nest": {"u": 1}}, {"items": {2: 1}}])
def test_force_match_wants_items_that_are_there(update: dict[str, Any]) -> None:
    cfg = {"a": 1, "nest": {"x": 1}, "items": [1, 2]}
    with pytest.raises(UnmatchedItem, match="force_match") as caught:
        _merge(cfg, update, True)
    assert isinstance(caught.value, AttributeError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - made a line above


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("nmda.PYR->BC", 2.0, {"nmda": {"PYR->BC": 2.0, "AMPA.fast": 1}}),
        ("nmda.AMPA.fast", 5, {"nmda": {"PYR->BC": 1.0, "AMPA.fast": 5}}),
        ("xn.1", 9, {"xn": [1, 9]}),
        ("xn", (3, 4), {"xn": (3, 4)}),
        ("pops.1.rate", 30, {"pops": [{"rate": 1}, {"rate": 30}]}),
        ("table.2", "x", {"table": {2: "x"}}),
    ],
)
def test_paths_of_parameters(path: str, value: Any, expected: dict[str, Any]) -> None:
    cfg = Cfg(
        nmda={"PYR->BC": 1.0, "AMPA.fast": 1}, xn=[1, 2], pops=[{"rate": 1}, {"rate": 2}], table={2: "y"}, seeds={}
    )
    before = dict(cfg)
    session = Session({path: value}, 4, Path("/run/trials/4"))
    session.update(cfg)
    assert not session.unapplied
    assert {name: cfg[name] for name in before} == before | expected
    assert session.mappings == {"saveFolder": "/run/trials/4", "simLabel": "trial_4", path: value}
    assert cfg.simLabel == "trial_4"


def test_a_list_of_values_is_the_trials_own() -> None:
    cfg, params = Cfg(xn=[1], seeds={}), {"xn": [1, 2]}
    Session(params, 0, Path("/run")).update(cfg)
    cfg["xn"].append(3)
    assert params == {"xn": [1, 2]}


def test_a_path_that_is_not_there_is_no_new_item() -> None:
    with pytest.raises(dotted.UnknownPath, match=r"did you mean 'pops.0.rate'"):
        dotted.assign({"pops": [{"rate": 1}]}, "pops.0.rat", 2)
