"""`search`: netpyne.batchtools' search as a run of mpiens in the current MPI world."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiens.api import run_ending
from mpiens.environment import rank_by_launcher, size_by_launcher
from mpiens.errors import MpiensError, UsageError
from mpiens.runtime.order import Order
from mpiens.space.sources import native
from mpiens.space.values import is_number

if TYPE_CHECKING:
    import pandas as pd

    from mpiens.store import Results

GRIDS = ("variant_generator", "grid")
WITHOUT_METRIC = (*GRIDS, "random")
_NAMES = {"variant_generator": "grid", "optuna": "tpe"}
"""Algorithms that have another name in a spec."""

_BELONGS_TO_THE_SPEC = {"metric", "mode", "max_concurrent", "batch"}
_MODES = {"min": "minimize", "max": "maximize"}


@dataclass(frozen=True)
class Study:
    """What a search has found.

    Attributes:
        run_dir: The run directory.
        label: Of the search.
        is_host: True on one rank of the job.
        report: Which parts `data` has: path, config, data.
        is_pruned: `data` leaves out when, where and with which seed each trial ran.
    """

    run_dir: Path
    label: str
    is_host: bool = True
    report: tuple[str, ...] = ("path", "config", "data")
    is_pruned: bool = True

    @functools.cached_property
    def results(self) -> Results:
        """Everything that the run has stored."""
        from mpiens.store import open_results

        return open_results(self.run_dir)

    @functools.cached_property
    def data(self) -> pd.DataFrame:
        """A row a trial, with its label and path, its parameters, what the script has sent, its state and its error."""
        from pandas import DataFrame

        trials = self.results.trials
        columns: dict[str, Any] = {}
        if "path" in self.report:
            columns["trial_label"] = [f"{self.label}_{number}" for number in trials["number"]]
            columns["trial_path"] = [str(self.run_dir / "trials" / str(number)) for number in trials["number"]]
        if "config" in self.report:
            columns |= {str(n).removeprefix("params_"): trials[n] for n in trials if str(n).startswith("params_")}
        if "data" in self.report:
            columns |= {str(n).removeprefix("values_"): trials[n] for n in trials if str(n).startswith("values_")}
            columns |= {name: list(self.results[name]) for name in self.results.names}
        shown = ("state", "error") if self.is_pruned else ("number", *_METADATA)
        return DataFrame(columns | {name: trials[name] for name in shown})


_METADATA = ("state", "error", "attempt", "group", "seed", "started_s", "elapsed_s")


def search(
    dispatcher_constructor: object = None,
    submit_constructor: object = None,
    job_type: str | None = None,
    comm_type: str | None = None,  # noqa: ARG001 - results come by the messages of the run
    run_config: Mapping[str, Any] | None = None,
    params: Mapping[Any, Any] | None = None,
    algorithm: str = "variant_generator",
    label: str = "search",
    output_path: str | Path = "./batch",
    checkpoint_path: str | Path = "./checkpoint",  # noqa: ARG001 - checkpoints lie in the run directory
    max_concurrent: int | None = None,
    batch: bool = True,
    num_samples: int = 1,
    metric: str | Sequence[str] | None = None,
    mode: str | Sequence[str] = "min",
    sample_interval: float = 15,  # noqa: ARG001 - nothing is polled
    algorithm_config: Mapping[str, Any] | None = None,
    ray_config: Mapping[str, Any] | None = None,  # noqa: ARG001 - there is no Ray
    attempt_restore: bool = True,
    clean_checkpoint: bool = True,  # noqa: ARG001 - a run directory is small when the run is complete
    report_config: Sequence[str] = ("path", "config", "data"),
    prune_metadata: bool = True,
    remote_dir: str | None = None,
    host: str | None = None,
    key: str | None = None,
    file_cleanup: object = True,  # noqa: ARG001 - there are no files to clean up
    advanced_logging: object = True,  # noqa: ARG001 - the run directory has a log
    *,
    seed: int = 1,
) -> Study:
    """Search with a NetPyNE script, as `netpyne.batchtools.search.search` does, over the ranks of this job.

    Call it on every rank of ``mpiexec -n N python batch.py``, or in one process.

    Args:
        run_config: Its ``command`` names the script, such as ``python init.py``; a number behind ``mpiexec -n`` is the
            number of ranks of each trial.
        params: Values by dotted path, or by a tuple of its parts. For a grid: lists, tuples, ranges and arrays are
            axes. For other algorithms a list of two numbers is a range and a longer list are choices. Anything else is
            a constant.
        algorithm: ``variant_generator`` or ``grid``, ``random``, ``optuna``, or any that a spec may name.
        label: Of the search: the run directory is ``<output_path>/<label>``, the table ``<label>.csv``.
        output_path: Where the run directory is made.
        max_concurrent: At most so many trials at a time; by default as many as the ranks allow.
        batch: With `max_concurrent`: generations of so many trials, each told to the algorithm at once.
        num_samples: Trials; for a grid, how often each point is evaluated.
        metric: Result to optimise, or several.
        mode: ``min`` or ``max``, or one for each metric.
        algorithm_config: Keyword arguments of the algorithm.
        attempt_restore: Go on with a run that is there already. A grid may have got more points.
        report_config: Parts of the table: path, config, data.
        prune_metadata: Leave seeds, times and ranks out of the table.
        seed: Root of every random draw.
        dispatcher_constructor: Must be None, as `submit_constructor`, `host`, `key` and `remote_dir`: the search runs
            here.
        submit_constructor: See there.
        job_type: Without effect, as `comm_type`, `checkpoint_path`, `sample_interval`, `ray_config`,
            `clean_checkpoint`, `file_cleanup` and `advanced_logging`.
        comm_type: See there.
        checkpoint_path: See there.
        sample_interval: See there.
        ray_config: See there.
        clean_checkpoint: See there.
        remote_dir: See `dispatcher_constructor`.
        host: See there.
        key: See there.
        file_cleanup: See `job_type`.
        advanced_logging: See there.

    Returns:
        An object with ``data``, a pandas.DataFrame, and ``results``, as `mpiens.open` gives them; on every rank.

    Raises:
        UsageError: An argument is wrong.
        MpiensError: The run cannot start, or could not go on.
    """
    elsewhere = {
        "dispatcher_constructor": dispatcher_constructor,
        "submit_constructor": submit_constructor,
        "host": host,
        "key": key,
        "remote_dir": remote_dir,
    }
    for name, value in elsewhere.items():
        if value is not None:
            raise UsageError(
                f"search: {name} must not be given: the search runs on the ranks of this job; start the job where "
                "it is to run, such as with `mpiexec -n 9 python batch.py`"
            )
    if job_type is not None and not isinstance(job_type, str):
        raise UsageError(f"search: job_type must be a text, found {job_type!r}")
    settings: dict[str, Any] = {"max_concurrent": max_concurrent, "batch": batch, "metric": metric, "mode": mode}
    options = dict(algorithm_config or {})
    settings |= {name: options.pop(name) for name in _BELONGS_TO_THE_SPEC & options.keys()}
    script, ranks = script_of(run_config or {})
    spec: dict[str, Any] = {
        "name": label,
        "seed": seed,
        "output": label,
        "model": {"netpyne": str(script)},
        "space": {path_of(key): domain(path_of(key), values, algorithm) for key, values in (params or {}).items()},
        "search": search_part(algorithm, num_samples, options, **settings),
        "groups": {"size": ranks if (size_by_launcher(os.environ) or 1) > 1 else 1},
    }
    if not spec["space"]:
        raise UsageError("search: params is missing; give values by parameter, such as {'weight': [0.1, 0.2]}")
    if settings["max_concurrent"] is not None:
        spec["groups"]["max_concurrent"] = settings["max_concurrent"]
    folder = Path(output_path).expanduser().absolute()
    is_host = (rank_by_launcher(os.environ) or 0) == 0
    study = Study(folder / label, label, is_host, tuple(report_config), prune_metadata)
    if is_host:
        _write(folder / f"{label}.yaml", spec)
    ending = run_ending(Order(folder / f"{label}.yaml", study.run_dir, resume=attempt_restore), "auto")
    if ending is not None and ending.exit_status:
        raise MpiensError(f"{ending.outcome}: {ending.reason}")
    if is_host:
        study.data.to_csv(f"{label}.csv")
    return study


def script_of(run_config: Mapping[str, Any]) -> tuple[Path, int]:
    """The NetPyNE script that a command runs, absolute, and the ranks that it starts it with.

    Raises:
        UsageError: There is no command, or it names no script, or the script gets arguments.
    """
    command = run_config.get("command")
    if not isinstance(command, str) or not command.strip():
        raise UsageError(
            "search: run_config needs a command that names the script, such as {'command': 'python init.py'}"
        )
    words = shlex.split(command, comments=True)
    places = [place for place, word in enumerate(words) if word.endswith(".py")]
    if not places:
        raise UsageError(f"search: the command {command!r} names no script that ends in .py")
    if words[places[-1] + 1 :]:
        raise UsageError(
            f"search: the command {command!r} gives the script arguments; a script gets its parameters by cfg.update()"
        )
    for flag, count in pairwise(words):
        if flag in ("-n", "-np", "--n", "--np") and count.isdecimal() and int(count):
            return Path(words[places[-1]]).absolute(), int(count)
    cores = run_config.get("cores", 1)
    return Path(words[places[-1]]).absolute(), cores if isinstance(cores, int) and cores > 0 else 1


def path_of(key: object) -> str:
    """The dotted path that a key of `params` means: a text, or a tuple of the path's parts."""
    return ".".join(map(str, key)) if isinstance(key, tuple) else str(key)


def domain(name: str, values: Any, algorithm: str) -> Any:
    """What a spec's `space` says for what batchtools is given.

    Raises:
        UsageError: The algorithm cannot take such values.
    """
    if isinstance(values, Mapping) and set(values) == {"grid_search"}:
        if algorithm not in GRIDS:
            raise UsageError(f"search: {name}: grid_search is for a grid; {algorithm} takes a list")
        values = list(values["grid_search"])
    if hasattr(values, "categories"):  # of Ray's choice()
        return {"values": _plain(list(values.categories))}
    if is_number(getattr(values, "lower", None)) and is_number(
        getattr(values, "upper", None)
    ):  # of Ray's uniform(), loguniform(), randint()
        return _range_of_ray(name, values, algorithm)
    is_sequence = isinstance(values, list | tuple | range) or getattr(values, "ndim", 0) > 0
    if not is_sequence:
        return _plain(values)
    if algorithm in GRIDS:
        return {"values": _plain(list(values))}
    if not isinstance(values, list | tuple):
        raise UsageError(
            f"search: {name}: a {type(values).__name__} gives the points of a grid; {algorithm} takes a list: "
            "[low, high] is a range, and more values are choices"
        )
    if len(values) == 2 and all(map(is_number, map(native, values))):
        low, high = map(float, values)
        return {"low": low, "high": high}
    return {"values": _plain(list(values))}


def _range_of_ray(name: str, values: Any, algorithm: str) -> dict[str, Any]:
    if algorithm in GRIDS:
        raise UsageError(f"search: {name}: a grid cannot draw from a range; give a list, or use algorithm='random'")
    is_int = type(values).__name__ == "Integer"
    # An upper bound of Ray's integers is excluded.
    low, high = (int(values.lower), int(values.upper) - 1) if is_int else (float(values.lower), float(values.upper))
    is_log = "Log" in type(getattr(values, "sampler", None)).__name__
    return {"low": low, "high": high, "type": "int" if is_int else "float"} | ({"log": True} if is_log else {})


def _plain(values: Any) -> Any:
    values = native(values)
    return [_plain(value) for value in values] if isinstance(values, list | tuple) else values


def search_part(
    algorithm: str,
    num_samples: int,
    options: dict[str, Any],
    max_concurrent: int | None,
    batch: bool,
    metric: str | Sequence[str] | None,
    mode: str | Sequence[str],
) -> dict[str, Any]:
    """A spec's `search` for what batchtools is given.

    Raises:
        UsageError: A metric or a mode is missing, or they do not go together.
    """
    metrics = [metric] if isinstance(metric, str) else list(metric or ())
    modes = [mode] * len(metrics) if isinstance(mode, str) else list(mode)
    if not metrics and algorithm not in WITHOUT_METRIC:
        raise UsageError(f"search: {algorithm} needs a metric, the name of a result that it is to optimise")
    if len(modes) != len(metrics) or not set(modes) <= _MODES.keys():
        raise UsageError(f"search: mode must be min or max, or one of them for each metric; found {mode!r}")
    part: dict[str, Any] = {
        "algorithm": _NAMES.get(algorithm, algorithm),
        "objectives": {name: _MODES[one] for name, one in zip(metrics, modes, strict=True)},
    }
    if algorithm in GRIDS:
        return part | {"repeats": num_samples}
    if batch and max_concurrent is not None and max_concurrent > 1:
        part["batch"] = max_concurrent
    return part | {"trials": num_samples} | ({"options": options} if options else {})


def _write(path: Path, spec: Mapping[str, Any]) -> None:
    from mpiens.spec.yaml_tree import write_yaml

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write_yaml(spec), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"search: {path}: cannot be written: {error.strerror}") from error
