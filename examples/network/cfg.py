"""What can be varied: the configuration of the network."""

from netpyne.batchtools import specs

cfg = specs.SimConfig()
cfg.duration = 200.0
cfg.dt = 0.05
cfg.verbose = False
cfg.progressBar = False
cfg.recordStep = 1.0
cfg.hParams = {"celsius": 6.3, "v_init": -65.0}
cfg.saveCellSecs = cfg.saveCellConns = False  # the results need neither
cfg.random123 = True

# Weights (uS) by connection, searched under the names weights.E->I and so on.
cfg.weights = {"E->E": 0.002, "E->I": 0.003, "I->E": 0.005, "input->E": 0.01}
cfg.input_hz = 60.0
cfg.targets_hz = {"E": 30.0, "I": 35.0}

cfg.update()
