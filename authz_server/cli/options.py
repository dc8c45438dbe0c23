"""Options that several commands share, and how values are read."""

import os
from pathlib import Path
from typing import Any

import click

from authz_server.server import cpus

config = click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    envvar="AUTHZ_CONFIG",
    show_envvar=True,
    help="The configuration file (YAML).",
)


def worker_count(_: click.Context, __: click.Parameter, value: str) -> int:
    """Read a number from 1, or count the CPUs that this container may use.

    Raises:
        click.BadParameter: for anything else.
    """
    if value == "auto":
        return cpus.usable(len(os.sched_getaffinity(0)), Path("/"))
    if not value.isdecimal() or int(value) == 0:
        raise click.BadParameter(f"{value!r}: expected a number from 1, or auto")
    return int(value)


def listen_address(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Require `host:port` or `unix:///path` of each value.

    Raises:
        click.BadParameter: for anything else.
    """
    for value in values:
        if value.startswith("unix:"):
            if not value.startswith("unix:///") or value == "unix:///":
                raise click.BadParameter(f"{value!r}: a Unix socket is written unix:///path")
        else:
            _host_port(value)
    return values


def admin_address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """Read `host:port`; a bare port means loopback.

    Raises:
        click.BadParameter: for anything else.
    """
    if value is None:
        return None
    return _host_port(f"127.0.0.1:{value}" if value.isdigit() else value)


def _host_port(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:  # noqa: PLR2004 - the last port
        raise click.BadParameter(f"{value!r}: expected host:port, such as 0.0.0.0:9000")
    return host.strip("[]"), int(port)


def fail(message: Any) -> None:
    """Say why the command failed and exit with status 1."""
    click.echo(str(message), err=True)
    raise SystemExit(1)
