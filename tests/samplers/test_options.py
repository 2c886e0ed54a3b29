"""Options of samplers and pruners: what a library would take silently, or fail at late, is refused before a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mpiens.errors import SpecError
from mpiens.runtime.order import Order
from mpiens.runtime.prepare import make_pruner, make_sampler, read_spec
from project import completed, mpiens, write_project

SPACE = {"x": {"low": -2.0, "high": 2.0}, "y": {"low": -1.0, "high": 3.0}}
SEARCH: dict[str, Any] = {"algorithm": "tpe", "trials": 24, "objectives": {"loss": "minimize"}}
OWN = """
from __future__ import annotations
from typing import Literal, TYPE_CHECKING
if TYPE_CHECKING:
    from numpy import ndarray

class Own:
    def __init__(self, space, seed, width: float = 1.0, kind: Literal["a", "b"] = "a", sizes: tuple[int, ...] = (),
                 start: ndarray | None = None, free=3):
        pass
    def ask(self, n): return []
    def tell(self, trials): pass
"""

REFUSED = [
    ("tpe", {"n_startup_trials": -1}, "n_startup_trials: expected a whole number from 0 on, found -1"),
    ("tpe", {"n_startup_trials": 2.0}, "n_startup_trials: expected a whole number, found 2.0"),
    ("tpe", {"multivariate": "x"}, "multivariate: expected true or false, found 'x'"),
    ("tpe", {"multivariate": 1}, "multivariate: expected true or false, found 1"),
    ("tpe", {"prior_weight": float("inf")}, "prior_weight: expected finite numbers, found inf"),
    (
        "tpe",
        {"prior_weight": -1.0},
        "prior_weight: tpe cannot work with these options (prior_weight: -1.0): ValueError",
    ),
    ("tpe", {"seed": 5}, "seed: tpe has no such option: its seed is made from `seed` of the spec"),
    ("cmaes", {"popsize": 1}, "popsize: cmaes cannot work with these options (popsize: 1): "),
    ("lhs", {"strength": 2}, "strength: lhs refuses these options (strength: 2): "),
    ("tpe", {"gamma": 3}, "gamma: takes an object of Python, which a spec cannot hold, found 3"),
    (
        "tpe",
        {"n_startup_trials": 500, "n_ei_candidates": 0},
        "options: tpe cannot work with these options (n_startup_trials: 500, n_ei_candidates: 0): ValueError",
    ),
    ("cmaes", {"sigma0": 0}, "sigma0: expected a number above 0, found 0"),
    ("cmaes", {"sigma0": "wide"}, "sigma0: expected a number, found 'wide'"),
    ("cmaes", {"x0": 3}, "x0: expected a mapping, found 3"),
    ("cmaes", {"restart_strategy": "ipop"}, "restart_strategy: Optuna does nothing with it any more; remove it"),
    ("nsga2", {"mutation_prob": 7.0}, "nsga2 refuses these options (mutation_prob: 7.0): `mutation_prob` must be"),
    ("nsga2", {"crossover": "uniform"}, "crossover: takes an object of Python, which a spec cannot hold"),
    ("nsga2", {"after_trial_strategy": "f"}, "after_trial_strategy: takes an object of Python"),
    ("nsga3", {"dividing_parameter": 0}, "nsga3 cannot work with these options (dividing_parameter: 0): IndexError"),
    ("hyperopt", {"n_startup_jobs": -2}, "n_startup_jobs: expected a whole number from 0 on, found -2"),
    ("hyperopt", {"gamma": -0.5}, "gamma: expected a number above 0, found -0.5"),
    (
        "hyperopt",
        {"n_EI_candidates": 0},
        "hyperopt refuses these options (n_EI_candidates: 0): list index out of range",
    ),
    ("lhs", {"scramble": "maybe"}, "scramble: expected true or false, found 'maybe'"),
    ("lhs", {"optimization": "loyd"}, "expected random-cd or lloyd, found 'loyd'; did you mean 'lloyd'?"),
    ("qmc", {"scramble": "maybe"}, "scramble: expected true or false, found 'maybe'"),
    ("nevergrad", {"optimizer": "Cobyla"}, "Cobyla asks for a point only when it knows what came of the one before"),
    ("pymoo", {"algorithm": "PSO", "w": "x"}, "w: expected a number, found 'x'"),
    ("own.py:Own", {"width": "x"}, "width: expected a number, found 'x'"),
    ("own.py:Own", {"kind": "c"}, "kind: expected a or b, found 'c'"),
    ("own.py:Own", {"sizes": [1, "b"]}, "sizes: expected a list, found [1, 'b']"),
]
TAKEN = [
    ("tpe", {"multivariate": False, "n_startup_trials": 0, "gamma": None, "prior_weight": 1}),
    ("tpe", {"consider_magic_clip": False, "consider_prior": True, "group": True, "multivariate": True}),
    ("cmaes", {"sigma0": 0.5, "x0": {"x": 1, "y": 0.5}, "inc_popsize": -1, "lr_adapt": True}),
    ("nsga2", {"population_size": 200, "mutation_prob": None}),
    ("lhs", {"optimization": None, "strength": 1}),
    ("own.py:Own", {"width": -1, "kind": "b", "sizes": [1, 2], "start": [0.5], "free": "x"}),
]
PRUNERS = [
    ({"name": "median", "n_startup_trials": -1}, "n_startup_trials: expected a whole number from 0 on, found -1"),
    ({"name": "median", "n_warmup_steps": 1.5}, "n_warmup_steps: expected a whole number, found 1.5"),
    ({"name": "threshold", "lower": "a"}, "lower: expected a number, found 'a'"),
    ({"name": "hyperband", "max_resource": "some"}, "refuses these options (max_resource: 'some'): The 'max_resource'"),
    (
        {"name": "hyperband", "reduction_factor": 1},
        "reduction_factor: hyperband cannot work with these options (reduction_",
    ),
    (
        {"name": "patient", "patience": 1, "wrapped_pruner": {"name": "median", "interval_steps": "x"}},
        "wrapped_pruner.interval_steps: expected a whole number, found 'x'",
    ),
]


def _build(folder: Path, overrides: tuple[str, ...] = (), **search: Any) -> None:
    batch = {"batch": 8} if search.get("algorithm") == "pymoo" else {}
    spec = write_project(folder, space=SPACE, search=SEARCH | batch | search)
    (folder / "own.py").write_text(OWN)
    loaded = read_spec(Order(spec, None, overrides=overrides))
    make_sampler(loaded)
    make_pruner(loaded)


@pytest.mark.parametrize(("algorithm", "options", "words"), REFUSED)
def test_options_that_are_refused(algorithm: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _build(tmp_path, algorithm=algorithm, options=options)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'spec.yaml'}:{caught.value.line}: search.options")


@pytest.mark.parametrize(("pruner", "words"), PRUNERS)
def test_options_of_pruners_that_are_refused(pruner: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _build(tmp_path, pruner=pruner)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'spec.yaml'}:{caught.value.line}: search.pruner")


@pytest.mark.parametrize(("algorithm", "options"), TAKEN)
def test_options_that_are_taken(algorithm: str, options: dict[str, Any], tmp_path: Path) -> None:
    _build(tmp_path, algorithm=algorithm, options=options)  # warnings are errors here


@pytest.mark.parametrize(
    ("algorithm", "library"),
    [
        ("nevergrad", "nevergrad"),
        ("bayesopt", "bayes_opt"),
        ("hyperopt", "hyperopt"),
        ("pymoo", "pymoo"),
        ("gp", "torch"),
        ("ax", "ax"),
    ],
)
def test_a_library_that_is_not_installed(
    algorithm: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SpecError) as caught:
        _build(tmp_path, algorithm=algorithm)
    words = f"search.algorithm: {algorithm} needs a library that is not installed"
    assert str(caught.value).startswith(f"{tmp_path / 'spec.yaml'}:{caught.value.line}: {words}")
    assert str(caught.value).endswith(f": pip install 'mpiens[{algorithm}]'")


def test_a_threshold_may_be_below_zero(tmp_path: Path) -> None:
    _build(tmp_path, pruner={"name": "threshold", "lower": -3, "n_warmup_steps": 0})


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (("search.options={n_startup_trials: -1}",), "--set search.options={n_startup_trials: -1}: "),
        (("search.options={}", "search.options.prior_weight=-1.0"), "--set search.options.prior_weight=-1.0: "),
        (("search.options.crossover=x", "search.algorithm=nsga2"), "--set search.options.crossover=x: "),
        (("search.from=model.py",), "--set search.from=model.py: "),
    ],
)
def test_an_error_in_an_override_names_it(overrides: tuple[str, ...], place: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _build(tmp_path, overrides)
    assert str(caught.value).startswith(place)


def test_an_error_that_an_override_makes_in_what_the_file_says(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec.yaml:\d+: search.options: .* \(with --set search.options.prior_weight="):
        _build(tmp_path, ("search.options.prior_weight=-1.0",), options={"n_startup_trials": 3})


def test_what_optuna_warns_of_is_not_on_the_terminal(tmp_path: Path) -> None:
    options = {"consider_magic_clip": False, "multivariate": True, "group": True, "n_startup_trials": 2}
    space = SPACE | {"no step hits its end": {"low": 1, "high": 10, "step": 4}}
    spec = write_project(tmp_path, space=space, search=SEARCH | {"trials": 4, "options": options, "pruner": "median"})
    assert "Warning" not in completed(0, "validate", spec)
    done = mpiens(0, "run", spec)
    assert done.returncode == 0
    assert "Warning" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("earlier", "words"),
    [
        ("model.py", "its results.h5; an Optuna study's name ends in .db or .sqlite or"),
        (".", "no results.h5 in this folder; expected the directory of a run"),
        ("spec.db", "cannot be read as an Optuna study"),
        ("none.run", "no such run or study"),
    ],
)
def test_what_is_no_earlier_run(earlier: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "spec.db").write_text("name: x")
    spec = write_project(tmp_path, space=SPACE, search=SEARCH | {"from": earlier})
    done = mpiens(0, "validate", spec)
    assert done.returncode == 2
    assert f"{spec}:" in done.stderr
    assert f"search.from: {tmp_path}" in done.stderr
    assert words in done.stderr
