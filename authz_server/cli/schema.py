"""`authz-server schema`: the JSON Schema of the configuration."""

import json

import click

from authz_server.config import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
