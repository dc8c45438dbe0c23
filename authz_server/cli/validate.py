"""`authz-server validate`: check a configuration."""

import os
from pathlib import Path

import click

from authz_server.cli import options
from authz_server.config import ConfigurationError, load


@click.command()
@options.config
def validate(config: Path) -> None:
    """Check a configuration and list every mistake as file:line:column."""
    try:
        load(config, os.environ)
    except ConfigurationError as error:
        options.fail(error)
    click.echo(f"{config}: good")
