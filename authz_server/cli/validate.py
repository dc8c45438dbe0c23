"""`authz-server validate`: check a configuration."""

import os
from pathlib import Path

import click

from authz_server.cli import options


@click.command(short_help="Check a configuration.")
@options.config
def validate(config: Path) -> None:
    """Check a configuration and list every mistake as file:line:column."""
    from authz_server.config import ConfigurationError, load  # noqa: PLC0415 - brings parts that other commands do not need

    try:
        load(config, os.environ)
    except ConfigurationError as error:
        options.fail(error)
    click.echo(f"{config}: good")
