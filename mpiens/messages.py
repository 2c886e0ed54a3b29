"""What ranks say to each other. Frozen values; no behaviour.

==============  =================  ==================================================================
message         from -> to         meaning
==============  =================  ==================================================================
Setup           driver -> all      how to run trials; the first message
Ready           root -> driver     the group is set up and takes trials
SetupFailed     member -> driver   the group cannot be set up
Assign          driver -> root     run these trials, in this order
Results         root -> writer     attempts have ended; each carries its record, packed for the store
Written         writer -> driver   the records of these attempts are safe; failed ones go on to it as `Results`
Reported        root -> driver     a trial has reported values; is it to be given up?
Verdict         driver -> root     the answer to that
GroupStuck      member -> driver   the group disagrees about a trial and cannot go on
Alive           driver -> all      nothing new; said now and then, so that a dead driver is noticed
                writer -> driver   likewise
Hurry           driver -> root     trials that ask whether they should stop are to end
Shutdown        driver -> all      no more work
Left            all -> driver      this rank has nothing more to say
RankLost        transport -> any   this rank has died; nobody sends it
==============  =================  ==================================================================

Where the driver writes itself, it is the writer of the first of these, and there is no other. Where ranks of their own
write (``store.writers``), they and the driver say besides:

==============  =================  ==================================================================
message         from -> to         meaning
==============  =================  ==================================================================
WriterSetup     driver -> writer   what a writer must know; its first message
Keep            driver -> writer   write the record of a trial that has failed for good
Fence           driver -> writer   take no more of this group, which is lost
Fenced          writer -> driver   so it is; all that the group had said before has been told
Seal            driver -> writer   make a segment of what is in the journal
Sealed          writer -> writer   to the first one: these segments are there, for results.h5
Finish          driver -> writer   the run has ended
Finished        writer -> driver   all files are complete
WriterFailed    writer -> driver   nothing can be written any more
==============  =================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mpiens.layout import Layout
from mpiens.record import Params
from mpiens.reports import Report
from mpiens.trial import TrialState


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
class Ready:
    """The group is set up."""

    group: int


@dataclass(frozen=True, slots=True)
class SetupFailed:
    """The group cannot be set up.

    Attributes:
        error: One line that names the cause.
        is_usage: The spec is to blame, rather than the model's code or the machine.
    """

    group: int
    rank: int
    error: str
    is_usage: bool = False


class Assignment(NamedTuple):
    """One attempt at one trial.

    Attributes:
        number: The trial.
        attempt: Which dispatch of it.
        params: Its point.
        history: The attempts before, as `mpiens.history` writes them; they go into the trial's record.
    """

    number: int
    attempt: int
    params: Params
    history: str = ""


@dataclass(frozen=True, slots=True)
class Assign:
    """Trials to run, in this order, after those assigned before."""

    assignments: tuple[Assignment, ...]


class Failure(NamedTuple):
    """Why an attempt failed on one rank.

    Attributes:
        text: One line.
        retry: The cause may pass.
    """

    text: str
    retry: bool = True


class Question(NamedTuple):
    """What all ranks of a group ask its root during a trial.

    Attributes:
        number: The trial.
        attempt: Which dispatch of it.
        call: How many questions there were in it, this one included.
        topic: What is asked, for messages.
    """

    number: int
    attempt: int
    call: int
    topic: str


class Result(NamedTuple):
    """How an attempt has ended. A named tuple, because there may be a hundred thousand of them a second.

    Attributes:
        number: The trial.
        attempt: Which dispatch of it.
        state: COMPLETE, PRUNED or FAIL.
        values: Objectives in the order of the spec; empty unless COMPLETE.
        started_s: Start, in seconds since 1970 (UTC).
        elapsed_s: How long it ran.
        error: Cause of a failure, one line; empty otherwise.
        retry: The cause may pass, so that another attempt makes sense.
        record: The packed `TrialRecord`; empty for a failure, which the driver may want to try again.
        reports: What the trial has reported while it ran.
    """

    number: int
    attempt: int
    state: TrialState
    values: tuple[float, ...]
    started_s: float
    elapsed_s: float
    error: str
    retry: bool
    record: bytes
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """Attempts that have ended, in the order in which they ran. Those that have failed have no record."""

    group: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Attempts that have ended and whose records are safe, without the records."""

    group: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A trial asks whether it should be given up.

    Attributes:
        group: The group that runs it.
        number: The trial.
        attempt: Which dispatch of it.
        call: How many questions there were in it, this one included.
        reports: Steps and values since the question before.
    """

    group: int
    number: int
    attempt: int
    call: int
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to `Reported`."""

    number: int
    attempt: int
    call: int
    is_pruned: bool


@dataclass(frozen=True, slots=True)
class GroupStuck:
    """One member has ended a trial and the others have not, for longer than `Setup.group_timeout_s`."""

    group: int
    rank: int
    number: int
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing new."""


@dataclass(frozen=True, slots=True)
class Hurry:
    """Trials that ask whether they should stop are to end."""


@dataclass(frozen=True, slots=True)
class Left:
    """This rank has nothing more to say."""

    rank: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """No more work."""


@dataclass(frozen=True, slots=True)
class WriterSetup:
    """All that a writer must know of the run.

    Attributes:
        index: Which writer this is, from 0.
        ranks: World ranks of all writers.
        run_dir: Run directory, absolute.
        name: The run's label.
        spec_text: The spec.
        provenance: Where the run comes from: strings and numbers by name.
        objectives: ``minimize``, ``maximize`` or ``constraint`` by name.
        parameters: Names of the parameters.
    """

    index: int
    ranks: tuple[int, ...]
    run_dir: str
    name: str
    spec_text: str
    provenance: Mapping[str, str | int]
    objectives: Mapping[str, str]
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """A trial that has failed for good; its record is the driver's, and has yet to be written."""

    group: int
    result: Result


@dataclass(frozen=True, slots=True)
class Fence:
    """A group is lost, and what it may still have to say must not count."""

    group: int


@dataclass(frozen=True, slots=True)
class Fenced:
    """The answer to `Fence`: from here on nothing of the group is taken."""

    group: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Time to make segments."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Segments are there that results.h5 does not show yet.

    Attributes:
        segments: Their file names.
        journals: File names of the journals that they were made of, and that go once results.h5 shows them.
    """

    segments: tuple[str, ...]
    journals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The run has ended.

    Attributes:
        state: What results.h5 is to say of it.
    """

    state: Literal["running", "stopped", "complete"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A writer has done all that it had to.

    Attributes:
        rank: Of the writer.
        notes: What a person should know, a sentence each.
    """

    rank: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriterFailed:
    """A writer cannot go on.

    Attributes:
        rank: Of the writer.
        error: Cause, one line.
    """

    rank: int
    error: str


@dataclass(frozen=True, slots=True)
class RankLost:
    """The rank has died, and the job goes on. Nobody sends this: a transport finds it out."""

    rank: int


Message = (
    RankLost
    | Setup
    | Ready
    | SetupFailed
    | Assign
    | Results
    | Written
    | Reported
    | Verdict
    | GroupStuck
    | Alive
    | Hurry
    | Shutdown
    | Left
    | WriterSetup
    | Keep
    | Fence
    | Fenced
    | Seal
    | Sealed
    | Finish
    | Finished
    | WriterFailed
)
