"""Runs the network once and sends rates and losses."""

from cfg import cfg
from netParams import netParams
from netpyne import sim
from netpyne.batchtools import comm

comm.initialize()
sim.createSimulate(netParams=netParams, simConfig=cfg)
rates = sim.analysis.popAvgRates(show=False)  # None on other ranks than the first

if comm.is_host():
    losses = {f"loss_{pop}": (rates[pop] - target) ** 2 for pop, target in cfg.targets_hz.items()}
    comm.send({"loss": sum(losses.values()) / len(losses), **losses, "rates": dict(rates)})
comm.close()
