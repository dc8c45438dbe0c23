"""`authz-server revoke`: refuse tokens that are good, such as those of a user who has signed out."""

import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import click

from authz_server.cli import options
from authz_server.core.reasons import Reason
from authz_server.core.revocations import KINDS, Kind, Revocation
from authz_server.revocations import file
from authz_server.revocations.source import RevocationsError
from authz_server.revocations.text import moment, show

Command = Callable[..., None]

DAY: Final = 86_400  # the longest that an ID or access token lives

_TIMELESS: Final = frozenset({"jti", "origin_jti"})
_SPAN: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": DAY, "w": 7 * DAY}


class _List(NamedTuple):
    """A list of revocations, wherever it is.

    Args:
        add: takes a revocation and the time.
        remove: takes a revocation and the time, and says whether it was there.
        read: gives all of them.
    """

    add: Callable[[Revocation, float], None]
    remove: Callable[[Revocation, float], bool]
    read: Callable[[], Sequence[Revocation]]


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return math.inf if value == "never" else moment(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def _end(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read a moment, or a time from now."""
    spans = _SPAN.findall(value or "")
    if spans and _SPAN.sub("", value or "") == "":
        return math.ceil(time.time()) + float(sum(int(count) * _SECONDS[unit] for count, unit in spans))
    try:
        return _moment(context, parameter, value)
    except click.BadParameter as error:
        raise click.BadParameter(f"{error.message}, or from now such as 1h, 30m or 7d") from error


def _token(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read the `jti` of a token on standard input."""
    if value is None:
        return None
    if value != "-":
        raise click.BadParameter("others on this machine can read a command: give - here, and the token on standard input")
    from authz_server.core.tokens import MAX_TOKEN_LENGTH, MalformedTokenError, claims_of, from_header, parse  # noqa: PLC0415 - brings parts that a supervisor does not need

    sent = sys.stdin.buffer.read(MAX_TOKEN_LENGTH + 100).decode("ascii", "replace")
    try:
        token = parse(from_header(sent.strip()))
        claims = claims_of(token.payload)
    except MalformedTokenError as error:
        raise _unacceptable(Reason.TOKEN_MALFORMED) from error
    if token.kid is None:
        raise _unacceptable(Reason.ALGORITHM_REFUSED)
    expires, jti = claims.get("exp"), claims.get("jti")
    if isinstance(expires, int | float) and expires <= time.time() and not click.get_current_context().params.get("undo"):
        raise click.BadParameter("the token has expired, so that nothing would be refused")
    if not isinstance(jti, str):
        raise click.BadParameter("the token has no jti; name its sign-in, user or app client: --origin-jti, --sub or --client-id")
    return jti


def _unacceptable(reason: Reason) -> click.BadParameter:
    return click.BadParameter(f"standard input holds no token that could be accepted ({reason.label})")


def _named(kind: Kind, what: str) -> Callable[[Command], Command]:
    return click.option(f"--{kind.replace('_', '-')}", metavar=kind.upper(), help=what)


@click.command(short_help="Refuse good tokens, list what is refused, or take it back.")
@options.revocations
@options.revocations_password_file
@_named("jti", "One token.")
@_named("origin_jti", "A sign-in: all tokens that were refreshed from it, too.")
@_named("sub", "A user: tokens issued until now, of every sign-in.")
@_named("client_id", "An app client: tokens issued to it until now.")
@_named("pool", "A user pool, by its id: all tokens issued until now.")
@click.option("--token", callback=_token, metavar="-", help="One token, as it stands on standard input; its jti goes into the list.")
@click.option(
    "--issued-before", callback=_moment, metavar="TIME", help="Another moment than now: 2026-01-31T12:00:00Z, Unix seconds, or never."
)
@click.option(
    "--until",
    callback=_end,
    metavar="TIME",
    help="When the entry is over: the same, or from now, such as 1h. A day from now, or never where tokens may still be issued.",
)
@click.option("--undo", is_flag=True, is_eager=True, help="Take every entry with this name away.")
@click.option("--list", "listed", is_flag=True, help="Print what is refused, or what is with this name.")
def revoke(
    *,
    revocations: str | None,
    revocations_password_file: Path | None,
    token: str | None,
    issued_before: float | None,
    until: float | None,
    undo: bool,
    listed: bool,
    **named: str | None,
) -> None:
    """Refuse good tokens, or take that back. Servers that follow the list do so within a second."""
    names: list[tuple[Kind, str]] = [(kind, value) for kind in KINDS if (value := named[kind]) is not None]
    names += [] if token is None else [("jti", token)]
    if revocations is None or len(names) > 1 or (not names and not listed):
        raise click.UsageError("give --revocations, and one of --jti, --origin-jti, --sub, --client-id, --pool and --token")
    if not revocations.strip():
        raise click.UsageError("--revocations is empty: name a file or the URL of Redis")
    if listed and (undo, issued_before, until) != (False, None, None):
        raise click.UsageError("--list changes nothing, so it takes no --undo, --issued-before and --until")
    opened = partial(_opened, revocations, revocations_password_file)
    try:
        if listed:
            _print(opened().read(), dict(names))
        elif undo:
            _undo(opened, Revocation(*names[0]))
        else:
            _refuse(opened, _revocation(*names[0], issued_before, until, time.time()))
    except RevocationsError as error:
        options.fail(error)


def _print(revocations: Sequence[Revocation], names: dict[Kind, str]) -> None:
    """Print what is in force, as a file could hold it."""
    now = time.time()
    found = [entry for entry in revocations if entry.until > now and names.get(entry.kind, "" if names else entry.value) == entry.value]
    for entry in found:
        click.echo(show(entry))
    if not found:
        click.echo("nothing is refused" if not names else "nothing with this name is refused", err=True)


def _undo(opened: Callable[[], _List], revocation: Revocation) -> None:
    _checked(revocation)
    name = f"{revocation.kind}={revocation.value}"
    if not opened().remove(revocation, time.time()):
        options.fail(f"nothing to take back: {name} is not in the list")
    click.echo(f"taken back: {name}")


def _refuse(opened: Callable[[], _List], revocation: Revocation) -> None:
    now = time.time()
    if revocation.until <= now:
        raise click.UsageError("--until is over already, so that nothing would be refused: give a moment to come, such as 1h")
    line = _checked(revocation)
    opened().add(revocation, now)
    click.echo(f"refused: {line}")


def _checked(revocation: Revocation) -> str:
    try:
        return show(revocation)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


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


def _opened(where: str, password_file: Path | None) -> _List:
    """Find the list, in a file or in Redis."""
    from authz_server.engine.revoked import Place, connected  # noqa: PLC0415 - brings parts that a file does not need

    place = Place(where=where, password_file=password_file)
    if not place.is_shared:
        if password_file is not None:
            raise click.UsageError("--revocations-password-file is for a list in Redis")
        path = Path(where)
        return _List(partial(file.add, path), partial(file.remove, path), partial(file.read, path))
    server = connected(place)
    from authz_server.revocations import shared  # noqa: PLC0415 - an extra brings what it needs

    return _List(partial(shared.add, server), lambda entry, _: shared.remove(server, entry), partial(shared.read, server))
