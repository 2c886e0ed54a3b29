"""``mpiens export``: a run's trials in another program's form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from mpiens.errors import StoreError, UsageError
from mpiens.report import words
from mpiens.spec.schema import COUNTED_BY_SPACE
from mpiens.store import Results, open_results
from mpiens.store.files import explaining, replacing
from mpiens.store.frames import analysis_library

_OFFSETS, _JOINED = "_offsets", "_values"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["csv", "parquet", "npz", "optuna", "netcdf"]),
    help="csv, parquet: a row a trial with its plain results; npz: an array for each result; "
    "netcdf: the same, a full grid with its parameters as dimensions; optuna: a study in SQLite, as optuna-dashboard "
    "opens it.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
def export(run: Path, out: Path, form: str, overwrite: bool) -> None:
    """Write the finished trials of RUN, which may be going on, to the file OUT."""
    if out.is_dir():
        raise UsageError(f"{out}: expected a file, found a folder")
    if out.exists() and not overwrite:
        raise UsageError(f"{out}: is there already; --overwrite replaces it")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.absolute().parent}")
    with open_results(run) as results:
        with explaining(out, "write"), replacing(out) as temporary:
            _WRITERS[form](results, temporary)
        click.echo(f"{out}: {words.count(len(results), 'trial')}")


def _table(results: Results) -> Any:
    """The trials with those of their results that are one value each."""
    table = results.trials.copy()
    for name in results.names:
        values = results[name]
        if isinstance(values, np.ndarray) and values.ndim == 1:
            table[f"results_{name}"] = values
    return table


def _csv(results: Results, path: Path) -> None:
    _table(results).to_csv(path, index=False)


def _parquet(results: Results, path: Path) -> None:
    try:
        _table(results).to_parquet(path, index=False)
    except ImportError as error:
        raise StoreError("parquet needs a library that is not installed: pip install pyarrow") from error


def _npz(results: Results, path: Path) -> None:
    arrays = {"number": np.array(results.trials["number"]), "state": results.states()} | _arrays(results)
    with path.open("wb") as file:
        np.savez_compressed(file, **{_plain(name): values for name, values in arrays.items()})


def _arrays(results: Results) -> dict[str, Any]:
    """An array for each parameter, objective and result, a row a trial; ragged ones joined, with offsets."""
    arrays: dict[str, Any] = {}
    points = results.points()
    for name in points[0] if points else ():
        column = np.array([point.get(name, np.nan) for point in points])
        arrays[f"params_{name}"] = column.astype(str) if column.dtype == object else column
    for name in (*results.directions, *results.constraints):
        arrays[f"values_{name}"] = results[name]
    for name in results.names:
        values = results[name]
        if isinstance(values, np.ndarray) and values.dtype != object:
            arrays[f"results_{name}"] = values
            continue
        lengths = [np.size(value) for value in values]
        flat = [np.ravel(value) for value in values if np.size(value)]
        arrays[f"results_{name}{_OFFSETS}"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        joined = np.concatenate(flat) if flat else np.zeros(0)
        arrays[f"results_{name}"] = joined.astype(str) if joined.dtype == object else joined
    return arrays


def _plain(name: str) -> str:
    """A name that may stand in a file: there a slash would begin a folder."""
    return name.replace("/", "%2F")


def _netcdf(results: Results, path: Path) -> None:
    from mpiens.spec.load import parse_spec

    xarray = analysis_library("xarray")
    analysis_library("h5netcdf")
    dataset = None
    if parse_spec(results.spec, results.path.parent / "spec.yaml").spec.search.algorithm in COUNTED_BY_SPACE:
        try:
            dataset = results.to_xarray()
        except StoreError:
            dataset = None  # It is not full, or not yet.
    if dataset is None or any(_is_ragged(dataset[name].values) for name in dataset):
        dataset = xarray.Dataset(
            {name: (_dimensions(name, values), values) for name, values in _by_trial(results).items()},
            attrs={"name": results.name, "state": results.state},
        )
    dataset.rename({name: _plain(str(name)) for name in dataset.variables}).to_netcdf(path, engine="h5netcdf")


def _by_trial(results: Results) -> dict[str, Any]:
    arrays = _arrays(results)
    # Where a result is ragged, its values belong to no single trial.
    ragged = {name.removesuffix(_OFFSETS): name for name in arrays if name.endswith(_OFFSETS)}
    joined = {f"{name}{_JOINED}": arrays.pop(name) for name in ragged}
    plain = {"number": np.array(results.trials["number"]), "state": np.array(results.trials["state"], dtype=str)}
    return plain | arrays | joined


def _dimensions(name: str, values: np.ndarray) -> list[str]:
    is_own = name.endswith((_JOINED, _OFFSETS))
    first = f"{name}_dim0" if is_own else "trial"
    return [_plain(first), *(_plain(f"{name}_dim{index}") for index in range(1, values.ndim))]


def _is_ragged(values: np.ndarray) -> bool:
    return values.dtype == object and not all(isinstance(value, str) for value in values.ravel())


def _optuna(results: Results, path: Path) -> None:
    from mpiens.samplers.optuna.exchange import Row, write_study
    from mpiens.spec.load import parse_spec

    if not results.directions:
        raise UsageError(f"{results.path}: an Optuna study needs an objective, and this run has none")
    space = parse_spec(results.spec, results.path.parent / "spec.yaml").space
    values = [results[name] for name in results.directions]
    limits = [results[name] for name in results.constraints]
    notes = {n: v for n in results.names if isinstance(v := results[n], np.ndarray) and v.ndim == 1}
    reports = {
        number: dict(zip(t["step"].tolist(), t["value"].tolist(), strict=True))
        for number, t in results.reports().groupby("number")
    }
    rows = []
    for index, (point, line) in enumerate(zip(results.points(), results.trials.to_dict("records"), strict=True)):
        is_complete = line["state"] == "COMPLETE"
        told = {name: column[index].item() for name, column in notes.items()} if is_complete else {}
        told |= {"error": line["error"]} if line["error"] else {}
        rows.append(
            Row(
                str(line["state"]),
                point,
                tuple(float(column[index]) for column in values) if is_complete else (),
                tuple(float(column[index]) for column in limits) if is_complete else (),
                float(line["started_s"]),
                float(line["elapsed_s"]),
                {"mpiens number": int(line["number"]), **told},
                reports.get(line["number"], {}),
            )
        )
    path.unlink(missing_ok=True)
    write_study(path, results.name, results.directions, space, rows)


_WRITERS: dict[str, Callable[[Results, Path], None]] = {
    "csv": _csv,
    "parquet": _parquet,
    "npz": _npz,
    "netcdf": _netcdf,
    "optuna": _optuna,
}
