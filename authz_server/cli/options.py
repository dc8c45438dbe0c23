"""Options that several commands share, and how values are read."""

import grp
import math
import os
import pwd
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from authz_server.server import cpus

if TYPE_CHECKING:
    from authz_server.engine.revoked import Place

PREFIX: Final = "AUTHZ_"  # of every variable

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

_DNS_NAME: Final = re.compile(
    r"(?!.{254})(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE
)
_SPIFFE_ID: Final = re.compile(r"spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)+")
_MODE: Final = re.compile("0?[0-7]{3}")
_BRACKETED: Final = re.compile(r"\[[^\[\]]+\]")
_LAST_PORT: Final = 65_535
_LAST_ID: Final = 2**32 - 2  # the next means "unchanged"


class Seconds(click.FloatRange):
    """A duration. What is no number is no bound either, since nothing is greater than that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number of seconds."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


class Option(click.Option):
    """An option that the environment can give, too: `--tls-cert` is `AUTHZ_TLS_CERT` there.

    Args:
        declarations: the flag, as `click.Option` takes it.
        required_value: whether its variable must not be empty, since an empty one would open what it should close.
        attributes: the other arguments of `click.Option`.
    """

    def __init__(self, declarations: Sequence[str], *, required_value: bool = False, **attributes: Any) -> None:
        flag = declarations[0].partition("/")[0]
        self.variable = PREFIX + flag.removeprefix("--").replace("-", "_").upper()
        self.required_value = required_value
        super().__init__(declarations, envvar=self.variable, show_envvar=True, **attributes)


def option(flag: str, *, required_value: bool = False, **attributes: Any) -> Decorator:
    """Declare an `Option` of a command; the arguments are the same."""
    return click.option(flag, cls=Option, required_value=required_value, **attributes)


config = option("--config", required=True, type=click.Path(path_type=Path), help="The configuration file (YAML).")

revocations = option(
    "--revocations",
    required_value=True,
    metavar="FILE|URL",
    help="List of tokens that are refused although they are good: a file, or rediss://HOST:PORT/DB (also redis:// and unix://).",
)

revocations_password_file = option(
    "--revocations-password-file",
    type=click.Path(path_type=Path),
    required_value=True,
    help="File that holds the password for Redis; better than one in the URL, which others may see.",
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
    """Require `host:port`, a bare port, which means loopback, or `unix:///path` of each value.

    Raises:
        click.BadParameter: for anything else.
    """
    return tuple(_unix_path(value) if value.startswith("unix:") else _host_port(value) for value in values)


def admin_address(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Require `host:port`, or a bare port, which means loopback.

    Raises:
        click.BadParameter: for anything else.
    """
    return None if value is None else _host_port(value)


def client_names(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Require a DNS name or a SPIFFE id of each value.

    Raises:
        click.BadParameter: for anything else, such as a pattern.
    """
    for value in values:
        if not _SPIFFE_ID.fullmatch(value) and (not _DNS_NAME.fullmatch(value) or _is_ip_address(value)):
            raise click.BadParameter(f"{value!r}: expected a whole DNS name, such as envoy.example.com, or spiffe://trust-domain/path")
    return values


def _is_ip_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def socket_mode(_: click.Context, __: click.Parameter, value: str) -> int:
    """Read permissions.

    Raises:
        click.BadParameter: for anything but three octal digits.
    """
    if not _MODE.fullmatch(value):
        raise click.BadParameter(f"{value!r}: expected octal permissions, such as 0660")
    return int(value, 8)


def user_id(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Find a user's number.

    Raises:
        click.BadParameter: when there is no such user.
    """
    if value is None or value.isdecimal():
        return _number(value)
    try:
        return pwd.getpwnam(value).pw_uid
    except KeyError as error:
        raise click.BadParameter(f"{value!r}: this machine has no such user; name another, or its number") from error


def group_id(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Find a group's number.

    Raises:
        click.BadParameter: when there is no such group.
    """
    if value is None or value.isdecimal():
        return _number(value)
    try:
        return grp.getgrnam(value).gr_gid
    except KeyError as error:
        raise click.BadParameter(f"{value!r}: this machine has no such group; name another, or its number") from error


def _number(value: str | None) -> int | None:
    if value is not None and int(value) > _LAST_ID:
        raise click.BadParameter(f"{value}: expected a number up to {_LAST_ID}")
    return None if value is None else int(value)


def _unix_path(value: str) -> str:
    if not value.startswith("unix:///") or value == "unix:///":
        raise click.BadParameter(f"{value!r}: a Unix socket is written unix:///path")
    return value


def _host_port(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT or (colon and not host):
        raise click.BadParameter(f"{value!r}: expected host:port, such as 127.0.0.1:9000, or *:9000 for every address of this machine")
    if ":" in host and not _BRACKETED.fullmatch(host):
        raise click.BadParameter(f"{value!r}: an IPv6 address stands in brackets, such as [::1]:9000")
    return f"{host or '127.0.0.1'}:{int(port)}"


def tls_pair(certificate: Path | None, key: Path | None, client_ca: Path | None, names: tuple[str, ...]) -> tuple[Path, Path] | None:
    """Take flags about TLS, which only make sense together.

    Returns:
        Certificate and key, or None for plaintext.

    Raises:
        click.UsageError: when one is missing.
    """
    if names and client_ca is None:
        raise click.UsageError("--tls-allow-san needs --tls-client-ca: without it no client shows a certificate")
    if certificate is not None and key is not None:
        return certificate, key
    if (certificate, key, client_ca) != (None, None, None):
        raise click.UsageError("TLS needs both --tls-cert and --tls-key")
    return None


def revocation_place(where: str | None, password_file: Path | None, max_age: float | None) -> "Place | None":
    """Take flags about revocations, which only make sense together.

    Returns:
        Where the list is, or None for no list.

    Raises:
        click.UsageError: when they do not fit.
    """
    from authz_server.engine.revoked import Place  # noqa: PLC0415 - brings parts that a supervisor does not need

    if where is None:
        if password_file is not None or max_age is not None:
            raise click.UsageError("--revocations-password-file and --revocations-max-age need --revocations")
        return None
    if not where.strip():
        raise click.UsageError("--revocations is empty: name a file or the URL of Redis, or leave it out")
    place = Place(where=where, password_file=password_file, max_age=math.inf if max_age is None else max_age)
    if not place.is_shared and (password_file is not None or max_age is not None):
        raise click.UsageError("--revocations-password-file and --revocations-max-age are for a list in Redis")
    return place


def fail(message: Any) -> None:
    """Say why the command failed and exit with status 1."""
    click.echo(str(message), err=True)
    raise SystemExit(1)
