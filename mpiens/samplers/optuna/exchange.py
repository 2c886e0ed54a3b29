"""Runs as Optuna studies in an SQLite file, and back: what optuna-dashboard and other programs open."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from mpiens.errors import StoreError
from mpiens.record import Params
from mpiens.samplers.optuna.space import OptunaSpace
from mpiens.space import Choices, Fixed, Space

_PLAIN = (bool, int, float, str)


class Row(NamedTuple):
    """A finished trial.

    Attributes:
        state: COMPLETE, PRUNED or FAIL.
        params: Its point.
        values: Objectives; empty unless COMPLETE.
        constraints: Constraints; empty unless COMPLETE.
        started_s: Start, in seconds since 1970 (UTC).
        elapsed_s: How long it ran.
        notes: What else is known of it, plain values by name.
        reports: What it has reported: value by step.
    """

    state: str
    params: Params
    values: tuple[float, ...]
    constraints: tuple[float, ...]
    started_s: float
    elapsed_s: float
    notes: Mapping[str, Any]
    reports: Mapping[int, float] = MappingProxyType({})


def write_study(path: Path, name: str, directions: Mapping[str, str], space: Space, rows: Sequence[Row]) -> None:
    """Make an SQLite file with one study of these trials, in their order.

    Values that Optuna does not know, such as lists, stand there as JSON.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{path}",
        study_name=name,
        directions=[optuna.study.StudyDirection[direction.upper()] for direction in directions.values()],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(directions))
    distributions = _distributions(space, [row.params for row in rows])
    for number, row in enumerate(rows):
        study.add_trial(_trial(number, row, distributions))


def _trial(number: int, row: Row, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    drawn = {name: _plain(row.params[name]) for name in distributions if name in row.params}
    start = datetime.fromtimestamp(row.started_s)
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState[row.state],
        value=None,
        values=_values(row),
        datetime_start=start,
        datetime_complete=datetime.fromtimestamp(row.started_s + row.elapsed_s),
        params=drawn,
        distributions={name: distributions[name] for name in drawn},
        user_attrs=dict(row.notes),
        system_attrs={"constraints": list(row.constraints)} if row.constraints else {},
        intermediate_values=dict(row.reports),
    )


def _values(row: Row) -> list[float] | None:
    """The objectives; as in Optuna, the last report stands for that of a trial that was pruned."""
    last = row.reports[max(row.reports)] if row.state == "PRUNED" and row.reports else math.nan
    return list(row.values) or ([last] if math.isfinite(last) else None)


def _distributions(space: Space, points: Sequence[Params]) -> dict[str, BaseDistribution]:
    made: dict[str, BaseDistribution] = {}
    ranges = {}
    if space.domains is not None:
        ranges = {n: d for n, d in space.domains.items() if not isinstance(d, Choices | Fixed)}
        made |= OptunaSpace(ranges).distributions
    for name in space.names:
        if name not in ranges:
            seen = {json.dumps(_plain(p[name])): _plain(p[name]) for p in points if name in p}
            made[name] = CategoricalDistribution(tuple(seen.values()))
    return {name: made[name] for name in space.names}


def _plain(value: Any) -> Any:
    return value if isinstance(value, _PLAIN) else json.dumps(value)


def read_study(
    path: Path, directions: Mapping[str, str], constraints: Sequence[str], space: Space
) -> Iterator[tuple[Params, tuple[float, ...]]]:
    """Points and values of the complete trials of the one study in an SQLite file.

    Raises:
        StoreError: It cannot be read, has other objectives or directions, or trials lack constraints.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{path}"
    try:
        names = optuna.get_all_study_names(url)
        if len(names) != 1:
            raise StoreError(f"{path}: expected one study, found {len(names)}")
        study = optuna.load_study(study_name=names[0], storage=url)
        found = [direction.name.lower() for direction in study.directions]
        objectives = study.metric_names or list(directions)
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{path}: cannot be read as an Optuna study: {str(error).splitlines()[0]}") from error
    if set(objectives) != set(directions):
        raise StoreError(
            f"{path}: the objectives of the study are {', '.join(objectives)}, those of this search "
            f"{', '.join(directions)}; expected the same"
        )
    order = [objectives.index(name) for name in directions] if len(found) == len(directions) else range(len(found))
    found = [found[position] for position in order]
    if found != list(directions.values()):
        raise StoreError(f"{path}: the study is to {', '.join(found)}; this search to {', '.join(directions.values())}")
    for trial in trials:
        limits = tuple(trial.constraints.values())
        if len(limits) != len(constraints):
            raise StoreError(f"{path}: trial {trial.number} has {len(limits)} constraints, expected {len(constraints)}")
        yield _restored(trial.params, space), (*(trial.values[position] for position in order), *limits)


def _restored(params: Mapping[str, Any], space: Space) -> Params:
    point = dict(params)
    for name, domain in (space.domains or {}).items():
        if isinstance(domain, Fixed):
            if name in point and point[name] == _plain(domain.value):
                point[name] = domain.value
        elif isinstance(domain, Choices) and not isinstance(domain.values, range) and name in point:
            coded = {_plain(value): value for value in domain.values if isinstance(value, list)}
            value = point[name]
            point[name] = coded.get(value, value) if isinstance(value, str) else value
    return point
