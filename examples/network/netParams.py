"""The network: 32 excitatory and 8 inhibitory cells, driven by noise."""

from cfg import cfg
from netpyne.batchtools import specs

netParams = specs.NetParams()

netParams.popParams["E"] = {"cellType": "E", "numCells": 32}
netParams.popParams["I"] = {"cellType": "I", "numCells": 8}

for cell_type, diam in (("E", 20.0), ("I", 14.0)):
    netParams.cellParams[cell_type] = {
        "conds": {"cellType": cell_type},
        "secs": {
            "soma": {
                "geom": {"diam": diam, "L": diam, "cm": 1.0},
                "mechs": {"hh": {"gnabar": 0.12, "gkbar": 0.036, "gl": 0.0003, "el": -54.3}},
            }
        },
    }

netParams.synMechParams["exc"] = {"mod": "Exp2Syn", "tau1": 0.5, "tau2": 3.0, "e": 0.0}
netParams.synMechParams["inh"] = {"mod": "Exp2Syn", "tau1": 0.5, "tau2": 8.0, "e": -80.0}

netParams.stimSourceParams["input"] = {"type": "NetStim", "rate": cfg.input_hz, "noise": 1.0}
netParams.stimTargetParams["input->E"] = {
    "source": "input",
    "conds": {"pop": "E"},
    "weight": cfg.weights["input->E"],
    "delay": 1.0,
    "synMech": "exc",
}

# Delays differ from connection to connection. Equal ones would deliver spikes to a cell at the same instant, in an
# order that depends on the number of ranks, and sums of floating-point numbers depend on their order.
for name, synapse, probability in (("E->E", "exc", 0.1), ("E->I", "exc", 0.3), ("I->E", "inh", 0.3)):
    pre, post = name.split("->")
    netParams.connParams[name] = {
        "preConds": {"pop": pre},
        "postConds": {"pop": post},
        "probability": probability,
        "weight": cfg.weights[name],
        "delay": "uniform(1.0, 5.0)",
        "synMech": synapse,
    }
