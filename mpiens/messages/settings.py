"""What ranks must know before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mpiens.layout import Layout
from mpiens.record import Params


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """What a worker must know of a command.

    Attributes:
        argv: Program and arguments with placeholders; empty: `prepare` says it all.
        result: Kind (marker, file or regex) and text of where the result is; None: the last line printed.
        ranks: MPI ranks, a number or arithmetic on the parameters; None: no MPI program.
        threads: Threads of each rank.
        launch: auto, mpiexec or srun.
        prepare: Function that returns a trial's command, in the form of `ModelSettings.target`.
        objective: Name of a result that is a plain number.
    """

    argv: tuple[str, ...]
    result: tuple[str, str] | None = None
    ranks: int | str | None = None
    threads: int | None = None
    launch: str = "auto"
    prepare: str | None = None
    objective: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What a worker must know of the spec's `model` part.

    Attributes:
        kind: Which adapter runs it.
        target: ``path.py:function`` or ``package.module:function``, or the script's path; paths are absolute.
        setup: Function to call once on every rank, in the form of `target`.
        library: Compiled mechanisms to load, or None.
        fixed: Constants that every trial gets.
        folder: The spec's folder, absolute.
        command: What to run, for a model of kind command.
        is_isolated: Every trial runs in a process of its own.
        limit_s: Time limit of a trial that the model keeps itself, because it has processes to end; otherwise None.
        results: Parts of the simulation's data to keep, for a model of kind netpyne.
        seeds: The trial's seed replaces those of the script, for a model of kind netpyne.
        reuse: Networks stay from trial to trial where that makes no difference, for a model of kind netpyne.
    """

    kind: Literal["python", "netpyne", "command"]
    target: str
    folder: str
    setup: str | None = None
    library: str | None = None
    fixed: Params = field(default_factory=dict)
    command: CommandSettings | None = None
    is_isolated: bool = False
    limit_s: float | None = None
    results: tuple[str, ...] = ()
    seeds: bool = False
    reuse: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker must know of the run.

    Attributes:
        layout: Who does what.
        model: What to run.
        objectives: Names that the model must return.
        seed: Root of the trials' seeds.
        run_dir: Run directory, absolute.
        group_timeout_s: How long members of a group may disagree that a trial has ended, once one has failed.
        trial_timeout_s: Time limit of a trial, or None: there is none, or the model keeps it.
        prunes: The run has a pruner, which trials may ask.
    """

    layout: Layout
    model: ModelSettings
    objectives: tuple[str, ...]
    seed: int
    run_dir: str
    group_timeout_s: float
    trial_timeout_s: float | None = None
    prunes: bool = False


@dataclass(frozen=True, slots=True)
class WriterSetup:
    """All that a writer must know of the run.

    Attributes:
        index: Which writer this is: its world rank. Rank 0 is one too.
        writers: How many there are, with rank 0.
        first_serial: The first number for its segments.
        run_dir: Run directory, absolute.
        name: The run's label.
        spec_text: The spec.
        provenance: Where the run comes from: strings and numbers by name.
        objectives: ``minimize``, ``maximize`` or ``constraint`` by name.
        parameters: Names of the parameters.
    """

    index: int
    writers: int
    first_serial: int
    run_dir: str
    name: str
    spec_text: str
    provenance: Mapping[str, str | int]
    objectives: Mapping[str, str]
    parameters: tuple[str, ...]
