"""The examples as their READMEs promise, through the real command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from project import completed, trials

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run_example(tmp_path: Path, spec: str, ranks: int, size: int | None = None, *settings: str) -> dict[str, Any]:
    """Run a spec of the examples, with other settings if wanted; its trials."""
    output = tmp_path / f"{Path(spec).stem}-{ranks}-{size}"
    overrides = [*settings, *([] if size is None else [f"groups.size={size}"])]
    arguments = [part for override in overrides for part in ("--set", override)]
    completed(ranks, "run", EXAMPLES / spec, "--output", output, *arguments)
    return trials(output)


@pytest.mark.mpi
@pytest.mark.parametrize(("spec", "points"), [("grid", 81), ("coupled", 13), ("random", 200), ("spec", 100)])
def test_rosenbrock(tmp_path: Path, spec: str, points: int) -> None:
    found = run_example(tmp_path, f"rosenbrock/{spec}.yaml", 5)
    assert len(found["loss"]) == points
    np.testing.assert_array_equal(found["loss"], (1 - found["x"]) ** 2 + 100 * (found["y"] - found["x"] ** 2) ** 2)
    if spec in ("grid", "coupled"):
        assert found["loss"].min() == 0


@pytest.mark.mpi
@pytest.mark.neuron
@pytest.mark.parametrize(
    ("example", "times", "gids", "settings"),
    [
        ("ring", "spikes_t", "spikes_gid", ("search.trials=16",)),
        ("network", "spkt", "spkid", ("search.trials=24",)),
    ],
)
def test_spikes_do_not_depend_on_ranks_groups_or_order(
    tmp_path: Path, example: str, times: str, gids: str, settings: tuple[str, ...]
) -> None:
    # Random points do not depend on when results arrive; everything else is the example as it is.
    settings = (*settings, "search.algorithm=random")
    spec = f"{example}/spec.yaml"
    alone = run_example(tmp_path, spec, 1, 1, *settings)
    assert sum(len(spikes) for spikes in alone[times]) > 100
    for size in (1, 2, 4):
        grouped = run_example(tmp_path, spec, 5, size, *settings)
        for name in (times, gids):
            for number, (left, right) in enumerate(zip(alone[name], grouped[name], strict=True)):
                assert left.tobytes() == right.tobytes(), f"{name} of trial {number} in a group of {size}"
        assert alone["loss"].tobytes() == grouped["loss"].tobytes()
        # Every group has run some of the trials, each after other ones than the serial run had before it.
        assert len(set(grouped["group"])) == 4 // size


@pytest.mark.mpi
@pytest.mark.neuron
def test_the_network_is_a_search_that_gets_better(tmp_path: Path) -> None:
    found = run_example(tmp_path, "network/spec.yaml", 5)
    assert found["state"].tolist() == [1] * 24
    assert set(found["group"]) == {0, 1}
    assert found["loss"].min() < found["loss"][0]


@pytest.mark.mpi
@pytest.mark.neuron
def test_two_hundred_trials_of_the_ring_in_one_group(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import os, sys\n"
        "import psutil\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "from ring.model import simulate as ring\n\n\n"
        "def simulate(trial):\n"
        "    results = ring(trial)\n"
        "    sizes = trial.comm.gather(psutil.Process().memory_info().rss)\n"
        "    return results | {'rss': sizes} if trial.comm.rank == 0 else None\n"
    )
    shutil.copy(EXAMPLES / "ring" / "spec.yaml", tmp_path)
    settings = ("search.trials=200", "search.algorithm=random", "groups.size=2")
    overrides = [part for setting in settings for part in ("--set", setting)]
    completed(3, "run", tmp_path / "spec.yaml", "--output", tmp_path / "long", *overrides)
    found = trials(tmp_path / "long")
    assert found["state"].tolist() == [1] * 200
    growth = found["rss"][-1] - found["rss"][9]
    assert growth.max() < 5e6, growth
    # The last trial once more, alone: the same number and point in a process that has run nothing before.
    from mpiens.record import decode

    script = tmp_path / "alone.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom mpiens.spec import load_spec\n"
        "from mpiens.runtime.prepare import make_sampler\nfrom mpiens.runtime.single import run_single\n"
        "loaded = load_spec(sys.argv[1], sys.argv[3:])\n"
        "result = run_single(loaded, Path(sys.argv[2]), 199, make_sampler(loaded).ask(200)[199])\n"
        "Path(sys.argv[2], 'record').write_bytes(result.record)\n"
    )
    from launch import run_ranks

    done = run_ranks(0, [script, tmp_path / "spec.yaml", tmp_path, *settings], 60)
    assert done.returncode == 0, done.stderr
    record = decode((tmp_path / "record").read_bytes())
    assert record.params == {"weight": found["weight"][-1], "delay": found["delay"][-1]}
    assert record.values["loss"] == found["loss"][-1]
    for name in ("spikes_t", "spikes_gid"):
        spikes = record.results[name]
        assert isinstance(spikes, np.ndarray)
        assert spikes.tobytes() == found[name][-1].tobytes()
