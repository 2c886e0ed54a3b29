"""How programs with ranks are started, on one host and on several."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch import is_open_mpi
from mpiens.errors import InstallationError, TrialError
from mpiens.models.launching import Place, choose_launch, launch_argv, launch_environment, whole_ranks

ONE = Place((("a", 4),), frozenset({0}))
TWO = Place((("a", 2), ("b", 2)), frozenset({0}))
IN_SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "PMI_RANK": "1"}


def test_srun_only_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_launch("auto", TWO, IN_SLURM) == "mpiexec"  # there is no srun
    with pytest.raises(InstallationError, match="srun is not on PATH"):
        choose_launch("srun", TWO, IN_SLURM)
    (tmp_path / "srun").touch(mode=0o755)
    assert choose_launch("auto", TWO, IN_SLURM) == "srun"
    assert choose_launch("auto", TWO, {}) == "mpiexec"
    assert choose_launch("auto", ONE, IN_SLURM) == "mpiexec"
    assert choose_launch("srun", ONE, {}) == "srun"


def test_srun_gets_the_nodes_of_the_group() -> None:
    start = ["srun", "--overlap", "--exact"]
    assert launch_argv("srun", 4, None, TWO) == [*start, "--ntasks=4", "--nodes=2", "--nodelist=a,b"]
    assert launch_argv("srun", 1, 8, TWO) == [*start, "--ntasks=1", "--nodes=1", "--nodelist=a", "--cpus-per-task=8"]


@pytest.mark.mpi
def test_mpiexec_gets_the_hosts_of_the_group() -> None:
    several = launch_argv("mpiexec", 4, None, TWO)
    assert several[1:3] == (["--host", "a:2,b:2"] if is_open_mpi() else ["-hosts", "a:2,b:2"])
    one = launch_argv("mpiexec", 2, None, ONE)
    assert one[-2:] == ["-n", "2"]
    assert several[-2:] == ["-n", "4"]
    assert is_open_mpi() or one[1:3] == ["-launcher", "fork"]


def test_the_environment_of_a_launcher() -> None:
    one, several = (launch_environment(IN_SLURM, place) for place in (ONE, TWO))
    for environment in (one, several):
        assert environment["SLURM_JOB_ID"] == "7"
        assert not environment.keys() & {"SLURM_STEP_ID", "PMI_RANK"}
    assert one["PRTE_MCA_ras"] == "^slurm,gridengine,pbs,lsf"
    assert several["SLURM_OVERLAP"] == "1"


def test_numbers_of_ranks() -> None:
    assert (whole_ranks(3, "x"), whole_ranks(4.0, "x")) == (3, 4)
    for value in (0, -1, 2.5, True, "2"):
        with pytest.raises(TrialError, match="expected a whole number from 1"):
            whole_ranks(value, "x")
