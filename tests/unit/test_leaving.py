"""The end of a process whose MPI cannot end in order."""

from __future__ import annotations

from launch import run_ranks

CODE = """
import sys
from types import ModuleType, SimpleNamespace

class Exception75(RuntimeError):
    pass

def fail():
    raise Exception75("error code: 75")

mpi4py = ModuleType("mpi4py")
mpi4py.MPI = SimpleNamespace(
    Is_initialized=lambda: True, Is_finalized=lambda: False, Finalize=fail, Exception=Exception75
)
sys.modules["mpi4py"] = mpi4py

from mpiens.comm.leaving import finalize

print("the last word")
finalize(7)
"""


def test_a_rank_that_is_killed_while_the_others_end_mpi_is_no_error_of_theirs() -> None:
    done = run_ranks(0, ["-c", CODE], 60.0)
    assert (done.returncode, done.stdout, done.stderr) == (7, "the last word\n", "")
