"""Results of a run, while it goes on or later."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mpiens.errors import SpecError, StoreError
from mpiens.goals import CONSTRAINT, Goals, front
from mpiens.record import Params
from mpiens.store.base import RunState
from mpiens.store.checked import verify as verify_file
from mpiens.store.checksums import DamageError
from mpiens.store.columns import Column, decoded
from mpiens.store.files import RAISED_BY_H5PY, store_error
from mpiens.store.frames import analysis_library, attempt_columns, report_columns, trial_columns
from mpiens.store.grid import grid_dataset
from mpiens.store.hdf5 import Facts, keys, node_path, read_facts
from mpiens.store.locate import UnknownResult, results_file, unknown_result
from mpiens.store.shown import Shown, SourceGone, Stale, shown
from mpiens.store.spikes import has_spikes, spike_table
from mpiens.store.table import HISTORY, NUMBER, PARAMS, REPORTS, RESULTS, STATE, STATES, VALUES, Key

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_T = TypeVar("_T")
_ATTEMPTS = 20


def open_results(path: str | Path, verify: bool = True) -> Results:
    """Open the results of a run, which may be going on.

    Args:
        path: The run directory, or its results.h5.
        verify: Check everything that is read against the checksums behind the file's end; a damaged value raises, it is
            never returned. False reads a file that another program has changed, as it is.

    Raises:
        StoreError: There is nothing there, or it cannot be read.
    """
    return Results(results_file(Path(path)), verify)


class Results:
    """The trials that were finished when this was opened; open again to see later ones.

    Nothing is kept open between two reads, so that a run that goes on may replace its files.

    Args:
        path: A results.h5.
        verify: Check what is read.

    Attributes:
        path: The file.
        name: The run's label.
        state: running, stopped or complete.
        spec: Text of the spec.
        provenance: Where the run comes from.
        directions: ``minimize`` or ``maximize`` by objective.
        constraints: Names of the values that must not be above zero.
    """

    def __init__(self, path: Path, verify: bool = True) -> None:
        self.path = path
        self._is_checked = verify
        facts, self.state, self._keys, numbers = self._read(_first_look)
        self.name = facts.name
        self.spec = facts.spec
        self.provenance = dict(facts.provenance)
        self.directions = {name: kind for name, kind in facts.objectives.items() if kind != CONSTRAINT}
        self.constraints = tuple(name for name in facts.objectives if name not in self.directions)
        self._numbers = np.sort(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the trials, int64, ascending."""
        return self._numbers

    def __repr__(self) -> str:
        found = self.states()
        states = ", ".join(f"{np.count_nonzero(found == value)} {name}" for name, value in STATES.items())
        names = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
        return f"<Results of {self.name!r} ({self.state}): {len(self)} trials ({states}); results: {names or 'none'}>"

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open between reads; here for code that treats this like a file."""

    def verify(self) -> None:
        """Read all of results.h5, and of the segments that it shows, and compare it with the checksums.

        Raises:
            StoreError: Something is damaged; the message names the file and the bytes.
        """
        with self._shown() as shown:
            sources = shown.sources()
        for path in (self.path, *sources):
            verify_file(path)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the results."""
        return tuple(name for group, name in self._keys if group == RESULTS)

    def __getitem__(self, name: str) -> np.ndarray | list[Any]:
        """A result or an objective of every trial, in the order of `trials`.

        Returns:
            An array ``[n_trials, ...]``; a list of arrays where shapes differ; a list of values where types differ,
            with None where a trial has none.

        Raises:
            UnknownResult: There is no such result.
        """
        for group in (RESULTS, VALUES):
            if (group, name) in self._keys:
                return decoded(self._read(functools.partial(self._column, key=(group, name))))
        known = [*self.names, *self.directions, *self.constraints]
        raise unknown_result(self.path, str(name), known)

    def __contains__(self, name: object) -> bool:
        return any((group, name) in self._keys for group in (RESULTS, VALUES))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def points(self) -> list[Params]:
        """The parameters of every trial, in the order of `trials`, as plain Python values; needs no pandas."""
        found = self._read(lambda shown: {key[1]: self._column(shown, key) for key in self._keys if key[0] == PARAMS})
        points: list[Params] = [{} for _ in range(len(self))]
        for name, column in found.items():
            values = decoded(column)
            for point, value in zip(points, values.tolist() if isinstance(values, np.ndarray) else values, strict=True):
                point[name] = value.tolist() if isinstance(value, np.ndarray) else value
        return points

    def states(self) -> np.ndarray:
        """State of every trial, in the order of `trials`, with Optuna's numbers; needs no pandas."""
        states: np.ndarray = self._read(lambda shown: self._column(shown, STATE).data)
        return states

    @functools.cached_property
    def trials(self) -> pd.DataFrame:
        """A row a trial, by number. Columns as Optuna names them.

        Raises:
            StoreError: pandas is not installed, or the file cannot be read.
        """
        pandas = analysis_library("pandas")
        wanted = [key for key in self._keys if key[0] != RESULTS and key != REPORTS]
        columns = self._read(lambda shown: {key: self._column(shown, key) for key in wanted})
        made: pd.DataFrame = pandas.DataFrame(trial_columns(columns))
        return made

    @functools.cached_property
    def attempts(self) -> pd.DataFrame:
        """A row for each attempt that has failed, with number, attempt, group, started_s, elapsed_s, error, is_own.

        Times are NaN where a process was killed; `is_own` is False where several trials were there then, and nobody
        knows which of them did it.

        Raises:
            StoreError: pandas is not installed, or the file cannot be read.
        """
        pandas = analysis_library("pandas")
        histories = np.zeros(0, dtype="S1")
        if HISTORY in self._keys:  # results of earlier versions have none
            histories = self._read(lambda shown: self._column(shown, HISTORY).data)
        made: pd.DataFrame = pandas.DataFrame(attempt_columns(self._numbers, histories))
        return made

    def reports(self, trial: int | None = None) -> pd.DataFrame:
        """What trials reported while they ran: a row a report, by trial and step, with number, step, value.

        Args:
            trial: Of this trial alone.

        Raises:
            StoreError: pandas is not installed, or the file cannot be read.
        """
        pandas = analysis_library("pandas")
        found = self._read(functools.partial(self._column, key=REPORTS)) if REPORTS in self._keys else None
        made: pd.DataFrame = pandas.DataFrame(report_columns(self._numbers, found, trial))
        return made

    def spikes(self, trial: int) -> pd.DataFrame:
        """Spikes of one trial: columns ``t_ms``, ``gid`` and, where it is known, ``pop``; a row a spike, by time.

        They are there with ``model.results: [spikes]``, or where the model returns ``spkt`` and ``spkid``.

        Raises:
            UnknownResult: The run has no spikes, or no such trial.
            StoreError: pandas is not installed.
        """
        if not has_spikes(self):
            raise UnknownResult(f"{self.path}: no spikes; with a NetPyNE script, name them: model.results: [spikes]")
        place = int(np.searchsorted(self._numbers, trial))
        if place == len(self._numbers) or self._numbers[place] != trial:
            raise UnknownResult(f"{self.path}: no trial {trial}; {len(self)} have a record")
        return spike_table(analysis_library("pandas"), self, lambda name: self[name][place])

    @property
    def best(self) -> pd.Series[Any] | None:
        """The row of `trials` with the best objective; None while no trial is COMPLETE and feasible.

        Raises:
            StoreError: The run has no objective, or several.
        """
        if len(self.directions) != 1:
            count = len(self.directions)
            found = (
                f"{count} objectives: {', '.join(self.directions)}; use `pareto()`" if count else "none; use `trials`"
            )
            raise StoreError(f"{self.path}: `best` needs a run with one objective, this one has {found}")
        rows = self.pareto()
        if not len(rows):
            return None
        row: pd.Series[Any] = rows.iloc[0]
        return row

    def pareto(self) -> pd.DataFrame:
        """The rows of `trials` that are COMPLETE and feasible, and that no other such row dominates, by number.

        Of repeats (``search.repeats``) with equal objectives the first stands there.

        Raises:
            StoreError: The run has no objective.
        """
        if not self.directions:
            raise StoreError(f"{self.path}: `pareto` needs a run with objectives, this one has none; use `trials`")
        complete = self.trials[self.trials["state"] == "COMPLETE"]
        values = complete[[f"values_{name}" for name in [*self.directions, *self.constraints]]].to_numpy(dtype=float)
        goals = Goals(tuple(self.directions.values()), len(self.constraints))
        found = complete.iloc[front(goals, values)]
        if not self._has_repeats:
            return found
        columns = [f"values_{name}" for name in self.directions]
        columns += [name for name in found.columns if name.startswith("params_")]
        # As text, because lists may be among them, and NaN equals NaN here.
        return found[~found[columns].astype(str).duplicated()]

    @property
    def _has_repeats(self) -> bool:
        from mpiens.spec.yaml_tree import read_yaml

        try:
            spec = read_yaml(self.spec, str(self.path)).data
        except SpecError:
            return False  # of a store that was written without a spec
        search = spec.get("search") if isinstance(spec, dict) else None
        return isinstance(search, dict) and search.get("repeats", 1) != 1

    def to_xarray(self) -> xr.Dataset:
        """The results of a full grid, with the parameters as dimensions.

        Points that occur several times, all of them equally often, have a dimension ``repeat`` (by trial number).

        Raises:
            StoreError: The trials do not form a full grid, or xarray is not installed.
        """
        params = self._read(lambda shown: {key[1]: self._column(shown, key) for key in self._keys if key[0] == PARAMS})
        variables = {name: self[name] for name in [*self.directions, *self.constraints, *self.names]}
        names = {value: name for name, value in STATES.items()}
        variables["state"] = np.array([names.get(value, "") for value in self.states().tolist()])
        variables["number"] = self._numbers
        dataset: xr.Dataset = grid_dataset(
            analysis_library("xarray"),
            self.path,
            {name: decoded(column) for name, column in params.items()},
            variables,
            {"name": self.name, "state": self.state},
        )
        return dataset

    def _column(self, shown: Shown, key: Key) -> Column:
        """A column of the trials that this object shows, by number."""
        return shown.column(key, self._numbers)

    def _shown(self) -> AbstractContextManager[Shown]:
        return shown(self.path, self._is_checked)

    def _read(self, read: Callable[[Shown], _T]) -> _T:
        """What `read` returns, from a file whose segments were all there until it was done.

        A segment is gone when the run merges its segments at this moment; results.h5 was renewed before, so opening it
        again helps.
        """
        failure: Exception = Stale()
        for _attempt in range(_ATTEMPTS):
            try:
                with self._shown() as shown:
                    return read(shown)
            except DamageError as error:
                helps = f"`mpiens resume {self.path.parent}` keeps what is sound; verify=False reads it as it is"
                raise DamageError(f"{error}; {helps}") from error
            except (Stale, SourceGone, *RAISED_BY_H5PY) as error:
                failure = error
        if isinstance(failure, SourceGone):
            raise StoreError(
                f"{self.path}: it shows rows of {failure}, which is not there; results.h5 of a run that has not ended "
                "needs the folder segments/ beside it: copy the whole run directory"
            )
        if isinstance(failure, Stale):
            raise StoreError(f"{self.path}: trials that were there before are gone: another run was put in its place")
        raise store_error(self.path, "read", failure) from failure


def _first_look(shown: Shown) -> tuple[Facts, RunState, list[Key], np.ndarray]:
    facts, state = read_facts(shown.file)
    return facts, state, keys(shown.file), shown.read(shown.file[node_path(NUMBER)])
