"""``mpiens new``: a small working project."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mpiens.errors import UsageError

_SPEC = """\
name: {name}
seed: 1

model:
  python: model.py:simulate
  fixed: {{duration_ms: 200}}

space:
  current_nA: {{low: 0.0, high: 2.0}}
  tau_ms: [5.0, 10.0, 20.0]

search:
  algorithm: tpe
  trials: 30
  objectives: {{loss: minimize}}

groups: {{size: 1}}
"""

_MODEL = '''\
"""A leaky integrate-and-fire neuron; replace it by your model. It gets a trial and returns results by name."""


def simulate(trial):
    """Spikes of one neuron; `loss` is the distance of its rate to 40 Hz."""
    current_nA, tau_ms = trial.params["current_nA"], trial.params["tau_ms"]
    dt_ms, v_mV, spikes_ms = 0.1, -65.0, []
    for step in range(int(trial.params["duration_ms"] / dt_ms)):
        v_mV += dt_ms * (-(v_mV + 65.0) + 20.0 * current_nA) / tau_ms
        if v_mV > -50.0:
            v_mV = -65.0
            spikes_ms.append(step * dt_ms)
    rate_Hz = 1000.0 * len(spikes_ms) / trial.params["duration_ms"]
    return {"loss": (rate_Hz - 40.0) ** 2, "rate_Hz": rate_Hz, "spikes_ms": spikes_ms}
'''

_README = """\
# {name}

    mpiens validate spec.yaml --ranks 3      # check everything
    mpiens test spec.yaml                    # one trial, here
    mpiexec -n 3 python -m mpiens run spec.yaml
    mpiens status {name}.run

Results, in Python:

    import mpiens

    r = mpiens.open("{name}.run")
    print(r.trials.sort_values("values_loss").head())
    print(r["spikes_ms"][0])
"""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Make a small working project in FOLDER, which must be new or empty."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder}: exists and is not an empty folder; give a new one")
        folder.mkdir(parents=True, exist_ok=True)
        name = folder.absolute().name
        for file, text in (("spec.yaml", _SPEC), ("README.md", _README)):
            (folder / file).write_text(text.format(name=name), encoding="utf-8")
        (folder / "model.py").write_text(_MODEL, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
    click.echo(
        f"{folder}: spec.yaml, model.py, README.md\nnext: cd {shlex.quote(str(folder))} && mpiens test spec.yaml"
    )
