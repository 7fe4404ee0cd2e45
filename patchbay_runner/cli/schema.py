"""`patchbay schema`: the JSON Schema of sim or topology files, for editors."""

from __future__ import annotations

import click
import msgspec

from patchbay_runner.loader.jsonschemas import sim_schema, topology_schema

_SCHEMAS = {"sim": sim_schema, "topology": topology_schema}


@click.command()
@click.argument("kind", type=click.Choice(tuple(_SCHEMAS)), default="sim")
def schema(*, kind: str) -> None:
    """Prints the JSON Schema of sim files, or of topology files, as editors use it."""
    click.echo(msgspec.json.format(msgspec.json.encode(_SCHEMAS[kind]()), indent=2))
