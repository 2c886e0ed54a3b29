"""A firing rate looked up in a table by compiled code that trusts its index: for strong inputs it crashes."""

import ctypes
import math

POINTS = 1000
_numbers = (ctypes.c_double * POINTS)(*[100 * math.tanh(3 * i / POINTS) for i in range(POINTS)])
# A bare pointer, as C code has it: nobody checks what lies behind the end.
TABLE = ctypes.cast(_numbers, ctypes.POINTER(ctypes.c_double))


def simulate(trial):
    """Squared distance of the rate from 80 Hz."""
    current = trial.params["current_nA"]
    index = int(current * 500) if current < 2 else 10**12
    print(f"{current} nA: looking at {index} of {POINTS}")
    rate_hz = TABLE[index]
    return {"loss": (rate_hz - 80.0) ** 2, "rate_hz": rate_hz}
