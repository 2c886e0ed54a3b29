"""``mpiens schema``."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of spec.yaml, for editors that complete and check YAML."""
    from mpiens.spec.build_schema import schema_text

    click.echo(schema_text())
