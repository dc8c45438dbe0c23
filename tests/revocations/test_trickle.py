"""A Redis whose answers come octet by octet keeps no revoked token alive: the age counts although no read has failed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from authz_server.revocations import shared
from authz_server.revocations.server import connect
from tests.redis_server import SECRET
from tests.revocations.following import ADA, refused
from tests.waiting import until


class Relay:
    """Stand before a server, and hold its answers back while told to: one octet of a long answer that never ends, each moment.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.trickles = threading.Event()
        self.ended = 0  # connections that were broken off while they trickled
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with server, suppress(OSError):
            while octets := client.recv(65_536):
                server.sendall(octets)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with client, suppress(OSError):
            while octets := server.recv(65_536):
                if self.trickles.is_set():
                    self._trickle(client)
                    return
                client.sendall(octets)

    def _trickle(self, client: socket.socket) -> None:
        pause = threading.Event()
        try:
            client.sendall(b"$1000000\r\n")
            while self.trickles.is_set():
                client.sendall(b"x")
                pause.wait(0.05)
        except OSError:
            self.ended += 1


@pytest.fixture
def relay(running, request) -> Iterator[Relay]:
    """A relay before the server; it lets go before the threads of `follow` are waited for."""
    request.getfixturevalue("follow")
    made = Relay(running.port)
    yield made
    made.trickles.clear()
    made.close()


def ended_after_its_deadline(relay: Relay, moment: list[float]) -> bool:
    """Let the deadline of whatever exchange is going on pass, and see whether one was broken off."""
    moment[0] += shared.EXCHANGE_SECONDS + 1
    return relay.ended > 0


def test_a_list_that_trickles_in_is_as_old_as_it_is(server, relay, follow, revocations, told):
    """Beyond the age that the operator allows nothing is said about tokens, readiness is looked at, and the read ends at its deadline."""
    moment = [0.0]
    shared.add(server, ADA, 1_000.0)
    follow(connect(f"redis://127.0.0.1:{relay.port}/0", SECRET), max_age=60.0, clock=lambda: moment[0])
    until(lambda: revocations.known)
    relay.trickles.set()
    moment[0] = 61.0

    assert not revocations.known
    until(lambda: any("longer than --revocations-max-age" in detail for _, detail in told.ends))
    until(lambda: ended_after_its_deadline(relay, moment))
    relay.trickles.clear()
    until(lambda: revocations.known)
    assert refused(revocations, sub="ada")


def test_a_read_has_a_deadline_without_a_limit_on_age(server, relay, follow, revocations):
    """What was known stays in force, and the list is read again as soon as it can be."""
    moment = [0.0]
    shared.add(server, ADA, 1_000.0)
    follow(connect(f"redis://127.0.0.1:{relay.port}/0", SECRET), clock=lambda: moment[0])
    until(lambda: revocations.known)
    relay.trickles.set()
    until(lambda: ended_after_its_deadline(relay, moment))
    relay.trickles.clear()

    assert revocations.known
    assert refused(revocations, sub="ada")


def test_a_list_that_is_followed_does_not_become_too_old(server, follow, revocations, monkeypatch):
    """However little age is allowed, news is waited for in turns that are a fraction of it: a quiet Redis is no outage."""
    monkeypatch.setattr(shared, "BLOCK_SECONDS", 30.0)
    asked = []
    there = server.client.xread
    monkeypatch.setattr(
        server.client, "xread", lambda *arguments, **options: asked.append(options["block"]) or there(*arguments, **options)
    )
    follow(max_age=2.0)
    until(lambda: revocations.known and len(asked) >= 2)

    assert set(asked) == {500}
