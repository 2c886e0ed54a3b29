"""The process that loads a model once and forks for every trial: ``python -m mpiens.runtime.fork_server``.

It is a keeper, started by a rank, without MPI. The first request says which model; each further one is a trial.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

from mpiens.blame import describe_exception
from mpiens.comm.solo import SoloComm, allow_mpi, delay_mpi
from mpiens.errors import MpiensError, TrialError
from mpiens.keeper.frames import read_frame, take_in, write_frame
from mpiens.keeper.line import Line, ask
from mpiens.keeper.serving import Request, Stream, private_pipes, serve
from mpiens.messages import Failure, ModelSettings
from mpiens.models import build_model
from mpiens.models.base import GroupContext, Model, Trial
from mpiens.processes import end_with_parent
from mpiens.pruning import ANSWER_TIMEOUT_S
from mpiens.record import TrialRecord, encode, plain_results
from mpiens.reports import Reports, results_of_pruned
from mpiens.runlog import LOG_NAME, MarkedOutput
from mpiens.softstop import MARGIN
from mpiens.trial import TrialState
from mpiens.worker import failure_of

_ANSWER_MARGIN_S = 60.0


class Told:
    """All that a child says through a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._data = bytearray()

    def pump(self) -> int:
        """Take in some of what is there; how many bytes, 0 at the end, -1 when nothing is there yet."""
        return take_in(self.fd, self._data)

    def close(self) -> bytes:
        """Close the pipe; what has come."""
        os.close(self.fd)
        return bytes(self._data)


class ForkedTrial:
    """A trial in a child. Returns in the parent only."""

    line: Line | None

    def __init__(
        self, run: Callable[[Request, int], dict[str, Any]], private: tuple[int, int], request: Request
    ) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        line = Line()
        # The limit runs from here: starting MPI in the child is part of it.
        request["begun_s"] = time.monotonic()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        try:
            self.pid = os.fork()
        except OSError:
            for fd in (read, write, line.fd, line.child_fd):
                os.close(fd)
            raise
        if self.pid == 0:
            for fd in (read, line.fd, *private):
                os.close(fd)
            _live(lambda: run(request, line.child_fd), write)
        os.close(write)
        os.close(line.child_fd)
        self.line = line
        self.streams: dict[str, Stream] = {"told": Told(read)}


def _live(run: Callable[[], dict[str, Any]], answers: int) -> NoReturn:
    """The whole life of a child."""
    status = 1
    try:
        os.setsid()
        end_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        allow_mpi()
        told = run()
        ctypes.CDLL(None).fflush(None)  # what C code has printed; nothing else flushes it
        write_frame(answers, told)
        status = 0
    except BaseException:  # noqa: BLE001 - a child must never come back as a second parent
        traceback.print_exc()
    finally:
        os._exit(status)


class Trials:
    """What children run.

    Args:
        model: Set up.
        settings: The model's.
        context: Where.
    """

    def __init__(self, model: Model, settings: ModelSettings, context: GroupContext) -> None:
        self._model = model
        self._settings = settings
        self._context = context

    def run(self, request: Request, line: int) -> dict[str, Any]:
        """One trial: its `record`, or its `error` and whether to `retry`, with what it has reported.

        Args:
            request: Which.
            line: Where the rank can be asked.
        """
        number, attempt, seed = request["number"], request["attempt"], request["seed"]
        ask_stop = _stops_at(request["begun_s"], request["limit_s"])
        reports = Reports()
        ask_prune = Judged(reports, line).ask if request["is_judged"] else None
        trial = Trial(self._context, number, attempt, seed, request["params"], ask_stop, ask_prune, reports)
        output = MarkedOutput(self._context.world_rank, number) if _is_logged(self._context.run_dir) else None
        state, returned = TrialState.COMPLETE, None
        try:
            returned = self._model.run(trial)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            state, returned = TrialState.PRUNED, results_of_pruned(error)
            if returned is None:
                return _failed(failure_of(error, self._settings.folder), trial)
        finally:
            if output is not None:
                output.close()
        if returned is None:
            return {"record": None, "error": None, "reports": trial.reports}
        try:
            results = plain_results(returned)
            record = encode(TrialRecord(number, state, attempt, 0, seed, 0.0, 0.0, "", {}, {}, results))
        except TrialError as error:
            return _failed(Failure(str(error), retry=False), trial)
        except Exception as error:  # noqa: BLE001 - what a model returns may misbehave in any way
            text = f"the results cannot be stored: {describe_exception(error, self._settings.folder)}"
            return _failed(Failure(text, retry=False), trial)
        return {"record": record, "error": None, "reports": trial.reports}


class Judged:
    """Answers `Trial.should_prune` in a child: it asks the rank, which asks the driver.

    Args:
        reports: The trial's.
        line: Where the rank can be asked.
    """

    def __init__(self, reports: Reports, line: int) -> None:
        self._reports = reports
        self._line = line
        self._told = 0
        self._must_end = False

    def ask(self) -> bool:
        """Should the trial be given up?

        Raises:
            MpiensError: There is no answer.
        """
        new = self._reports.made[self._told :]
        if self._must_end or not new:
            return self._must_end
        self._told += len(new)
        try:
            answer = ask(self._line, new, ANSWER_TIMEOUT_S + _ANSWER_MARGIN_S)
        except (TimeoutError, EOFError, OSError) as error:
            raise MpiensError(f"trial.should_prune(): the rank does not answer ({type(error).__name__})") from error
        if answer["error"]:
            raise MpiensError(answer["error"])
        self._must_end = bool(answer["ends"])
        return self._must_end


def _stops_at(begun_s: float, limit_s: float | None) -> Callable[[], bool] | None:
    """What answers `Trial.should_stop`: the child knows its time limit, but not what the driver wants."""
    if limit_s is None:
        return None
    due_s = begun_s + limit_s * (1 - MARGIN)
    return lambda: time.monotonic() >= due_s


def _failed(failure: Failure, trial: Trial) -> dict[str, Any]:
    return {"record": None, "error": failure.text, "retry": failure.retry, "reports": trial.reports}


def _is_logged(run_dir: Path) -> bool:
    """True where standard error is the run's log, whose lines bear marks, and not a terminal."""
    try:
        return os.path.samestat(os.fstat(2), (run_dir / LOG_NAME).stat())
    except OSError:
        return False


def _load(request: Request) -> Trials:
    settings = ModelSettings(**request["settings"])
    comm = cast("Any", SoloComm())
    context = GroupContext(comm, request["group"], request["world_rank"], Path(request["run_dir"]))
    model = build_model(settings)
    model.setup(context)
    # What is there now is shared with all children as long as nobody writes to it, the collector included.
    gc.collect()
    gc.freeze()
    return Trials(model, settings, context)


def main() -> None:
    """Load the model, say how that went, and fork until the rank goes away."""
    private = private_pipes()
    requests, answers = private
    faulthandler.enable()
    delay_mpi()
    request = read_frame(requests)
    try:
        trials = _load(request)
    except MpiensError as error:
        if error.__cause__ is not None:
            sys.stderr.write("".join(traceback.format_exception(error.__cause__)))
        write_frame(answers, {"kinds": [kind.__name__ for kind in type(error).__mro__], "error": str(error)})
        return
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        text = failure_of(error, request["settings"]["folder"]).text
        write_frame(answers, {"kinds": ["ModelError"], "error": text})
        return
    write_frame(answers, {"error": None})
    serve(requests, answers, lambda request: ForkedTrial(trials.run, private, request))


if __name__ == "__main__":
    main()
