"""Settings of all tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# Unbuffered, a line and its end are written one after the other, and lines of several ranks run into each other.
os.environ.pop("PYTHONUNBUFFERED", None)

if "PYTEST_XDIST_WORKER" not in os.environ:  # they inherit it
    # Open MPI's launcher, when it is killed, leaves a folder behind that is named by its process id, and a later
    # launcher of the same id cannot start. So those of one session are by themselves, and go with it.
    tempfile.gettempdir()  # pytest's own folders stay where they are
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="mpi-")
    atexit.register(shutil.rmtree, os.environ["TMPDIR"], ignore_errors=True)

# Time limits of hypothesis measure the machine, not the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a test that was skipped is a test that is missing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
