"""NetPyNE scripts as models."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NETWORK = EXAMPLES / "network" / "init.py"
NETWORK_TRIALS = [
    (
        number,
        {
            "weights.E->E": 0.002 * number,
            "weights.E->I": 0.003,
            "weights.I->E": 0.01 * number,
            "weights.input->E": 0.01,
            "duration": 100,
        },
    )
    for number in range(3)
]

pytestmark = pytest.mark.neuron

CFG = """
from netpyne.batchtools import specs
import uuid
cfg = specs.SimConfig()
cfg.duration = 20
cfg.mode = "ok"
cfg.nmda = {"PYR->BC": 1.0, "AMPA.fast": 2.0}
cfg.xn = [1, 2]
cfg.token = str(uuid.uuid4())
cfg.update({"duration": 30, "mode": "own"})
cfg.doubled = 2 * cfg.xn[0]
assert specs.test_mappings({"cfg.xn.1": 2, "mode": cfg.mode}) and cfg.test_mappings({"nmda": cfg.nmda})
try:
    specs.test_mappings({"cfg.xm.1": 3})
except Exception as error:
    assert "did you mean 'xn.1'" in str(error), error
cfg.late = 5
"""

NET_PARAMS = """
from netpyne import specs
from cfg import cfg
netParams = specs.NetParams()
netParams.popParams["A"] = {"cellType": "A", "numCells": 3}
netParams.cellParams["A"] = {"conds": {"cellType": "A"}, "secs": {"soma": {"geom": {"diam": 10, "L": 10},
    "mechs": {"pas": {"g": 1e-4, "e": -65}}}}}
netParams.stimSourceParams["s"] = {"type": "NetStim", "rate": 10, "noise": 0.5}
netParams.stimTargetParams["t"] = {"source": "s", "conds": {"pop": "A"}, "weight": 1e-4, "delay": 1, "synMech": "e"}
netParams.synMechParams["e"] = {"mod": "ExpSyn", "tau": 2, "e": 0}
netParams.connParams["A->A"] = {"preConds": {"pop": "A"}, "postConds": {"pop": "A"}, "weight": 1e-4, "delay": 2,
    "synMech": "e"}
"""

INIT = """
import json, os, sys
import pandas
from netpyne.batchtools import specs, comm
from netpyne import sim
from netParams import cfg, netParams

comm.initialize()
assert __name__ == "__main__" and sys.argv == [__file__]
assert os.getcwd() == os.path.dirname(__file__)
assert not hasattr(sim, "leaked")
sim.leaked = True
mode, last = cfg.mode, comm.rank == sim.pc.nhost() - 1 if hasattr(sim, "pc") else True
if mode == "before":
    raise ValueError("before")
if mode == "silent":
    sys.exit(0)
if mode == "status":
    sys.exit("gave up")
sim.initialize(netParams, cfg)
if mode == "initialized":
    raise ValueError("initialized")
sim.net.createPops()
sim.net.createCells()
if mode == "half":
    raise ValueError("half")
sim.net.connectCells()
sim.net.addStims()
sim.setupRecording()
sim.runSim()
sim.gatherData()
if mode == "self-clean":
    sim.clearAll()
if mode == "unsent":
    comm.send(3) if comm.is_host() else None
elif mode != "nothing" and comm.is_host():
    if mode == "save":
        cfg.save(f"{cfg.saveFolder}/{cfg.simLabel}_cfg.json")
    comm.send({"duration": cfg.duration, "nmda": cfg.nmda["PYR->BC"], "fast": cfg.nmda["AMPA.fast"], "xn": cfg.xn})
    comm.send(json.dumps({"doubled": cfg.doubled, "late": cfg.late, "label": cfg.simLabel}))
    sim.send(pandas.Series({"token": cfg.token, "n": 3}))
    comm.close()
if mode == "quit":
    from neuron import h
    sim.pc.done()
    h.quit()
"""


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in (("cfg.py", CFG), ("netParams.py", NET_PARAMS), ("init.py", INIT)):
        (folder / name).write_text(text)
    return folder / "init.py"


@pytest.mark.mpi
def test_spikes_do_not_depend_on_ranks_or_order(run_group):
    serial = {entry["number"]: entry["results"] for entry in run_group("netpyne", NETWORK, NETWORK_TRIALS)}
    assert all(len(results["spkt"]) > 10 for results in serial.values())
    for ranks, group_size in ((5, 2), (4, 4)):
        entries = run_group("netpyne", NETWORK, NETWORK_TRIALS[::-1], ranks=ranks, group_size=group_size)
        assert {entry["number"]: entry["results"] for entry in entries} == serial
        assert all(left == [0, 0] for entry in entries for left in entry["left"])


def test_memory_stays_flat(script, run_group):
    entries = run_group("netpyne", script, [{"mode": "ok"}] * 40, keep_results=False)
    assert entries[-1]["resident_kb"] / entries[9]["resident_kb"] < 1.02
    # What would make trials slower from one to the next; benchmarks/long_run.py measures their times.
    assert entries[-1]["left"] == entries[9]["left"]


def test_parameters_reach_nested_places_and_results_are_merged(script, run_group):
    params = {"nmda.PYR->BC": 7.5, "nmda.AMPA.fast": 3.0, "xn.0": 4, "late": 6, "mode": "quit"}
    first, second = run_group("netpyne", script, [params, {"duration": 25, "mode": "ok"}])
    results = first["results"]
    assert first["errors"] == [""]
    assert results.pop("token") != second["results"].pop("token"), "cfg.py is executed again for each trial"
    assert results == {
        "duration": (30.0).hex(),
        "nmda": (7.5).hex(),
        "fast": (3.0).hex(),
        "xn": [4, 2],
        "doubled": 8,
        "late": 6,  # made below cfg.update(), so it takes effect when the simulation is set up
        "label": "trial_0",
        "n": 3,
    }
    assert second["results"]["duration"] == (25.0).hex(), "the trial's values win over the script's own update"


def test_failures_leave_nothing_behind(script, run_group):
    modes = [
        "before",
        "ok",
        "silent",
        "status",
        "initialized",
        "ok",
        "half",
        "ok",
        "self-clean",
        "unsent",
        "nothing",
        "ok",
    ]
    entries = run_group("netpyne", script, [{"mode": mode} for mode in modes])
    errors = dict(zip(modes, (entry["errors"][0] for entry in entries), strict=True))
    assert "init.py:15: ValueError: before" in errors["before"]
    assert errors["half"].endswith("ValueError: half")
    assert errors["silent"] == "the script ended with sys.exit() before it sent results"
    assert errors["status"] == "the script ended with sys.exit('gave up')"
    assert "expected results by name, a dict, found int" in errors["unsent"]
    assert errors["nothing"].startswith("the script sent no results; call comm.send({...}) with the results by name")
    assert [entry["errors"][0] for entry, mode in zip(entries, modes, strict=True) if mode == "ok"] == [""] * 4
    assert all(left == [0, 0] for entry in entries for left in entry["left"])


def test_unknown_parameter_names_the_nearest(script, run_group):
    entries = run_group("netpyne", script, [{"nmda.PYR->BX": 1}, {"xn.7": 1}])
    assert "'nmda.PYR->BX'" in entries[0]["errors"][0]
    assert "did you mean 'nmda.PYR->BC'?" in entries[0]["errors"][0]
    assert "xn.7" in entries[1]["errors"][0]


def test_unknown_parameter_of_a_script_that_simulates_nothing(tmp_path, run_group):
    script = tmp_path / "rosenbrock.py"
    script.write_text(
        "from netpyne import sim, specs\n"
        "cfg = specs.SimConfig()\n"
        "cfg.xn = [1, 1]\n"
        "cfg.update()\n"
        "cfg.late = 1\n"
        "sim.send({'fx': cfg.xn[0]})\n"
    )
    entries = run_group("netpyne", script, [{"xn.0": 3}, {"xm.0": 3}, {"xn.2": 3}, {"late": 3}, {"q": 3}])
    errors = [entry["errors"][0] for entry in entries]
    assert errors[0] == ""
    assert "'xm.0': the script's SimConfig has no such path; did you mean 'xn.0'?" in errors[1]
    assert "'xn.2': the script's SimConfig has no such path; did you mean" in errors[2]
    assert "'late' never reached a SimConfig that has it" in errors[3]
    assert "give it a value in cfg.py, or name one that is there" in errors[4]


def test_trial_folder_is_made_only_to_save(script, run_group, tmp_path):
    run_group("netpyne", script, [{"mode": "ok"}, {"mode": "save"}])
    assert [path.name for path in (tmp_path / "run" / "trials").iterdir()] == ["1"]
    assert (tmp_path / "run" / "trials" / "1" / "trial_1_cfg.json").is_file()


PLAIN_CFG = """
from netpyne import specs
cfg = specs.SimConfig()
cfg.duration = 10
cfg.weight = 1.0
cfg.saveFolder = "../data"
"""


@pytest.mark.parametrize("form", ["import", "command line", "one file"])
def test_plain_scripts_without_batchtools(tmp_path, run_group, form):
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "cfg.py").write_text(PLAIN_CFG)
    make = "from netpyne import specs\nnetParams = specs.NetParams()\nnetParams.note = cfg.weight\n"
    head = {
        "import": "from cfg import cfg\nfrom netParams import netParams\n",
        "command line": "from netpyne import sim\ncfg, netParams = sim.readCmdLineArgs()\n",
        "one file": PLAIN_CFG + make.replace("cfg.weight", "None"),
    }[form]
    (folder / "netParams.py").write_text(
        ("from __main__ import cfg\n" if form == "command line" else "from cfg import cfg\n") + make
    )
    (folder / "init.py").write_text(
        head + "from netpyne import sim\nsim.initialize(netParams, cfg)\n"
        "sim.send({'weight': sim.cfg.weight, 'note': netParams.note or 0, 'duration': cfg.duration})\n"
    )
    entries = run_group("netpyne", folder / "init.py", [{"weight": 2.5}, {"weight": 3.5}, {"wieght": 1}])
    for entry, weight in zip(entries, (2.5, 3.5), strict=False):
        assert entry["errors"] == [""]
        assert entry["results"]["weight"] == weight.hex()
        assert entry["results"]["note"] == (0 if form == "one file" else weight.hex())
    assert "did you mean 'weight'?" in entries[2]["errors"][0]


@pytest.mark.mpi
def test_failure_on_one_rank(tmp_path, run_group):
    script = tmp_path / "one_rank.py"
    script.write_text(
        "from mpiens.netpyne import specs, comm, sim\n"
        "cfg = specs.SimConfig()\n"
        "cfg.fails = False\n"
        "cfg.update()\n"
        "assert specs.test_mappings({'cfg.fails': cfg.fails})\n"
        "sim.initialize(specs.NetParams(), cfg)\n"
        "if cfg.fails and comm.rank == 1:\n    raise ValueError('here')\n"
        "if cfg.fails:\n    sim.pc.py_broadcast('stale', 0)\n    raise SystemExit\n"
        "word = sim.pc.py_broadcast('fresh' if comm.is_host() else None, 0)\n"
        "words = sim.pc.py_gather(word, 0)\n"
        "comm.send({'words': words, 'rank': comm.rank})\n"
    )
    trials = [{"fails": fails} for fails in (False, True, False)]
    entries = run_group("netpyne", script, trials, ranks=3, group_size=2)
    assert entries[1]["errors"][1].endswith("one_rank.py:8: ValueError: here")
    assert [entry["results"].get("words") for entry in entries] == [["fresh", "fresh"], None, ["fresh", "fresh"]]
