"""One trial in this process, without driver or store."""

from __future__ import annotations

from pathlib import Path

from mpiens.comm.group import GroupLink
from mpiens.comm.mpi import connect
from mpiens.errors import MpiensError, UsageError
from mpiens.layout import plan
from mpiens.messages import Assign, Assignment, Message, Result, Results, SetupFailed
from mpiens.models import build_model
from mpiens.models.base import GroupContext
from mpiens.record import Params
from mpiens.runtime.prepare import make_setup
from mpiens.spec import LoadedSpec
from mpiens.watchdog import Watchdog
from mpiens.worker import GroupMember, GroupRoot


def run_single(loaded: LoadedSpec, run_dir: Path, number: int, params: Params) -> Result:
    """Run this trial; what the model prints goes to the terminal.

    Raises:
        MpiensError: The model cannot be set up, or this is not a world of one rank.
    """
    world = connect()
    if world.size > 1:
        raise UsageError(f"mpiens test runs without mpiexec; this is a world of {world.size} ranks")
    setup = make_setup(loaded, plan(1), run_dir)
    comm, _ = world.make_group([0])
    context = GroupContext(comm, 0, 0, run_dir)
    watchdog = Watchdog(setup.trial_timeout_s, None) if setup.trial_timeout_s is not None else None
    member = GroupMember(setup, context, GroupLink(None, 0), build_model(setup.model), lambda _: None, watchdog)
    said: list[Message] = []
    root = GroupRoot(member, said.append)
    view = member.set_up()
    if isinstance(view, SetupFailed):
        raise (UsageError if view.is_usage else MpiensError)(view.error)
    root.deliver(Assign((Assignment(number, 1, params),)))
    root.work()
    (results,) = said
    assert isinstance(results, Results)
    return results.results[0]
