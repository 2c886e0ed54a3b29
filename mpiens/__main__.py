"""``python -m mpiens``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, and leave with its exit status."""
    from mpiens.guard import stand_guard

    # Before anything else: it forks, which a process with threads and an MPI library must not do.
    stand_guard(os.environ, sys.argv[1] if len(sys.argv) > 1 else "")
    from mpiens.cli import run_command_line
    from mpiens.comm import faults
    from mpiens.comm.leaving import leave

    faults.exit_status = run_command_line(sys.argv[1:])
    leave(faults.exit_status)


if __name__ == "__main__":
    main()
