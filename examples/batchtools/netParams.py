"""Excitatory cells (E), fast inhibitory ones (P), and inhibitory ones that adapt (S)."""

from cfg import cfg
from netpyne.batchtools import specs

netParams = specs.NetParams()

ADAPTATION = {"E": 0.002, "P": 0.0, "S": 0.006}  # S/cm2
CONNECTIONS = {"E->E": 0.2, "E->P": 0.5, "E->S": 0.5, "P->E": 0.5, "S->E": 0.5}  # probabilities

for pop, size in cfg.sizes.items():
    netParams.popParams[pop] = {"cellType": pop, "numCells": size}
    netParams.cellParams[pop] = {
        "conds": {"cellType": pop},
        "secs": {
            "soma": {
                "geom": {"diam": 18.0, "L": 18.0, "Ra": 100.0},
                "mechs": {"hh": {}, "slowk": {"gbar": ADAPTATION[pop]}},
            }
        },
    }

netParams.synMechParams["excitatory"] = {"mod": "DExpSyn", "rise_ms": 0.4, "decay_ms": 3.0, "e": 0.0}
netParams.synMechParams["inhibitory"] = {"mod": "DExpSyn", "rise_ms": 0.6, "decay_ms": 8.0, "e": -80.0}

netParams.stimSourceParams["input"] = {"type": "NetStim", "rate": cfg.input_hz, "noise": 1.0}
netParams.stimTargetParams["input->E"] = {
    "source": "input",
    "conds": {"pop": "E"},
    "synMech": "excitatory",
    "weight": cfg.weights["input->E"],
    "delay": 1.0,
}

for name, probability in CONNECTIONS.items():
    pre, post = name.split("->")
    netParams.connParams[name] = {
        "preConds": {"pop": pre},
        "postConds": {"pop": post},
        "synMech": "excitatory" if pre == "E" else "inhibitory",
        "probability": probability,
        "weight": cfg.weights[name],
        "delay": "uniform(1, 3)",
    }
