"""What can be varied: the configuration of the network."""

from netpyne.batchtools import specs

cfg = specs.SimConfig()
cfg.duration = 200.0
cfg.dt = 0.05
cfg.verbose = False
cfg.progressBar = False
cfg.hParams = {"celsius": 6.3, "v_init": -65.0}
cfg.saveCellSecs = cfg.saveCellConns = False  # the results need neither

cfg.sizes = {"E": 20, "P": 6, "S": 6}
cfg.targets_hz = {"E": 15.0, "P": 40.0, "S": 30.0}
cfg.input_hz = 40.0

# Peak conductances (uS) by connection, searched under the names weights.E->P and so on.
cfg.weights = {"input->E": 0.001, "E->E": 0.0005, "E->P": 0.001, "E->S": 0.001, "P->E": 0.002, "S->E": 0.001}

cfg.update()
