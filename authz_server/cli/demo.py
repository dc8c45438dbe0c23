"""`authz-server demo`: the whole way on this machine."""

import signal
import threading
from typing import TYPE_CHECKING

import click

from authz_server.cli import options

if TYPE_CHECKING:
    from authz_server.demo.folder import Folder
    from authz_server.demo.playground import Playground


@click.command(short_help="Start all of it here, to try it out.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="Envoy's port; a free one where it is taken.")
@click.option("--keep", is_flag=True, help="Keep the configuration in ./authz-demo, and start with it the next time.")
def demo(port: int, keep: bool) -> None:  # noqa: FBT001 - a flag
    """Start a local user pool, Envoy, an upstream and this server, and print what to try.

    Decisions are shown as they are made.
    """
    from authz_server.demo import folder  # noqa: PLC0415 - brings parts that other commands do not need
    from authz_server.demo.playground import Playground  # noqa: PLC0415 - as above
    from authz_server.demo.process import StartError  # noqa: PLC0415 - as above

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # an exception could come between a child's start and our note of it
        signal.signal(number, lambda *_: ended.set())
    click.echo("starting a user pool, authz-server, Envoy and an upstream ...")
    try:
        with folder.Folder(folder.KEPT if keep else None) as place:
            with Playground(place, port, ended.is_set) as parts:
                _show(parts, place)
                ended.wait()
                click.echo()  # below the ^C of a terminal
            click.echo(place.farewell())
    except StartError as error:
        if not ended.is_set():
            options.fail(error)
    click.echo("ended")


def _show(parts: "Playground", place: "Folder") -> None:
    from authz_server.demo.script import steps  # noqa: PLC0415 - brings parts that other commands do not need

    pool, user, web, machine = parts.pool, parts.user, parts.web, parts.machine
    facts = {
        "API": f"{parts.url}/prod, behind Envoy",
        "User pool": f"{pool.id}, at {parts.cognito.url} (InitiateAuth; JWKS; /oauth2/token)",
        "User": f"{user.username}, password {user.password}, in the group {user.groups[0]}",
        "App clients": f"{web.id} (sign-in), {machine.id} (client credentials, its secret is {machine.secret})",
        "Metrics": f"{parts.admin_url}/metrics",
        "Configuration": f"{place.configuration} (edit it: it is loaded again at once)",
    }
    click.echo()
    for name, value in facts.items():
        click.echo(f"{name:<15}{value}")
    if parts.moved:
        click.echo("The port that was asked for is taken; this is a free one. Choose yours with --port.")
    click.echo()
    for method, path, takes in (("METHOD", "PATH", "TAKES"), *parts.routes):
        click.echo(f"{method:<8}{path:<20}{takes}")
    click.echo("\nPaste these into another terminal, in order:\n")
    for step in steps(parts):
        click.echo(f"{step}\n")
    click.echo(f"Ctrl-C ends the demo and {place.plan()}.")
    click.echo("Decisions, as they are made:")
