"""Random damages of a file, as test_mutations.py and test_mutated_runs.py do them by the thousand."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

SEED = os.environ.get("MPIENS_MUTATION_SEED", "1")


def mutations(path: Path, most: int) -> Iterator[str]:
    """Put `most` damaged contents into a file, one after the other; in the end it is what it was."""
    sound = path.read_bytes()
    chance = random.Random(f"{SEED} {path.name}")
    made = 0
    while made < most:
        data = bytearray(sound)
        kind = chance.choice(("flip", "flip", "flip", "cut", "swap", "swap", "zero", "grow"))
        size = min(chance.choice((1, 16, 512, 4096)), len(data) // 3)
        first, second = sorted((chance.randrange(len(data) - size), chance.randrange(len(data) - size)))
        if kind == "flip":
            for _ in range(chance.choice((1, 1, 2, 8, 40))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del data[chance.randrange(len(data)) :]
        elif kind == "swap" and second - first >= size:
            one, other = data[first : first + size], data[second : second + size]
            data[first : first + size], data[second : second + size] = other, one
        elif kind == "zero":
            data[first : first + size] = bytes(size)
        elif kind == "grow":
            data += chance.randbytes(size)
        if data != sound:
            made += 1
            path.write_bytes(data)
            yield f"mutation {made}: {kind}"
    path.write_bytes(sound)
