"""`authz-server serve`: answer checks."""

import sys
from pathlib import Path
from typing import Literal

import click

from authz_server.cli import options
from authz_server.config import ConfigurationError
from authz_server.observe import logs
from authz_server.observe.decision_log import Line, as_json, as_text
from authz_server.server.serve import Settings, Transport
from authz_server.server.serve import serve as run
from authz_server.transport.door import ListenError

LogFormat = Literal["auto", "json", "text", "off"]


@click.command()
@options.config
@click.option(
    "--listen",
    multiple=True,
    default=("127.0.0.1:9000",),
    show_default=True,
    callback=options.listen_address,
    envvar="AUTHZ_LISTEN",
    show_envvar=True,
    help="Address of the gRPC port: host:port or unix:///path. May be given more than once.",
)
@click.option(
    "--admin",
    callback=options.admin_address,
    envvar="AUTHZ_ADMIN",
    show_envvar=True,
    help="Address for /healthz, /readyz and /metrics: host:port, or a port on loopback. Off unless given.",
)
@click.option(
    "--transport",
    type=click.Choice(["grpcio", "asyncio"]),
    default="grpcio",
    show_default=True,
    envvar="AUTHZ_TRANSPORT",
    show_envvar=True,
    help="grpcio is the proven one; asyncio costs a tenth of the CPU and needs the extra [fast].",
)
@click.option(
    "--decision-log",
    type=click.Choice(["auto", "json", "text", "off"]),
    default="auto",
    show_default=True,
    envvar="AUTHZ_DECISION_LOG",
    show_envvar=True,
    help="One line per check on standard output; auto is text on a terminal and JSON elsewhere.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0, 300),
    default=5.0,
    show_default=True,
    envvar="AUTHZ_DRAIN_SECONDS",
    show_envvar=True,
    help="After SIGTERM: how long to say NOT_SERVING before calls are refused.",
)
@click.option(
    "--grace-seconds",
    type=click.FloatRange(0, 300),
    default=5.0,
    show_default=True,
    envvar="AUTHZ_GRACE_SECONDS",
    show_envvar=True,
    help="After that: how long calls in flight may take to finish.",
)
def serve(
    config: Path,
    listen: tuple[str, ...],
    admin: tuple[str, int] | None,
    transport: Transport,
    decision_log: LogFormat,
    drain_seconds: float,
    grace_seconds: float,
) -> None:
    """Answer checks until SIGTERM; SIGHUP and a change of the file load the configuration again."""
    logs.configure(sys.stderr, json_lines=not sys.stderr.isatty())
    settings = Settings(
        config=config,
        listen=listen,
        admin=admin,
        transport=transport,
        drain_seconds=drain_seconds,
        grace_seconds=grace_seconds,
    )
    try:
        run(settings, sys.stdout, _line(decision_log))
    except (ConfigurationError, ListenError) as error:
        options.fail(error)


def _line(chosen: LogFormat) -> Line | None:
    """Choose how the decision log writes its lines; None for no log."""
    if chosen == "off":
        return None
    if chosen == "text" or (chosen == "auto" and sys.stdout.isatty()):
        return as_text
    return as_json
