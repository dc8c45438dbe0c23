"""What the host of an address means is the same behind both transports, and at the admin port."""

import contextlib
import errno
import socket

import pytest

from authz_server.demo.process import free_port
from authz_server.server.admin import Admin
from authz_server.transport import addresses
from authz_server.transport.addresses import places
from authz_server.transport.door import ListenError
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpcio import GrpcioDoor
from authz_server.transport.sockets import PRIVATE, bound

ASKED = ("127.0.0.1", "127.0.0.2", "::1")  # addresses of this machine at which a client may ask
MEANT = {
    "127.0.0.1": {"127.0.0.1"},
    "127.0.0.2": {"127.0.0.2"},
    "0.0.0.0": {"127.0.0.1", "127.0.0.2"},
    "[::1]": {"::1"},
    "[::]": {"127.0.0.1", "127.0.0.2", "::1"},
    "[::ffff:0.0.0.0]": {"127.0.0.1", "127.0.0.2"},
    "*": {"127.0.0.1", "127.0.0.2", "::1"},
}

if not addresses.has_ipv6():
    pytest.skip("this machine has no IPv6: what addresses mean there was not tried", allow_module_level=True)


class GrpcioServer(GrpcioDoor):
    """A server of grpcio that answers nobody."""

    def __init__(self):
        super().__init__(lambda _: b"", 1)

    def close(self):
        """End it."""
        self.stop(0)


class EventLoopServer(EventLoopDoor):
    """A server of asyncio that answers nobody."""

    def __init__(self):
        super().__init__(lambda _: b"")

    def close(self):
        """End it."""
        self.stop(0)


class AdminServer:
    """The admin port."""

    def listen(self, address):
        """Bind an address."""
        self.close = Admin(address, ready=bytes, metrics=bytes).close

    def start(self):
        """Do what was done already."""


SERVERS = (GrpcioServer, EventLoopServer, AdminServer)


def accepting(host, server):
    """Let a server listen on a host; tell at which addresses of this machine it accepts connections, or why it does not listen."""
    port = free_port()
    made = server()
    try:
        made.listen(f"{host}:{port}")
    except ListenError as error:
        return str(error).replace(str(port), "PORT").removeprefix("--admin: ")
    made.start()
    try:
        return {address for address in ASKED if accepts(address, port)}
    finally:
        made.close()


def accepts(address, port):
    """Whether a connection is accepted."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
        client.settimeout(60)
        return client.connect_ex((address, port)) == 0


@pytest.mark.parametrize("host", [*MEANT, "localhost"])
def test_the_sets_of_listening_addresses_are_the_same(host):
    """Nobody gets in through an address that the other transport would not listen on."""
    sets = [accepting(host, server) for server in SERVERS]

    assert sets[0] == sets[1] == sets[2]
    assert sets[0] == MEANT.get(host, {place.host for place in places("localhost:1")})


@pytest.mark.parametrize("host", ["[::]", "*", "0.0.0.0", "localhost"])
def test_without_ipv6_all_is_ipv4_and_ipv6_is_an_error(host, monkeypatch):
    """The error names what to write; it is no half of what was asked for."""
    monkeypatch.setattr(addresses, "has_ipv6", lambda: False)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **more: [each for each in resolve(*asked, **more) if each[4][0] != "::1"])
    sets = [accepting(host, server) for server in SERVERS]

    assert sets[0] == sets[1] == sets[2]
    if host == "[::]":
        assert sets[0] == "cannot listen on [::]:PORT: this machine has no IPv6; listen on 0.0.0.0:PORT, or on *:PORT"
    else:
        assert sets[0] == ({"127.0.0.1"} if host == "localhost" else {"127.0.0.1", "127.0.0.2"})


@pytest.mark.parametrize("taken", [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("host", ["[::]", "*"])
@pytest.mark.parametrize("server", SERVERS)
def test_half_of_what_was_asked_for_is_an_error(host, taken, server):
    """Where another process listens on one of them, all of the address is taken."""
    address, family = taken
    with socket.socket(family) as other:
        other.bind((address, 0))
        other.listen(1)
        made = server()
        with pytest.raises(ListenError, match="Address already in use"):
            made.listen(f"{host}:{other.getsockname()[1]}")
        with contextlib.suppress(AttributeError):
            made.close()


def test_ipv4_is_ipv4_also_where_another_has_ipv6():
    """The two do not meet."""
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 0))
        other.listen(1)
        port = other.getsockname()[1]
        for server in SERVERS:
            made = server()
            made.listen(f"0.0.0.0:{port}")
            made.start()
            assert accepts("127.0.0.1", port)
            made.close()


def test_a_family_that_the_machine_lacks_is_left_out_unless_it_is_all(monkeypatch):
    """As ::1 of localhost is in many containers."""

    def refuse(place):
        if place.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return bind(place)

    bind = addresses._bound
    monkeypatch.setattr(addresses, "_bound", refuse)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(family, 1, 6, "", (host, 0)) for family, host in ((10, "::1"), (2, "127.0.0.1"))]
    )
    with contextlib.ExitStack() as opened:
        found = [opened.enter_context(each).getsockname()[0] for each in bound("localhost:0", 1, PRIVATE)]
    assert found == ["127.0.0.1"]

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(10, 1, 6, "", ("::1", 0))])
    with pytest.raises(ListenError, match="cannot listen on localhost:0: Cannot assign requested address"):
        bound("localhost:0", 1, PRIVATE)
