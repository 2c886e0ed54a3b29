"""One suite over every sampler."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_weights

from mpiens.errors import MpiensError, SpecError
from mpiens.samplers import FinishedTrial, Past, PastTrial, Sampler, build_sampler
from mpiens.samplers.optuna.density import draw, log_density
from mpiens.samplers.optuna.rows import Rows, lowest, nearest_of_each
from mpiens.samplers.optuna.space import OptunaSpace
from mpiens.samplers.optuna.tpe import PreparedTPE
from mpiens.space import Range, parse_space
from mpiens.space.membership import admits
from mpiens.spec.schema import Spec
from mpiens.trial import TrialState

FOLDER = Path(__file__).parent
SPACE: dict[str, Any] = {
    "real": {"low": -1.0, "high": 1.0},
    "log": {"low": 1e-4, "high": 1.0, "log": True},
    "int": {"low": 1, "high": 9},
    "steps": {"low": 0.0, "high": 1.0, "step": 0.25},
    "kind": ["a", "b", "c"],
    "shape": [[1, 2], [3, 4]],
    "fixed": 7,
}
LISTED = {name: domain for name, domain in SPACE.items() if name not in ("real", "log")} | {
    "int": {"range": [1, 10, 1]}
}


@dataclass(frozen=True)
class Case:
    algorithm: str
    search: dict[str, Any] = field(default_factory=dict)
    total: int = 36
    space: dict[str, Any] = field(default_factory=lambda: SPACE)
    learns: bool = True
    needs_torch: bool = False

    def __str__(self) -> str:
        return "-".join([self.algorithm.rpartition(":")[2], *map(str, self.search.get("options", {}).values())])


CASES = [
    Case("brute_force", space=LISTED, learns=False),
    Case("random", learns=False),
    Case("qmc", learns=False),
    Case("qmc", {"options": {"qmc_type": "halton"}}, learns=False),
    Case("lhs", learns=False),
    Case("tpe"),
    Case("cmaes", {"options": {"popsize": 6}}),
    Case("nsga2", {"options": {"population_size": 8}}),
    Case("nsga3", {"options": {"population_size": 8}}),
    Case("nevergrad"),
    Case("nevergrad", {"options": {"optimizer": "CMA"}}),
    Case("bayesopt", {"options": {"init_points": 4}}, total=9),
    Case("hyperopt", {"options": {"n_startup_jobs": 10}}),
    Case("pymoo", {"batch": 6}),
    Case("gp", {"options": {"n_startup_trials": 6}}, total=10, needs_torch=True),
    Case("ax", {"options": {"init_points": 6}}, total=10, needs_torch=True),
    Case("own_sampler.py:Walk", space={k: v for k, v in SPACE.items() if k not in ("log", "fixed")}),
]
BATCH = 6


def over(*cases: Case) -> pytest.MarkDecorator:
    marked = [pytest.param(case, marks=pytest.mark.torch if case.needs_torch else (), id=str(case)) for case in cases]
    return pytest.mark.parametrize("case", marked)


EVERY = over(*CASES)


def make(case: Case, seed: int = 3, earlier: tuple[PastTrial, ...] = (), **search: Any) -> Sampler:
    settings = {"algorithm": case.algorithm, "objectives": {"loss": "minimize"}, "trials": case.total}
    spec = Spec.model_validate(
        {
            "name": "s",
            "seed": seed,
            "model": {"python": "m.py:f"},
            "space": case.space,
            "search": {**settings, **case.search, **search},
        }
    )
    return build_sampler(spec, parse_space(case.space, FOLDER), FOLDER, earlier)


def ending(number: int, params: dict[str, Any]) -> FinishedTrial:
    if number % 7 == 3:
        return FinishedTrial(number, TrialState.FAIL, ())
    loss = (params.get("real", 0.0) - 0.3) ** 2 + params["int"] / 10 + (params["kind"] == "b")
    return FinishedTrial(number, TrialState.COMPLETE, (loss,))


def play(
    sampler: Sampler, flying: int, batch: int, seed: int, renew: Callable[[Past], Sampler] | None = None
) -> list[dict[str, Any]]:
    """Points of a run whose trials end in random order, renewed now and then."""
    chance = random.Random(seed)
    points: list[dict[str, Any]] = []
    told: dict[int, FinishedTrial] = {}
    tells: list[tuple[int, int]] = []
    while len(told) < sampler.total:
        open_trials = [number for number in range(len(points)) if number not in told]
        ended = open_trials if batch or not open_trials else [chance.choice(open_trials)]
        told |= {number: ending(number, points[number]) for number in ended}
        tells += [(len(points), number) for number in ended]
        sampler.tell([told[number] for number in ended])
        if renew is not None and ended and (batch or len(told) % 5 == 2):
            past = [PastTrial(point, told.get(number)) for number, point in enumerate(points)]
            sampler = renew(Past(len(points), (), past, tells))
        wanted = batch if batch else flying - (len(points) - len(told))
        points += sampler.ask(wanted)
    return points


@EVERY
def test_the_same_seed_gives_the_same_points_of_the_space(case: Case) -> None:
    points = play(make(case), 3, case.search.get("batch", 0), 1)
    assert len(points) == case.total
    assert points == play(make(case), 3, case.search.get("batch", 0), 1)
    domains = parse_space(case.space, FOLDER).domains
    assert domains is not None
    for point in points:
        assert list(point) == list(domains) or point.keys() == domains.keys()
        assert msgpack.unpackb(msgpack.packb(point)) == point, "a point must be plain data"
        for name, domain in domains.items():
            assert admits(domain, point[name]), f"{name}: {point[name]!r}"
            if isinstance(domain, Range):
                assert type(point[name]) is (int if domain.is_int else float)
    assert points != play(make(case, seed=4), 3, case.search.get("batch", 0), 1)


@EVERY
@pytest.mark.parametrize("batch", [0, BATCH])
def test_a_sampler_that_was_restored_goes_on_as_one_that_never_stopped(case: Case, batch: int) -> None:
    if case.search.get("batch"):
        batch = case.search["batch"]

    def renew(past: Past) -> Sampler:
        fresh = make(case, batch=batch)
        assert fresh.restore(past) == {}
        return fresh

    undisturbed = play(make(case, batch=batch), 3, batch, 1)
    assert play(make(case, batch=batch), 3, batch, 1, renew) == undisturbed


@EVERY
def test_points_go_on_when_every_trial_fails(case: Case) -> None:
    sampler = make(case)
    asked = 0
    while asked < case.total:
        points = sampler.ask(case.search.get("batch", 2))
        assert points
        sampler.tell([FinishedTrial(asked + i, TrialState.FAIL, ()) for i in range(len(points))])
        asked += len(points)
    assert sampler.ask(1) == []


@over(*[case for case in CASES if case.algorithm != "brute_force"])
def test_start_points_come_first_and_are_learned_from(case: Case) -> None:
    point = {"real": 0.3, "log": 0.01, "int": 1, "steps": 0.5, "kind": "a", "shape": [3, 4], "fixed": 7}
    point = {name: value for name, value in point.items() if name in case.space}
    sampler = make(case, start=[point, {**point, "int": 2}])
    first = sampler.ask(case.search.get("batch", 3))
    assert first[:2] == [point, {**point, "int": 2}]
    sampler.tell([ending(number, params) for number, params in enumerate(first)])
    assert len(sampler.ask(case.search.get("batch", 3))) >= 1


@over(*[case for case in CASES if case.learns and case.algorithm != "pymoo"])
def test_trials_of_earlier_runs_are_taken_in(case: Case) -> None:
    base = {"real": 0.0, "log": 0.01, "int": 1, "steps": 0.5, "kind": "a", "shape": [3, 4], "fixed": 7}
    rows = [{**base, "real": x / 10} for x in range(-9, 10)]
    rows = [{name: value for name, value in row.items() if name in case.space} for row in rows]
    earlier = tuple(PastTrial(row, ending(0, row)) for row in rows)
    foreign = (PastTrial({"elsewhere": 1.0}, FinishedTrial(0, TrialState.COMPLETE, (0.0,))),)
    batch = case.search.get("batch", 0)
    points = play(make(case, earlier=earlier + foreign), 3, batch, 1)
    assert points == play(make(case, earlier=earlier + foreign), 3, batch, 1)
    assert len(points) == case.total


@EVERY
def test_an_unknown_option_is_refused_and_the_nearest_named(case: Case) -> None:
    with pytest.raises(SpecError, match="no such option") as caught:
        make(case, options={**case.search.get("options", {}), "algorithn": 1})
    assert caught.value.key == "search.options.algorithn"
    if case.algorithm == "pymoo":
        assert "did you mean 'algorithm'?" in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "options", "expected"),
    [
        ("cmaes", {"popsize": "many"}, "expected a whole number, found 'many'"),
        ("tpe", {"n_ei_candidates": -1}, "expected a whole number from 0 on, found -1"),
        ("tpe", {"window": 3}, "expected 0 for all trials"),
        ("nsga2", {"population_size": 1}, "refuses these options"),
        ("qmc", {"qmc_type": "sobel"}, "did you mean 'sobol'?"),
        ("lhs", {"strength": 7}, "refuses these options"),
        ("nevergrad", {"optimizer": "NGOp"}, "did you mean 'NGOpt'?"),
        ("bayesopt", {"kind": "uct"}, "did you mean 'ucb'?"),
        ("hyperopt", {"algo": "tpee"}, "did you mean 'tpe'?"),
        ("ax", {"method": "quick"}, "expected one of fast, quality"),
        ("ax", {"window": 3}, "from 20 on"),
        ("pymoo", {"algorithm": "NSGA3"}, "expected one of"),
        ("pymoo", {"pop_size": 5}, "batch: 6"),
        ("own_sampler.py:Walk", {"reach": "far", "walk": 1}, "no such option"),
        ("qmc", {"qmc_type": ["sobol"]}, "expected one of sobol, halton, found ['sobol']"),
        ("nevergrad", {"optimizer": ["DE"]}, "['DE'] is no optimizer"),
        ("bayesopt", {"kappa": float("nan")}, "expected a finite number, found nan"),
        ("bayesopt", {"init_points": float("inf")}, "expected a whole number from 1 on, found inf"),
        ("bayesopt", {"kind": True}, "expected one of ucb, ei, poi, found true"),
        ("hyperopt", {"algo": {"tpe": 1}}, "expected one of tpe, anneal, rand"),
        ("pymoo", {"algorithm": ["GA"]}, "expected one of GA, DE"),
        ("pymoo", {"algorithm": "DE", "variant": "best"}, "refuses these options"),
        ("pymoo", {"sampling": "even"}, "refuses these options"),
        ("pymoo", {"n_offsprings": 0}, "refuses these options"),
    ],
)
def test_options_that_a_library_refuses(algorithm: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        make(Case(algorithm, {"batch": 6}), options=options)
    assert expected in str(caught.value)
    assert (caught.value.key or "").startswith("search.options")


@pytest.mark.parametrize("algorithm", ["tpe", "cmaes", "nsga2", "lhs", "random"])
def test_a_space_of_fixed_values_has_one_point(algorithm: str) -> None:
    assert make(Case(algorithm, space={"x": 1.0, "y": "a"})).ask(3) == [{"x": 1.0, "y": "a"}] * 3


@pytest.mark.parametrize("algorithm", ["nevergrad", "bayesopt", "hyperopt", "pymoo"])
def test_a_space_of_fixed_values_is_refused_where_a_library_cannot_take_it(algorithm: str) -> None:
    with pytest.raises(SpecError, match=f"one value only, and {algorithm} has nothing to search"):
        make(Case(algorithm, {"batch": 6}, space={"x": 1.0, "y": "a"}))


def test_what_optuna_has_drawn_is_found_again_from_the_point() -> None:
    space = OptunaSpace(parse_space({"shape": [[1, 2], [3], [1.0, 2], [True, 2], [3]]}, FOLDER).searchable())
    choices = space.distributions["shape"].choices  # type: ignore[attr-defined]
    assert [space.drawn(space.point({"shape": choice})) for choice in choices] == [{"shape": c} for c in choices]
    assert [space.point({"shape": choice})["shape"] for choice in choices] == [[1, 2], [3], [True, 2]]


def test_a_sampler_of_ones_own_must_give_plain_data() -> None:
    def given(value: Any) -> Any:
        space = {"x": [0.5, [1.0, 2.0]]}
        case = Case("own_sampler.py:Given", {"options": {"value": value}}, space=space)
        return make(case).ask(1)[0]["x"]

    assert given(np.float64(0.5)) == 0.5
    assert given(np.array([1.0, 2.0])) == [1.0, 2.0]
    with pytest.raises(MpiensError, match=r"Given: ask gave 'x' a value that is no plain data: \[<object"):
        given([object()])


def test_a_window_changes_nothing_while_all_trials_fit_into_it() -> None:
    case = Case("tpe", total=60)
    assert play(make(case), 3, 0, 1) == play(make(case, options={"window": 0}), 3, 0, 1)
    assert play(make(case), 3, 0, 1) != play(make(case, options={"window": 20}), 3, 0, 1)


def test_a_bounded_sampler_is_shown_no_more_than_its_window() -> None:
    sampler = make(Case("tpe", total=10**6), options={"window": 40})
    point = sampler.ask(1)[0]
    past = [
        PastTrial({**point, "real": n / 5000}, FinishedTrial(n, TrialState.COMPLETE, (float(n % 97),)))
        for n in range(5000)
    ]
    fresh = make(Case("tpe", total=10**6), options={"window": 40})
    fresh.restore(Past(len(past), (), past))
    rows = fresh._rows  # type: ignore[attr-defined]
    points = rows.good()[[2, 5]]
    shown, column = rows.others(points, with_running=True).rows, list(rows.space).index("real")
    good, others = (np.rint(some[:, column] * 5000).astype(int).tolist() for some in (rows.good(), shown))
    assert good == [97 * n for n in range(10)], "the best ones"
    assert len(others) == 30
    assert set(others) >= {4996, 4997, 4998, 4999}, "the recent ones"
    near = [n for n in others if min(abs(n - 97 * 2), abs(n - 97 * 5)) <= 5]
    assert len(near) == 20, "those near the points"
    assert min(set(others) - set(near)) < 2500 < max(set(others) - set(near) - set(range(4996, 5000))), "a sample"
    assert len(fresh._storage.trials) == 0  # type: ignore[attr-defined]


def test_the_lowest_are_found_whatever_their_number() -> None:
    chance = np.random.default_rng(1)
    for count, most in itertools.product((5, 40, 700, 20000), (0, 1, 7, 100, 500)):
        lots = chance.permutation(count) * 1.0
        far = np.where(chance.random(count) < 0.5, np.inf, chance.random(count))
        for values in (chance.random(count), chance.integers(0, 5, count) * 1.0, far):
            expected = np.lexsort((lots, values))[:most]
            found = lowest(values, lots, most)
            assert len(found) == len(expected)
            assert count <= most or set(found.tolist()) == set(expected.tolist())


def test_the_nearest_of_each_row_are_found_whatever_their_number() -> None:
    chance = np.random.default_rng(1)
    for count, most in itertools.product((5, 40, 700, 4000), (1, 7, 100)):
        lots = chance.permutation(count) * 1.0
        skewed = chance.random((6, count))
        skewed[:, ::8] += 1  # those that tell where the limit must lie are the largest
        for values in (chance.random((6, count)), chance.integers(0, 5, (6, count)) * 1.0, skewed, -skewed):
            expected = {place for row in values for place in np.lexsort((lots, row))[:most].tolist()}
            assert nearest_of_each(values, lots, most).tolist() == sorted(expected)


def test_what_is_shown_does_not_depend_on_the_order_of_the_trials() -> None:
    space = {"x": FloatDistribution(1e-3, 1, log=True), "c": CategoricalDistribution("ab"), "n": IntDistribution(0, 3)}
    chance = random.Random(1)
    trials = [
        (n, {"x": chance.uniform(1e-3, 1), "c": chance.choice("ab"), "n": chance.randint(0, 3)}, float(n % 31))
        for n in range(300)
    ]
    shown = []
    for looks in (False, True):
        rows = Rows(space, 100, 128)
        points = np.array([[0, 2, 0.01], [1, 0, 0.2]])
        for number, params, value in trials:
            rows.start(number, params)
            rows.finish(number, (value,))
            if looks and number % 7 == 0:
                rows.others(points, with_running=True)
        chance.shuffle(trials)
        shown.append([rows.good(), *rows.others(points, with_running=True)])
    for one, other in zip(*shown, strict=True):
        assert np.array_equal(one, other)


def test_what_tpe_is_told_is_what_it_would_find_out_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("tpe", {"options": {"window": 0}}, total=70)
    prepared = play(make(case), 5, 0, 1)
    monkeypatch.setattr("mpiens.samplers.optuna.sampler._is_joint", lambda _: False)
    for own, optunas in zip(prepared, play(make(case), 5, 0, 1), strict=True):
        assert own == {n: pytest.approx(v, rel=1e-6) if isinstance(v, float) else v for n, v in optunas.items()}


_SPACE: dict[str, Any] = {
    "real": FloatDistribution(-2, 2),
    "log": FloatDistribution(1e-4, 1, log=True),
    "steps": FloatDistribution(0, 1, step=0.25),
    "int": IntDistribution(1, 9),
    "log_int": IntDistribution(1, 1000, log=True),
    "kind": CategoricalDistribution(("a", "b", "c")),
}


def test_the_density_of_a_mixture_is_that_of_optuna() -> None:
    for count in (0, 1, 300):
        estimate = TPESampler()._parzen_estimator_cls(_drawn(_SPACE, count), _SPACE, _PARAMETERS)
        points = _drawn(_SPACE, 50)
        rows = np.array(list(points.values())).T
        expected = estimate.log_pdf(points)
        assert np.allclose(log_density(estimate._mixture_distribution, rows), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("space", [_SPACE, {"kind": _SPACE["kind"]}, {"real": _SPACE["real"]}])
def test_points_drawn_from_a_mixture_are_those_of_optuna(space: dict[str, Any], count: int) -> None:
    estimate = TPESampler()._parzen_estimator_cls(_drawn(space, count), space, _PARAMETERS)
    expected = estimate.sample(np.random.RandomState(3), 2000)
    drawn = draw(estimate._mixture_distribution, np.random.RandomState(3), 2000)
    assert np.allclose(drawn, np.array([expected[name] for name in space]).T, rtol=1e-7, atol=1e-9)


def test_points_drawn_from_narrow_kernels_at_a_bound_lie_within_it() -> None:
    for low, high in ((0.0, 1.0), (-1.0, 0.0)):
        space: dict[str, Any] = {"x": FloatDistribution(low, high)}
        estimate = TPESampler()._parzen_estimator_cls({"x": np.zeros(5)}, space, _PARAMETERS)
        mixture = estimate._mixture_distribution
        kernels = mixture.distributions[0]._replace(sigma=np.full(6, 1e-12))
        narrow = mixture._replace(distributions=[kernels], weights=np.array([0.2] * 5 + [0.0]))
        drawn = draw(narrow, np.random.RandomState(1), 1000)
        assert ((low <= drawn) & (drawn <= high)).all()
        assert 1e-13 < np.abs(drawn).mean() < 1e-11


_PARAMETERS = TPESampler()._parzen_estimator_parameters


def _drawn(space: dict[str, Any], count: int) -> dict[str, np.ndarray]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=count))
    points = [study.ask(space).params for _ in range(count)]
    return {name: np.array([d.to_internal_repr(p[name]) for p in points], dtype=float) for name, d in space.items()}


def test_the_weights_of_a_window_are_those_of_all_trials() -> None:
    rows = Rows({"x": FloatDistribution(0, 1)}, 300, 128)
    chance = random.Random(1)
    for number in range(5000):
        rows.start(number, {"x": number / 5000})
        rows.finish(number, (chance.random(),))
    rows.start(5000, {"x": 1.0})
    parts = rows.others(np.array([[0.3], [0.8]]), with_running=True)
    assert len(rows.good()) == 25
    assert len(parts.rows) == len(parts.weights) == 300 - 25 + 1
    assert parts.weights[-25:].tolist() == [1.0] * 25
    whole = default_weights(5000 - 25 + 1)
    assert parts.weights.sum() == pytest.approx(whole.sum(), rel=0.15)
    middle = np.average(parts.rows[:, 0], weights=parts.weights)
    assert middle == pytest.approx(np.average(np.linspace(0, 1, len(whole)), weights=whole), abs=0.08)


def test_a_window_hardly_changes_what_is_chosen() -> None:
    """Where trials are dense a good place is an empty one, and a trial that is not shown would seem to leave one."""
    space = {name: FloatDistribution(-1, 1) for name in "abcd"}
    table = np.random.default_rng(1).normal(0, 0.08, (2000, 4)).clip(-1, 1)
    chosen = []
    for size in (0, 300):
        rows = Rows(space, size, 128)
        for number, row in enumerate(table.tolist()):
            rows.start(number, dict(zip("abcd", row, strict=True)))
            rows.finish(number, (sum(x * x for x in row),))
        chosen.append([])
        for seed in range(40):
            sampler = PreparedTPE(seed=seed, multivariate=True)
            sampler.rows = rows
            chosen[-1].append(sampler.sample_relative(optuna.create_study(), None, rows.space))  # type: ignore[arg-type]
    assert len({tuple(point.values()) for point in chosen[0]}) == 40
    assert sum(one == other for one, other in zip(*chosen, strict=True)) >= 32
