"""What schedulers say about the end of a job: recorded outputs, and programs that answer, fail or hang."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from mpiens.cluster import deadline
from mpiens.cluster.deadline import find_allotment, parse_scontrol, parse_sge_limit, parse_sge_start
from mpiens.runtime.walltime import Allotment

SCONTROL = (
    "JobId=17 JobName=ens UserId=ann(1000) GroupId=ann(1000) MCS_label=N/A Priority=4294901757 Nice=0 Account=(null) "
    "QOS=(null) JobState=RUNNING Reason=None Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0 "
    "RunTime=00:00:12 TimeLimit=01:30:00 TimeMin=N/A SubmitTime=2026-03-01T10:00:00 EligibleTime=2026-03-01T10:00:00 "
    "AccrueTime=2026-03-01T10:00:00 StartTime=2026-03-01T10:00:05 EndTime=2026-03-01T11:30:05 Deadline=N/A\n"
)

QSTAT_J = """==============================================================
job_number:                 42
exec_file:                  job_scripts/42
submission_time:            Sun Mar  1 10:00:00 2026
owner:                      ann
hard resource_list:         h_rt=5400,h_vmem=4G
soft resource_list:         s_rt=1:20:00
mail_list:                  ann@example.org
env_list:                   TERM=NONE,NOTE=h_rt=60
usage         1:            cpu=00:00:00, mem=0.00000 GBs, io=0.00000
"""

QSTAT = """job-ID  prior   name       user         state submit/start at     queue            slots ja-task-ID
-----------------------------------------------------------------------------------------------------------------
     41 0.55500 other      ann          r     02/28/2026 10:00:07 all.q@node1          1
     42 0.55500 ens 42     ann          r     03/01/2026 10:00:07 all.q@node1          4
"""


def local(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_scontrol() -> None:
    assert parse_scontrol(SCONTROL) == Allotment(local("2026-03-01T10:00:05"), local("2026-03-01T11:30:05"))
    unlimited = SCONTROL.replace("01:30:00", "UNLIMITED").replace("2026-03-01T11:30:05", "Unknown")
    assert parse_scontrol(unlimited) == Allotment(local("2026-03-01T10:00:05"))
    assert parse_scontrol("slurm_load_jobs error\n").problem == "scontrol show job does not tell when the job will end"


def test_qstat() -> None:
    assert parse_sge_limit(QSTAT_J) == 4800.0
    assert parse_sge_limit(QSTAT_J.replace("s_rt", "arch")) == 5400.0
    assert parse_sge_limit("job_number: 42\n") is None
    assert parse_sge_start(QSTAT, "42") == local("2026-03-01T10:00:07")
    assert parse_sge_start(QSTAT, "4") is None


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, besides the shell's own."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def install(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_slurm_is_asked_only_when_the_environment_does_not_tell(programs: Path) -> None:
    now_s = int(time.time())
    job = {"SLURM_JOB_ID": "17"}
    told = job | {"SLURM_JOB_START_TIME": str(now_s), "SLURM_JOB_END_TIME": str(now_s + 60)}
    assert find_allotment(told) == Allotment(now_s, now_s + 60)
    install(programs, "scontrol", f'test "$*" = "show job --oneliner 17" && cat <<END\n{SCONTROL}END')
    assert find_allotment(job).ends_s == local("2026-03-01T11:30:05")
    assert find_allotment(job | {"SLURM_JOB_END_TIME": "soon"}).ends_s == local("2026-03-01T11:30:05")


def test_grid_engine_is_asked_for_the_limit_and_the_start(programs: Path) -> None:
    install(programs, "qstat", f'if [ "$1" = -j ]; then cat <<END\n{QSTAT_J}END\nelse cat <<END\n{QSTAT}END\nfi')
    job = {"SGE_ROOT": "/opt/sge", "JOB_ID": "42", "USER": "ann"}
    began_s = local("2026-03-01T10:00:07")
    assert find_allotment(job) == Allotment(began_s, began_s + 4800)
    assert find_allotment(job | {"JOB_ID": "43"}).problem == "qstat does not tell when job 43 has started"
    assert find_allotment(job | {"JOB_ID": "undefined"}) == Allotment()


def test_a_scheduler_that_fails_or_hangs(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"SLURM_JOB_ID": "17"}
    with monkeypatch.context() as here:
        here.setenv("PATH", str(programs))  # this machine may have a scheduler
        assert "`scontrol show job --oneliner 17` cannot be started: No such file" in find_allotment(job).problem
    install(programs, "scontrol", "echo Unable to contact slurm controller >&2\nexit 1")
    assert "failed (status 1): Unable to contact slurm controller" in find_allotment(job).problem
    install(programs, "scontrol", "exec sleep 100")
    monkeypatch.setattr(deadline, "ASK_TIMEOUT_S", 0.2)
    assert "has not answered within 0.2 s" in find_allotment(job).problem


def test_without_a_scheduler_a_supervisor_may_tell_the_start() -> None:
    assert find_allotment({}) == Allotment()
    assert find_allotment({"MPIENS_JOB_STARTED": "1700000000.5"}) == Allotment(1700000000.5)
