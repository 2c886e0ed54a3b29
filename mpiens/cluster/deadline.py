"""When the scheduler will end this job: Slurm and Grid Engine.

Slurm tells a job its start and its end in the environment (`SLURM_JOB_START_TIME`, `SLURM_JOB_END_TIME`); older
versions are asked with ``scontrol show job``. Grid Engine does not: ``qstat -j`` has the limits that were requested
(`h_rt`, `s_rt`), and the list of running jobs has the start.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime

from mpiens.runtime.walltime import Allotment

ASK_TIMEOUT_S = 20.0
"""How long a scheduler may take to answer."""

STARTED = "MPIENS_JOB_STARTED"
"""Variable with the start of a job that is started several times, in seconds since 1970 (UTC)."""

_SLURM_FIELD = re.compile(r"(?:^|\s)(StartTime|EndTime|TimeLimit)=(\S+)")
_SGE_LIMIT = re.compile(r"\b([hs])_rt=([0-9:]+)")
_SGE_RESOURCES = re.compile(r"^(?:hard|soft)[ _]resource_list:\s*(.*)$", re.MULTILINE)
_SGE_START = re.compile(r"\b\d\d/\d\d/\d{4} \d\d:\d\d:\d\d\b")


def find_allotment(environment: Mapping[str, str]) -> Allotment:
    """What the scheduler of this job says; nothing where there is none."""
    if environment.get("SLURM_JOB_ID"):
        return _ask_slurm(environment)
    if environment.get("SGE_ROOT") and environment.get("JOB_ID", "").isdecimal():
        return _ask_sge(environment)
    return Allotment(_number(environment.get(STARTED)))


def _ask_slurm(environment: Mapping[str, str]) -> Allotment:
    began_s, ends_s = (_number(environment.get(f"SLURM_JOB_{name}_TIME")) for name in ("START", "END"))
    if ends_s is not None:
        return Allotment(began_s, ends_s)
    text, problem = _ask("scontrol", "show", "job", "--oneliner", environment["SLURM_JOB_ID"])
    return Allotment(began_s, None, problem) if problem else parse_scontrol(text)


def parse_scontrol(text: str) -> Allotment:
    """What ``scontrol show job`` says about one job."""
    fields = dict(_SLURM_FIELD.findall(text))
    began_s = _local_time(fields.get("StartTime", ""))
    if fields.get("TimeLimit") == "UNLIMITED":
        return Allotment(began_s)
    ends_s = _local_time(fields.get("EndTime", ""))
    return Allotment(began_s, ends_s, "" if ends_s else "scontrol show job does not tell when the job will end")


def _ask_sge(environment: Mapping[str, str]) -> Allotment:
    job = environment["JOB_ID"]
    details, problem = _ask("qstat", "-j", job)
    if problem:
        return Allotment(None, None, problem)
    limit_s = parse_sge_limit(details)
    listing, problem = _ask("qstat", "-s", "r", "-u", environment.get("USER", "*"))
    if problem:
        return Allotment(None, None, problem)
    began_s = parse_sge_start(listing, job)
    if limit_s is None:
        return Allotment(began_s)
    if began_s is None:
        return Allotment(None, None, f"qstat does not tell when job {job} has started")
    return Allotment(began_s, began_s + limit_s)


def parse_sge_limit(text: str) -> float | None:
    """The shortest of the limits of time, in seconds, that ``qstat -j`` names; None: there is none."""
    limits = [_duration_s(value) for part in _SGE_RESOURCES.findall(text) for _, value in _SGE_LIMIT.findall(part)]
    return min(limits, default=None)


def parse_sge_start(text: str, job: str) -> float | None:
    """The start of a job in a list of running jobs, seconds since 1970 (UTC)."""
    for line in text.splitlines():
        if line.split()[:1] == [job] and (found := _SGE_START.search(line)):
            # Local time, as qstat prints it.
            return time.mktime(time.strptime(found.group(), "%m/%d/%Y %H:%M:%S"))
    return None


def _duration_s(text: str) -> float:
    """``3600`` or ``1:00:00`` in seconds."""
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part or 0)
    return float(seconds)


def _local_time(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    """A time in seconds since 1970, unless it is nonsense or Slurm's word for never."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < time.time() + 1e10 else None


def _ask(*command: str) -> tuple[str, str]:
    """What a program prints, and what is wrong if it does not."""
    shown = " ".join(command)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=ASK_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "", f"`{shown}` has not answered within {ASK_TIMEOUT_S:g} s"
    except OSError as error:
        return "", f"`{shown}` cannot be started: {error.strerror}"
    if done.returncode:
        said = " ".join(done.stderr.split())[:200] or "nothing"
        return "", f"`{shown}` failed (status {done.returncode}): {said}"
    return done.stdout, ""
