TITLE Synapse whose conductance rises and falls exponentially

COMMENT
The conductance is the difference of two exponentials, scaled so that an event of weight w has its peak at w.
rise_ms must be below decay_ms.
ENDCOMMENT

NEURON {
    POINT_PROCESS DExpSyn
    RANGE rise_ms, decay_ms, e, i
    NONSPECIFIC_CURRENT i
}

UNITS {
    (nA) = (nanoamp)
    (mV) = (millivolt)
    (uS) = (microsiemens)
}

PARAMETER {
    rise_ms = 0.5 (ms)
    decay_ms = 3 (ms)
    e = 0 (mV)
}

ASSIGNED {
    v (mV)
    i (nA)
    scale (1)
}

STATE {
    rising (uS)
    falling (uS)
}

INITIAL {
    LOCAL peak_ms
    rising = 0
    falling = 0
    peak_ms = rise_ms * decay_ms / (decay_ms - rise_ms) * log(decay_ms / rise_ms)
    scale = 1 / (exp(-peak_ms / decay_ms) - exp(-peak_ms / rise_ms))
}

BREAKPOINT {
    SOLVE conductance METHOD cnexp
    i = (falling - rising) * (v - e)
}

DERIVATIVE conductance {
    rising' = -rising / rise_ms
    falling' = -falling / decay_ms
}

NET_RECEIVE(weight (uS)) {
    rising = rising + weight * scale
    falling = falling + weight * scale
}
