"""``mpiens test``: one trial, here and now."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from mpiens.errors import EXIT_FAILED, UsageError
from mpiens.report import words
from mpiens.runtime.order import Order

_MOST_SHOWN = 4000
"""Characters of a command's standard output and error."""


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the spec.")
@click.option("--trial", "number", default=0, show_default=True, help="Which trial.", type=click.IntRange(0))
def test(spec: Path, overrides: tuple[str, ...], number: int) -> int:
    """Run one trial of SPEC in this process, without mpiexec, and show what it returned. Nothing is kept."""
    from mpiens.record import TrialRecord, decode
    from mpiens.runtime.prepare import make_sampler, read_spec
    from mpiens.runtime.single import run_single

    loaded = read_spec(Order(spec, overrides=overrides))
    points = make_sampler(loaded).ask(number + 1)
    if len(points) <= number:
        raise UsageError(f"--trial {number}: the spec has only {words.count(len(points), 'trial')}")
    with tempfile.TemporaryDirectory(prefix="mpiens-test-") as folder:
        result = run_single(loaded, Path(folder), number, points[number])
        printed = _printed(Path(folder, "trials", str(number)))
    click.echo(printed, nl=False)
    click.echo(f"trial {number}: {result.state.name} in {words.duration(result.elapsed_s)}")
    if result.error:
        click.echo(f"  {result.error}", err=True)
        return EXIT_FAILED
    record: TrialRecord = decode(result.record)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "name", "value"):
        table.add_column(heading, overflow="fold")
    for name, value in record.params.items():
        table.add_row("parameter", name, words.number(value))
    for name, value in record.values.items():
        table.add_row("objective", name, words.number(value))
    for name, found in record.results.items():
        table.add_row("result", name, _brief(found))
    Console(soft_wrap=True).print(table)
    return 0


def _printed(directory: Path) -> str:
    """The end of what a command has printed, which went into files."""
    texts = [path.read_text(encoding="utf-8", errors="replace")[-_MOST_SHOWN:] for path in _outputs(directory)]
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)


def _outputs(directory: Path) -> list[Path]:
    return [path for name in ("stdout", "stderr") if (path := directory / name).is_file()]


def _brief(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return words.number(value)
    flat = value.reshape(-1)
    parts = [words.number(part) for part in flat[:4].tolist()] + (["..."] if flat.size > 4 else [])
    return f"{value.dtype} {list(value.shape)}: {' '.join(parts)}"
