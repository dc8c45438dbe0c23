"""`authz-server schema`: the JSON Schema of the configuration."""

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from authz_server.config import json_schema  # noqa: PLC0415 - brings parts that other commands do not need

    click.echo(json.dumps(json_schema(), indent=2))
