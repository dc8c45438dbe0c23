"""Addresses to listen on, and what their hosts mean: the same for both transports and the admin port.

`0.0.0.0` is IPv4 alone. `[::]` is IPv6 and IPv4. `*` is both, or the one of them that this machine has. A name, such as `localhost`, is each
address that it has on this machine.
"""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv6Address
from typing import Any, Final, NamedTuple

from authz_server.transport.door import ListenError

ALL_IPV4: Final = "0.0.0.0"  # noqa: S104 - what it means, not what is bound
ALL: Final = "::"

_ABSENT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # as ::1 of localhost is on a machine without IPv6

_logger: Final = logging.getLogger(__name__)


class Place(NamedTuple):
    """One address of TCP, as a number.

    Args:
        family: AF_INET or AF_INET6.
        address: what `bind` takes.
    """

    family: socket.AddressFamily
    address: Any

    @property
    def host(self) -> str:
        """The host, as a number."""
        return str(self.address[0])

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.family == socket.AF_INET6 else self.host
        return f"{host}:{self.address[1]}"


def has_ipv6() -> bool:
    """Whether this machine has IPv6; grpcio asks the same."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def places(address: str) -> list[Place]:
    """Tell what an address means.

    Args:
        address: `host:port`; an IPv6 address stands in brackets.

    Returns:
        Numbers, each once.

    Raises:
        OSError: when the host has no address.
        ListenError: when it is `[::]` and this machine has no IPv6.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host == "*":
        host = ALL if has_ipv6() else ALL_IPV4
        if host == ALL_IPV4:
            _logger.info("%s is %s:%s: this machine has no IPv6", address, host, port)
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    meant = list(dict.fromkeys(_place(family, place) for family, _, _, _, place in found))
    if any(place.host == ALL for place in meant) and not has_ipv6():
        raise ListenError(f"cannot listen on {address}: this machine has no IPv6; listen on {ALL_IPV4}:{port}, or on *:{port}")
    return meant


def _place(family: socket.AddressFamily, address: Any) -> Place:
    """Take an IPv4 address that is written as one of IPv6 for what it is: `::ffff:0.0.0.0` would be both to some."""
    if family == socket.AF_INET6 and (mapped := IPv6Address(address[0].partition("%")[0]).ipv4_mapped):
        return Place(socket.AF_INET, (str(mapped), address[1]))
    return Place(family, address)


def bound(address: str) -> list[socket.socket]:
    """Bind an address, without listening yet.

    Args:
        address: `host:port`.

    Returns:
        A socket for each place that there is on this machine.

    Raises:
        ListenError: when it is taken, or none of this machine.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    with ExitStack() as opening:
        try:
            for place in places(address):
                try:
                    sockets.append(opening.enter_context(_bound(place)))
                except OSError as error:
                    if error.errno not in _ABSENT:
                        raise
                    absent = error
            if absent is not None and not sockets:
                raise absent
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
        opening.pop_all()
    return sockets


def free(address: str) -> list[Place]:
    """Find the places of an address that can be bound at this moment, for a library that binds them itself.

    Args:
        address: `host:port`.

    Returns:
        Each that there is on this machine, with a port where it had none.

    Raises:
        ListenError: when it is taken, or none of this machine.
    """
    found = []
    for each in bound(address):
        with each:
            found.append(Place(each.family, each.getsockname()))
    return found


def _bound(place: Place) -> socket.socket:
    with ExitStack() as opening:
        bound = opening.enter_context(socket.socket(place.family))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT, never one that is listened on
        if place.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # whatever net.ipv6.bindv6only says
        bound.bind(place.address)
        opening.pop_all()
    return bound


@contextmanager
def ipv4_alone(place: Place) -> Iterator[None]:
    """Hold the IPv6 port while a library binds 0.0.0.0 that would take both, as grpcio does.

    Args:
        place: the place that the library binds; unless it is 0.0.0.0 there is nothing to do.
    """
    with ExitStack() as opening:
        if place.host == ALL_IPV4:
            with suppress(OSError):  # there is no IPv6, or another process listens there: grpcio cannot take it either
                keeper = opening.enter_context(socket.socket(socket.AF_INET6))
                keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                keeper.bind((ALL, place.address[1]))
                keeper.listen(1)  # with SO_REUSEADDR, only a port that is listened on is taken
        yield
