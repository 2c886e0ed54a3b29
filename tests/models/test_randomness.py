"""Trials do not inherit random states, however a model draws."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mpiens.messages import ModelSettings
from mpiens.models.base import GroupContext, Trial
from mpiens.models.python import PythonModel
from mpiens.models.randomness import may_draw


class Alone:
    """As much of a communicator as a group of one needs here."""

    def Get_size(self) -> int:  # noqa: N802 - mpi4py's name
        return 1

    def Get_rank(self) -> int:  # noqa: N802 - mpi4py's name
        return 0


MODELS = {
    "random": "import random\ndef simulate(trial):\n    return {'x': random.random()}\n",
    "numpy": "import numpy as np\ndef simulate(trial):\n    return {'x': np.random.rand()}\n",
    "late": "def simulate(trial):\n    import random\n    return {'x': random.random()}\n",
    "helper": "from draws_for_{id} import draw\ndef simulate(trial):\n    return {{'x': draw()}}\n",
    "late helper": "def simulate(trial):\n    from draws_for_{id} import draw\n    return {{'x': draw()}}\n",
    "hidden": "draw = __import__('ran' + 'dom').random\ndef simulate(trial):\n    return {'x': draw()}\n",
}


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_drawn_depends_on_the_trial_alone(tmp_path: Path, kind: str) -> None:
    name = f"model_{kind.replace(' ', '_')}"
    code = MODELS[kind].format(id=name) if "{id}" in MODELS[kind] else MODELS[kind]
    (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / f"draws_for_{name}.py").write_text("import random\ndef draw():\n    return random.random()\n")
    model = PythonModel(ModelSettings("python", f"{tmp_path / name}.py:simulate", str(tmp_path)))
    context = GroupContext(Alone(), 0, 0, tmp_path)  # type: ignore[arg-type]
    model.setup(context)

    def run(number: int, seed: int) -> float:
        results = model.run(Trial(context, number, 1, seed, {}))
        model.clear()
        assert results is not None
        return float(results["x"])  # type: ignore[arg-type]

    first = [run(number, 1000 + number) for number in range(5)]
    again = [run(number, 1000 + number) for number in reversed(range(5))]
    assert first == again[::-1]
    assert len(set(first)) == 5


def module(folder: Path, source: str) -> ModuleType:
    path = folder / "quiet.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("quiet", path)
    assert spec is not None
    return importlib.util.module_from_spec(spec)


def test_only_a_source_without_doubt_is_spared(tmp_path: Path) -> None:
    assert not may_draw([module(tmp_path, "import math\n\ndef f(x):\n    return math.sin(x)\n")])
    assert may_draw([module(tmp_path, "exec('x = 1')\n")])
    assert may_draw([sys.modules["_struct"] if "_struct" in sys.modules else __import__("_struct")])
    assert may_draw([module(tmp_path, "x = 1\n")] * 21)
