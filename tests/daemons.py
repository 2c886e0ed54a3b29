"""Real schedulers on this machine, as root: Slurm with two nodes, and Grid Engine, each in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

START_S = 60.0
CALL_S = 60.0

_SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=pmi2
SlurmdParameters=config_overrides
KillWait=30
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


Kind = TypeVar("Kind", bound="Daemons")


class Daemons:
    """Programs that run until they are ended, and the environment in which their clients find them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SGE"))}
        self._running: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        """Start it and wait until jobs can run."""
        raise NotImplementedError

    def start(self, *command: str | Path) -> None:
        """Start a program that stays in the foreground."""
        with (self.folder / f"{Path(command[0]).name}.out").open("ab") as log:
            self._running.append(
                subprocess.Popen(
                    [*map(str, command)], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )

    def call(self, *command: str | Path, stdin: str = "") -> str:
        """What a program prints that must succeed."""
        done = subprocess.run(
            [*map(str, command)],
            env=self.environment, input=stdin, capture_output=True, text=True, timeout=CALL_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for it."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, f"{what}: not within {timeout_s:g} s\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """The ends of what the programs have printed."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.out")))

    def end(self) -> None:
        """End them all, the last one first."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


class Slurm(Daemons):
    """slurmctld and two nodes of four cores."""

    def begin(self) -> None:
        """Start it and wait until jobs can run."""
        host, ports = socket.gethostname().partition(".")[0], _free_ports(3)
        (self.folder / "state").mkdir()
        (self.folder / "slurm.conf").write_text(_SLURM.format(host=host, ports=ports, folder=self.folder))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.environment["SLURM_CONF"] = str(self.folder / "slurm.conf")
        files = [
            f"--{name}={self.folder}/munge.{name.partition('-')[0]}" for name in ("socket", "key-file", "log-file")
        ]
        files += [f"--pid-file={self.folder}/munge.pid", f"--seed-file={self.folder}/munge.seed"]
        self.start("/usr/sbin/munged", "--foreground", "--force", *files)
        self.until((self.folder / "munge.socket").exists, START_S, "munged")
        self.start("/usr/sbin/slurmctld", "-D", "-i")
        for node in ("n1", "n2"):
            self.start("/usr/sbin/slurmd", "-D", "-N", node)
        self.until(lambda: self.call("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * 2, START_S, "Slurm's nodes")

    def end(self) -> None:
        """Jobs first: they would outlive the daemons."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.call("scancel", "--state=RUNNING,PENDING", "--full", "--signal=KILL", "--user=root")
            self.until(lambda: not self.call("squeue", "-h"), START_S, "no jobs")
        super().end()

    def submit(self, script: str, folder: Path, *options: str) -> str:
        """Hand in a job; its number."""
        command = ["sbatch", "--parsable", f"--chdir={folder}", "--output=job.log", *options]
        return self.call(*command, stdin=script).strip()

    def await_end(self, job: str, timeout_s: float) -> str:
        """Wait for a job to end; its state, such as COMPLETED."""

        def state() -> str:
            words = self.call("scontrol", "show", "job", "--oneliner", job).split()
            return next(word.partition("=")[2] for word in words if word.startswith("JobState="))

        self.until(lambda: state() not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"), timeout_s, f"job {job}")
        return state()


_SGE = Path("/var/lib/gridengine")
_BOOTSTRAP = """
admin_user none
default_domain none
ignore_fqdn false
spooling_method berkeleydb
spooling_lib libspoolb
spooling_params {folder}/spool
binary_path /usr/sbin
qmaster_spool_dir {folder}/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
_QUEUE = {
    **{"qname": "main.q", "pe_list": "orte", "slots": "4", "load_thresholds": "NONE"},
    **{"shell": "/bin/bash", "shell_start_mode": "unix_behavior", "notify": "00:00:05"},
}
_PARALLEL = """
pe_name orte
slots 64
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $fill_up
control_slaves TRUE
job_is_first_task FALSE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


class GridEngine(Daemons):
    """sge_qmaster and one host of four slots.

    Grid Engine looks at the first name of its host's address, so all its programs see an /etc/hosts of their own.
    """

    def begin(self) -> None:
        """Start it and wait until jobs can run."""
        host, (master, execd) = socket.gethostname(), _free_ports(2)
        (self.folder / "hosts").write_text(f"127.0.0.1 {host} localhost\n")
        root, common = self.folder / "root", self.folder / "root" / "default" / "common"
        common.mkdir(parents=True)
        for name in ("bin", "lib", "util", "utilbin"):
            (root / name).symlink_to(_SGE / name)
        for name in ("spool", "qmaster", "execd"):
            (self.folder / name).mkdir()
        (common / "bootstrap").write_text(_BOOTSTRAP.format(folder=self.folder).lstrip())
        (common / "act_qmaster").write_text(f"{host}\n")
        self.environment |= {
            **{"SGE_ROOT": str(root), "SGE_CELL": "default", "SGE_ND": "1"},
            **{"SGE_QMASTER_PORT": str(master), "SGE_EXECD_PORT": str(execd)},
        }
        self.within("/usr/share/gridengine/scripts/init_cluster", root, "default", self.folder / "spool", "root")
        self.start(*self._inside, "/usr/sbin/sge_qmaster")
        self.until(lambda: self._answers("qconf", "-sh"), START_S, "sge_qmaster")
        for option in ("-as", "-ah"):
            self._answers("qconf", option, host)  # it may be one already
        settings = {"min_uid": "0", "min_gid": "0", "execd_spool_dir": f"{self.folder}/execd"}
        self._set("-Mconf", "global", self._changed("-sconf", settings))
        fast = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}
        self._set("-Msconf", "scheduler", self._changed("-ssconf", fast | {"job_load_adjustments": "NONE"}))
        self._set("-Ap", "orte", _PARALLEL.lstrip())
        self._set("-Aq", "main.q", self._changed("-sq", _QUEUE | {"hostlist": host}))
        self.start(*self._inside, "/usr/sbin/sge_execd")
        self.until(
            lambda: " lx" in self.within("qstat", "-f") and "au" not in self.within("qstat", "-f"), START_S, "sge_execd"
        )

    @property
    def _inside(self) -> list[str]:
        bind = f'mount --bind {self.folder}/hosts /etc/hosts && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", bind, "sh"]

    def within(self, *command: str | Path, stdin: str = "") -> str:
        """As `call`, for a client of Grid Engine."""
        return self.call(*self._inside, *command, stdin=stdin)

    def _answers(self, *command: str) -> bool:
        try:
            self.within(*command)
        except AssertionError:
            return False
        return True

    def _changed(self, option: str, changes: Mapping[str, str]) -> str:
        """What qconf shows, with other values."""
        shown = self.within("qconf", option).replace("\\\n", " ").splitlines()
        values = dict(line.split(None, 1) for line in shown if line.strip() and not line.startswith("#"))
        return "".join(f"{name} {value}\n" for name, value in (values | dict(changes)).items())

    def _set(self, option: str, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        self.within("qconf", option, path)

    def submit(self, script: str, folder: Path, *options: str) -> str:
        """Hand in a job; its number."""
        command = ["qsub", "-terse", "-wd", str(folder), "-j", "y", "-o", "job.log", "-V", *options]
        return self.within(*command, stdin=script).strip()

    def await_end(self, job: str, timeout_s: float) -> None:
        """Wait for a job to end."""
        self.until(lambda: not self._answers("qstat", "-j", job), timeout_s, f"job {job}")

    def end(self) -> None:
        """Jobs first: they would outlive the daemons."""
        self._answers("qdel", "-f", "-u", "*")
        super().end()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(kind: type[Kind], folder: Path) -> Iterator[Kind]:
    """A scheduler, from its start to its end."""
    daemons = kind(folder)
    try:
        daemons.begin()
        yield daemons
    finally:
        daemons.end()
        shutil.rmtree(folder, ignore_errors=True)
