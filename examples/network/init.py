"""Runs the network once and sends its results. Also works alone, as `nrniv -python init.py`."""

import numpy as np
from cfg import cfg
from netParams import netParams
from netpyne.batchtools import comm, sim

comm.initialize()
sim.createSimulate(netParams=netParams, simConfig=cfg)
rates = sim.analysis.popAvgRates(show=False)  # None on other ranks than the first

if comm.is_host():
    spkt, spkid = np.array(sim.allSimData["spkt"]), np.array(sim.allSimData["spkid"], dtype=np.int64)
    order = np.lexsort((spkid, spkt))
    loss = sum((rates[pop] - target) ** 2 for pop, target in cfg.targets_hz.items())
    comm.send({"loss": loss, "rates": dict(rates), "spkt": spkt[order], "spkid": spkid[order]})
comm.close()
