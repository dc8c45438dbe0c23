"""`authz-server revoke`: refuse tokens that are good, such as those of a user who has signed out."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from authz_server.cli import options
from authz_server.core.revocations import Kind, Revocation
from authz_server.revocations import file
from authz_server.revocations.source import RevocationsError
from authz_server.revocations.text import moment, write

Command = Callable[..., None]

DAY: Final = 86_400  # the longest that an ID or access token lives

_TIMELESS: Final = frozenset({"jti", "origin_jti"})


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return math.inf if value == "never" else moment(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def _named(kind: Kind, what: str) -> Callable[[Command], Command]:
    return click.option(f"--{kind.replace('_', '-')}", metavar=kind.upper(), help=what)


@click.command()
@options.revocations
@options.revocations_password_file
@_named("jti", "One token.")
@_named("origin_jti", "A sign-in: all tokens that were refreshed from it, too.")
@_named("sub", "A user: tokens issued until now, of every sign-in.")
@_named("client_id", "An app client: tokens issued to it until now.")
@_named("pool", "A user pool, by its id: all tokens issued until now.")
@click.option(
    "--issued-before", callback=_moment, metavar="TIME", help="Another moment than now: Unix seconds, 2026-01-31T12:00:00Z, or never."
)
@click.option(
    "--until", callback=_moment, metavar="TIME", help="When the entry is over; a day from now, or never where tokens may still be issued."
)
@click.option("--undo", is_flag=True, help="Take every entry with this name away.")
def revoke(
    revocations: str | None,
    revocations_password_file: Path | None,
    issued_before: float | None,
    until: float | None,
    undo: bool,  # noqa: FBT001 - a flag
    **named: str | None,
) -> None:
    """Refuse good tokens, or take that back. Servers that follow the list do so within a second."""
    chosen = [(kind, value) for kind, value in named.items() if value is not None]
    if revocations is None or len(chosen) != 1:
        raise click.UsageError("give --revocations, and one of --jti, --origin-jti, --sub, --client-id and --pool")
    if not revocations.strip():
        raise click.UsageError("--revocations is empty: name a file or the URL of Redis")
    now = time.time()
    (kind, value) = chosen[0]
    revocation = _revocation(kind, value, issued_before, until, now)  # type: ignore[arg-type]
    if revocation.until <= now and not undo:
        raise click.UsageError(
            "--until is over already, so that nothing would be refused: give a moment to come, such as 2036-01-31T12:00:00Z"
        )
    try:
        line = write(revocation)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        _put(revocations, revocations_password_file, revocation, now, undo=undo)
    except RevocationsError as error:
        options.fail(error)
    click.echo(f"taken back: {kind}={value}" if undo else f"refused: {line}")


def _revocation(kind: Kind, value: str, issued_before: float | None, until: float | None, now: float) -> Revocation:
    """Fill in the times: a token that was issued in this very second is refused, since `iat` tells no more."""
    timeless = kind in _TIMELESS
    if timeless and issued_before is not None:
        raise click.UsageError(f"--issued-before says nothing about a {kind}: all its tokens are refused")
    this_second_over = math.floor(now) + 1.0
    before = math.inf if timeless else this_second_over if issued_before is None else issued_before
    if until is None:
        last = this_second_over if timeless else before  # moment at which such a token is issued
        until = max(last, this_second_over) + DAY
    return Revocation(kind, value, before, until)


def _put(where: str, password_file: Path | None, revocation: Revocation, now: float, *, undo: bool) -> None:
    from authz_server.server.revoked import Place, connected  # noqa: PLC0415 - brings parts that a file does not need

    place = Place(where=where, password_file=password_file)
    if not place.is_shared:
        if password_file is not None:
            raise click.UsageError("--revocations-password-file is for a list in Redis")
        if undo:
            file.remove(Path(where), revocation, now)
        else:
            file.add(Path(where), revocation, now)
        return
    server = connected(place)
    from authz_server.revocations import shared  # noqa: PLC0415 - an extra brings what it needs

    if undo:
        shared.remove(server, revocation)
    else:
        shared.add(server, revocation, now)
