"""`authz-server demo`: the whole way on this machine."""

import signal
import threading
from typing import TYPE_CHECKING

import click

from authz_server.cli import options

if TYPE_CHECKING:
    from authz_server.demo.playground import Playground


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="Envoy's port; a free one where it is taken.")
def demo(port: int) -> None:
    """Start a local user pool, Envoy, an upstream and this server, and print what to try."""
    from authz_server.demo import playground  # noqa: PLC0415 - brings parts that other commands do not need
    from authz_server.demo.process import StartError  # noqa: PLC0415 - as above

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # an exception could come between a child's start and our note of it
        signal.signal(number, lambda *_: ended.set())
    click.echo("starting …")
    try:
        with playground.Playground(playground.port(port), ended.is_set) as parts:
            _show(parts)
            ended.wait()
    except StartError as error:
        if not ended.is_set():
            options.fail(error)
    click.echo("ended")


def _show(parts: "Playground") -> None:
    facts = {
        "API, behind Envoy": f"{parts.url}/prod",
        "User pool": parts.pool.id,
        "App client for sign-in (public)": parts.web.id,
        "App client for machines (confidential)": parts.machine.id,
        "  its secret": parts.machine.secret,
        "User and password": f"{parts.user.username}  {parts.user.password}",
        "Cognito's API": f"{parts.cognito.url}/",
        "Cognito's token endpoint": f"{parts.cognito.url}/oauth2/token",
        "Configuration (edit it, it is loaded again)": parts.config,
        "Decision log": parts.folder / "authz-server.log",
        "Metrics": f"{parts.admin_url}/metrics",
    }
    click.echo()
    for name, value in facts.items():
        click.echo(f"{name:<45}{value}")
    click.echo()
    for method, path, takes in (("METHOD", "PATH", "TAKES"), *parts.routes):
        click.echo(f"{method:<8}{path:<20}{takes}")
    click.echo("\nTo paste, in order:\n")
    for step in parts.steps():
        click.secho(f"# {step.status}: {step.meaning}" if step.status else f"# {step.meaning}", dim=True)
        click.echo(step.command)
    click.echo("\nCtrl-C ends all of it.")
