"""The command line: one file per command."""

import click

from authz_server import __version__
from authz_server.cli.demo import demo
from authz_server.cli.revoke import revoke
from authz_server.cli.schema import schema
from authz_server.cli.serve import serve
from authz_server.cli.validate import validate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="authz-server", message="%(prog)s %(version)s")
def main() -> None:
    """Answer Envoy's external authorization checks as API Gateway's Cognito authorizer would."""


for command in (serve, validate, revoke, schema, demo):
    main.add_command(command)
