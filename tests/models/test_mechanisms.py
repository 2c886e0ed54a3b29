"""Compiling .mod files, and parameters checked against cfg.py."""

from __future__ import annotations

import pytest

from mpiens.errors import InstallationError, ModelError, SpecError
from mpiens.models import mechanisms
from mpiens.models.cfg_check import unknown_cfg_paths
from mpiens.models.mechanisms import compile_mechanisms
from project import mpiens, write_project

LEAKY = """
NEURON { SUFFIX leaky
 NONSPECIFIC_CURRENT i
 RANGE g, e }
PARAMETER { g = 0.001 (S/cm2) e = -65 (mV) }
ASSIGNED { v (mV) i (mA/cm2) }
BREAKPOINT { i = g*(v-e) }
"""
MODEL = """
def simulate(trial):
    from neuron import h
    soma = h.Section(name="soma")
    soma.insert("leaky")
    return {"g": soma(0.5).leaky.g}
"""

pytestmark = pytest.mark.neuron


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mod"
    made.mkdir()
    (made / "leaky.mod").write_text(LEAKY)
    return made


def test_compiled_once_and_loaded_in_trials(folder, tmp_path, run_group, monkeypatch):
    build = tmp_path / "build"
    # Variables of an MPI launcher must not reach the compiler.
    monkeypatch.setenv("PMI_RANK", "1")
    library = compile_mechanisms(folder, build)
    made_ns = library.stat().st_mtime_ns
    assert compile_mechanisms(folder, build).stat().st_mtime_ns == made_ns
    assert sorted(path.name for path in folder.iterdir()) == ["leaky.mod"]
    (folder / "leaky.mod").write_text(LEAKY.replace("0.001", "0.002"))
    assert compile_mechanisms(folder, build).stat().st_mtime_ns != made_ns

    model = tmp_path / "model.py"
    model.write_text(MODEL)
    entries = run_group("python", f"{model}:simulate", [{}, {}], ranks=3, group_size=2, library=str(library))
    assert [entry["results"] for entry in entries] == [{"g": (0.002).hex()}] * 2


def test_error_shows_the_compilers_words_and_the_log(folder, tmp_path):
    (folder / "broken.mod").write_text("NEURON { SUFFIX x }\nBREAKPOINT { i = = g }\n")
    with pytest.raises(ModelError) as caught:
        compile_mechanisms(folder, tmp_path / "build")
    assert "Illegal" in str(caught.value)
    assert str(tmp_path / "build" / "nrnivmodl.log") in str(caught.value)


def test_validate_calls_it_an_error_of_the_spec_and_names_no_log_that_goes(folder, tmp_path):
    (folder / "broken.mod").write_text("NEURON { SUFFIX x }\nBREAKPOINT { i = = g }\n")
    done = mpiens(0, "validate", write_project(tmp_path, model={"python": "model.py:simulate", "mechanisms": "mod"}))
    assert done.returncode == 2
    assert "spec.yaml:4: model.mechanisms: the mechanisms in" in done.stderr
    assert "broken.mod" in done.stderr
    assert "Illegal" in done.stderr
    assert "nrnivmodl.log" not in done.stderr
    assert "mpiens-validate-" not in done.stderr


def test_colours_of_the_compilers_words_are_left_out(folder, tmp_path, monkeypatch):
    tool = tmp_path / "nrnivmodl"
    tool.write_text("#!/bin/sh\nprintf '\\033[1;31mleaky.mod: wrong\\033[0m\\033[K\\n'\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setattr(mechanisms.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ModelError, match=r"\n  leaky\.mod: wrong$"):
        compile_mechanisms(folder, tmp_path / "build")


def test_folders_without_mod_files(folder, tmp_path):
    with pytest.raises(SpecError, match="is not there"):
        compile_mechanisms(tmp_path / "none", tmp_path / "build")
    with pytest.raises(SpecError, match=r"holds no \.mod files; there are some in .*mod"):
        compile_mechanisms(folder.parent, tmp_path / "build")


def test_missing_tools(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InstallationError, match="no-such-compiler"):
        compile_mechanisms(folder, tmp_path / "build")
    monkeypatch.setattr(mechanisms.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(mechanisms.sysconfig, "get_path", lambda _name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallationError, match="no nrnivmodl"):
        compile_mechanisms(folder, tmp_path / "build")


def test_parameters_that_cfg_does_not_have(tmp_path):
    (tmp_path / "cfg.py").write_text(
        "from netpyne.batchtools import specs\nprint('noise')\ncfg = specs.SimConfig()\n"
        "cfg.w = {'E->I': 1}\ncfg.update()\n"
    )
    script = str(tmp_path / "init.py")
    assert unknown_cfg_paths(script, ["w.E->I", "w.E->X", "duration"]) == [("w.E->X", "w.E->I")]
    (tmp_path / "cfg.py").write_text("x = 1\nraise ValueError('boom')\n")
    with pytest.raises(ModelError, match=r"cfg\.py:2: ValueError: boom"):
        unknown_cfg_paths(script, ["w"])
    (tmp_path / "cfg.py").write_text("import os\nos._exit(7)\n")
    with pytest.raises(ModelError, match="status 7"):
        unknown_cfg_paths(script, ["w"])
    (tmp_path / "cfg.py").unlink()
    assert unknown_cfg_paths(script, ["w"]) == []
