TITLE Slow potassium current, which makes a cell adapt

COMMENT
One gate, open in the long run by a sigmoid of the voltage, which it follows with a constant delay.
ENDCOMMENT

NEURON {
    SUFFIX slowk
    USEION k READ ek WRITE ik
    RANGE gbar, tau_ms
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
}

PARAMETER {
    gbar = 0 (S/cm2)
    tau_ms = 60 (ms)
    half_mV = -35 (mV)
    slope_mV = 6 (mV)
}

ASSIGNED {
    v (mV)
    ek (mV)
    ik (mA/cm2)
}

STATE {
    open (1)
}

INITIAL {
    open = steady(v)
}

BREAKPOINT {
    SOLVE gate METHOD cnexp
    ik = gbar * open * (v - ek)
}

DERIVATIVE gate {
    open' = (steady(v) - open) / tau_ms
}

FUNCTION steady(v (mV)) (1) {
    steady = 1 / (1 + exp((half_mV - v) / slope_mV))
}
