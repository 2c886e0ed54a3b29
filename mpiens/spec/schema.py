"""The form of spec.yaml, as pydantic models.

Their descriptions become the JSON Schema. Values are checked one by one and as strictly as they are written: the
text ``"10"`` is no number and true is no 1. What needs the file system or more than the spec's form is checked in
`mpiens.spec.load`, `mpiens.spec.files` and `mpiens.spec.available`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

# Relative, so that the build hook can load this module without the package around it.
from .quantities import AutoDuration, Duration, Memory, Name, Target, one_of, run_names

COUNTED_BY_SPACE = ("grid", "brute_force")
"""Algorithms whose number of trials follows from the space."""

ALIASES: dict[str, dict[str, Any]] = {
    "variant_generator": {"algorithm": "grid"},
    "axe": {"algorithm": "ax"},
    "optuna": {"algorithm": "tpe"},
    "bohb": {"algorithm": "tpe", "pruner": "hyperband"},
    "sobol": {"algorithm": "qmc", "options": {"qmc_type": "sobol"}},
    "halton": {"algorithm": "qmc", "options": {"qmc_type": "halton"}},
    "latin_hypercube": {"algorithm": "lhs"},
}
"""What other names stand for: those of netpyne.batchtools first. What a spec itself says goes before the rest of it.
`variant_generator` draws at random where the number of trials is given."""

Direction = Literal["minimize", "maximize"]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ModelSpec(_Part):
    """What runs: exactly one of python, netpyne and command."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"anyOf": [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in keys]}
                for keys in (("python",), ("netpyne",), ("command", "prepare"))
            ]
        }
    )

    python: Target | None = Field(None, description="path.py:function or package.module:function; called with a trial")
    netpyne: Text | None = Field(None, description="An unmodified NetPyNE script, with its cfg.py and netParams.py")
    command: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="Program and arguments; {params_json}, {params_file}, {trial}, {directory}, {ranks}, {<name>}"
    )
    setup: Target | None = Field(
        None, description="Function called once on every rank of a group, before its first trial"
    )
    mechanisms: Text | None = Field(None, description="Folder of .mod files, built once per run directory")
    fixed: dict[str, Any] = Field({}, description="Constants that every trial gets besides its own parameters")
    isolation: Literal["none", "process"] = Field("none", description="process: a forked child for each trial")
    result: dict[Literal["marker", "file", "regex"], Text] | None = Field(
        None, description="Where a command's result is: {marker: TEXT}, {file: NAME} or {regex: PATTERN}"
    )
    ranks: Annotated[
        int | str | None,
        BeforeValidator(one_of("a number or an expression of the parameters", int, str, type(None))),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}, {"type": "null"}]}),
    ] = Field(None, description="MPI ranks of a command, a number or an expression of the parameters")
    threads: int | None = Field(None, ge=1, description="Threads of each rank of a command")
    launch: Literal["auto", "mpiexec", "srun"] = Field("auto", description="How a command with ranks is started")
    prepare: Target | None = Field(
        None, description="Function that returns a trial's whole mpiens.Command, instead of or besides a command"
    )
    reuse: bool = Field(
        False,
        description="NetPyNE: keep the network from trial to trial where only numbers change that it can be given",
    )
    seeds: Literal["fixed", "per_trial"] = Field("fixed", description="NetPyNE: the script's seeds, or the trial's own")
    results: list[str] = Field([], description="NetPyNE: parts of the simulation's data to keep")

    @property
    def kind(self) -> Literal["python", "netpyne", "command"]:
        """Which of the three it is."""
        return "python" if self.python is not None else "netpyne" if self.netpyne is not None else "command"

    @model_validator(mode="after")
    def _check_kind(self) -> ModelSpec:
        given = {
            "python": self.python is not None,
            "netpyne": self.netpyne is not None,
            "command": self.command is not None or self.prepare is not None,
        }
        kinds = [kind for kind, is_given in given.items() if is_given]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            raise ValueError(f"expected exactly one of python, netpyne and command, found {found}")
        for key in ("result", "ranks", "threads", "launch"):
            if kinds != ["command"] and getattr(self, key) not in (None, "auto"):
                raise ValueError(f"{key} is for a command only; remove it")
        for key in ("reuse", "results"):
            if kinds != ["netpyne"] and getattr(self, key):
                raise ValueError(f"{key} is for a NetPyNE script only; remove it")
        if self.reuse and self.isolation == "process":
            raise ValueError(
                "reuse keeps a network from trial to trial, isolation: process nothing; remove one of them"
            )
        if kinds != ["netpyne"] and self.seeds != "fixed":
            raise ValueError("seeds is for a NetPyNE script only; other models take theirs from trial.seed")
        if self.result is not None and len(self.result) != 1:
            raise ValueError("result needs exactly one of marker, file and regex")
        return self

    @field_validator("ranks")
    @classmethod
    def _check_ranks(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1")
        return value


class SearchSpec(_Part):
    """Which points are visited, and what for."""

    algorithm: Text = Field("tpe", description="grid, random, tpe, cmaes, nsga2, ... or my_module.py:MySampler")
    trials: int | None = Field(
        None, ge=1, description="Number of trials, repeats included; a grid's number follows from its space"
    )
    repeats: int = Field(
        1, ge=1, description="Trials of each point, each with its own seed; a sampler is told their mean"
    )
    objectives: dict[Name, Direction] = Field({}, description="Results to optimise; none: they are only recorded")
    batch: int = Field(0, ge=0, description="0: asynchronous; n: generations of n, told in trial order")
    options: dict[str, Any] = Field({}, description="The sampler's own keyword arguments")
    constraints: list[Name] = Field([], description="Results that must not be above zero")
    start: list[dict[str, Any]] = Field([], description="Points to try first")
    from_: Annotated[
        Any,
        BeforeValidator(run_names),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
        ),
    ] = Field(None, alias="from", description="Earlier runs whose trials the sampler is told at the start")
    pruner: Annotated[
        str | dict[str, Any] | None,
        BeforeValidator(one_of("a pruner's name, or a mapping", str, dict, type(None))),
    ] = Field(
        None,
        description="What gives up bad trials early: median, percentile, successive_halving, hyperband, patient, "
        "threshold, nop, my_module.py:MyPruner, or {name: one of these, and its options}",
    )

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, data: Any) -> Any:
        name = data.get("algorithm") if isinstance(data, dict) else None
        if not isinstance(name, str) or name not in ALIASES:
            return data
        if name == "variant_generator" and data.get("trials") is not None:
            return {**data, "algorithm": "random"}
        meaning = ALIASES[name]
        merged = {**meaning, **data, "algorithm": meaning["algorithm"]}
        if "options" in meaning and isinstance(data.get("options"), dict):
            merged["options"] = meaning["options"] | data["options"]
        return merged

    @model_validator(mode="after")
    def _check_trials(self) -> SearchSpec:
        if self.trials is None and self.algorithm not in COUNTED_BY_SPACE:
            raise ValueError(f"trials is missing: {self.algorithm} needs to know how many")
        return self


class GroupsSpec(_Part):
    """How the ranks are shared out."""

    size: int = Field(1, ge=1, description="Ranks of each group; a group runs one trial at a time")
    max_concurrent: int | None = Field(None, ge=1, description="At most so many groups")


class StoreSpec(_Part):
    """Who writes results."""

    writers: int = Field(0, ge=0, le=31, description="0: the driver writes; n: ranks 1 to n do nothing else")


class CheckpointSpec(_Part):
    """When the driver's state is saved."""

    every: Duration = Field(60.0, description="Time between checkpoints, such as 60s")


class LimitsSpec(_Part):
    """What a run must not exceed."""

    trial_timeout: Duration | None = Field(None, description="A trial that takes longer is ended")
    max_attempts: int = Field(3, ge=1, description="A trial that was lost so often fails")
    walltime: AutoDuration = Field("auto", description="Time for the whole job; auto: what the scheduler allows")
    drain: Duration = Field(300.0, description="How long running trials may still take when the run must stop")
    group_timeout: Duration = Field(
        60.0, description="How long members of a group may differ about the end of a trial once one has failed"
    )


class JobSpec(_Part):
    """What `mpiens jobscript` and `mpiens submit` ask the scheduler for."""

    scheduler: Literal["slurm", "sge"] | None = Field(None, description="Which scheduler")
    nodes: int = Field(1, ge=1, description="Nodes")
    ranks_per_node: int = Field(1, ge=1, description="MPI ranks on each node")
    walltime: Duration | None = Field(None, description="Time limit of the job, such as 4h")
    queue: Text | None = Field(None, description="Slurm partition, SGE queue")
    memory: Memory | None = Field(None, description="Memory of each rank, such as 4G")
    launcher: Literal["auto", "mpiexec", "srun"] = Field("auto", description="What starts the ranks")
    modules: list[str] = Field([], description="Environment modules to load")
    directives: list[str] = Field([], description="More options for the scheduler, such as --account=abc")
    prologue: str = Field("", description="Shell lines before the launcher")


class Spec(_Part):
    """A spec.yaml. Relative paths are relative to it."""

    name: Name = Field(description="Label of the run; the default run directory is <name>.run beside the spec")
    seed: int = Field(1, ge=0, le=2**63 - 1, description="Root of every random draw in the run")
    output: Text | None = Field(None, description="Run directory")
    model: ModelSpec = Field(description="What runs")
    space: dict[str, Any] = Field(description="Parameters and their values, or an expression that gives points")
    search: SearchSpec = Field(description="Which points are visited, and what for")
    groups: GroupsSpec = Field(GroupsSpec.model_construct(), description="How the ranks are shared out")
    store: StoreSpec = Field(StoreSpec.model_construct(), description="Who writes results")
    checkpoint: CheckpointSpec = Field(CheckpointSpec.model_construct(), description="When state is saved")
    limits: LimitsSpec = Field(LimitsSpec.model_construct(), description="What the run must not exceed")
    job: JobSpec | None = Field(None, description="For `mpiens jobscript` and `mpiens submit`")
