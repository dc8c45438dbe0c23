"""A server of Redis or Valkey: how it is reached, and how much of an answer is taken."""

import re
import ssl
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import redis
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

from authz_server.revocations.source import RevocationsError
from authz_server.trust import FLAGS_OFF, FLAGS_ON

TIMEOUT_SECONDS: Final = 3.0  # between two octets
MAX_ANSWER: Final = 32 * 1_048_576  # bytes, as many as a file may have

_DATABASE: Final = re.compile("/?[0-9]*")  # redis-py takes any other for 0


class Server(NamedTuple):
    """A server of Redis or Valkey.

    Args:
        client: speaks to it.
        name: for logs; it holds no password.
    """

    client: "redis.Redis"
    name: str


class _Counting:
    """A socket of which no more than `MAX_ANSWER` bytes are read for one command: a member of a list can have 512 MiB.

    Args:
        inner: the socket.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sendall(self, *arguments: Any) -> Any:
        """Send a command, and count its answer."""
        self._taken = 0
        return self._inner.sendall(*arguments)

    def recv(self, *arguments: Any) -> Any:
        """Read, as redis-py's own parser does."""
        data = self._inner.recv(*arguments)
        self._take(len(data))
        return data

    def recv_into(self, *arguments: Any) -> Any:
        """Read, as hiredis does."""
        count = self._inner.recv_into(*arguments)
        self._take(count)
        return count

    def _take(self, count: int) -> None:
        self._taken += count
        if self._taken > MAX_ANSWER:
            raise RevocationsError(f"an answer is larger than {MAX_ANSWER:,} bytes; take out what is over, and what is no entry")


class _Bounded:
    """A connection over such a socket; redis-py asks `_connect` of each kind for its socket."""

    def _connect(self) -> Any:
        return _Counting(super()._connect())  # type: ignore[misc]


class _Plain(_Bounded, Connection):
    pass


class _Tls(_Bounded, SSLConnection):
    pass


class _Local(_Bounded, UnixDomainSocketConnection):
    pass


_CONNECTIONS: Final = {"redis": _Plain, "rediss": _Tls, "unix": _Local}
SCHEMES: Final = tuple(_CONNECTIONS)


def connect(url: str, password: str | None) -> Server:
    """Make a client; nothing is sent before the first command.

    Args:
        url: `redis://host:port/db`, `rediss://…` (TLS) or `unix:///path`, as redis-py reads it.
        password: goes before one in the URL; or None.

    Returns:
        The server.

    Raises:
        RevocationsError: for a URL that can not be read.
    """
    more = {} if password is None else {"password": password}
    timeouts = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    try:
        kind = _CONNECTIONS[urlsplit(url).scheme]
        client = redis.Redis.from_url(url, connection_class=kind, **timeouts, **_flags(url), **more)
        client.connection_pool.make_connection()  # which tells what it does not understand, and does not connect yet
        return Server(client, name_of(url))
    except (ValueError, KeyError, TypeError, AttributeError, redis.RedisError) as error:
        raise RevocationsError("the URL of Redis can not be read, expected rediss://HOST:PORT/DB, redis://… or unix:///PATH") from error


def _flags(url: str) -> dict[str, list[ssl.VerifyFlags]]:
    """See `trust`; redis-py makes a context of its own for each connection."""
    if not url.startswith("rediss:"):
        return {}
    return {"ssl_include_verify_flags": [FLAGS_ON], "ssl_exclude_verify_flags": [FLAGS_OFF]}


def name_of(url: str) -> str:
    """Name a server for logs, or raise ValueError for a URL that redis-py takes for another than is meant."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    if not _DATABASE.fullmatch(parts.path):
        raise ValueError(parts.path)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}"
