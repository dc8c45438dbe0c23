"""What the grpcio transport bears from clients of its port that are not Envoy: how much memory it takes, and how long others wait."""

import itertools
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock

import grpc
import pytest
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, PingFrame

from tests.chaos.fault import Fault
from tests.chaos.load import Ask, over_grpc, over_new_connections
from tests.chaos.memory import resident_mib
from tests.chaos.oracle import NO_ANSWER, UNAVAILABLE, Answer, Permitted, Question
from tests.chaos.stage import Stage
from tests.chaos.storm import Storm
from tests.e2e.stack import Server
from tests.transport.http2 import HEALTH_WATCH, Remote, written

pytestmark = [pytest.mark.parametrize("transport", ["grpcio"], indirect=True), pytest.mark.xdist_group("takes a CPU")]

FILES = 1_024  # that the server may open, half of them connections
SOON_IDLE = """
from authz_server.cli import main
from authz_server.transport import grpcio

grpcio.IDLE_SECONDS = 4.0
main(prog_name="authz-server")
"""
FULL = 5  # newcomers that are turned away, one after the other: one alone may have met a moment
CONNECTIONS, STREAMS = 100, range(1, 2 * 128, 2)
WATCHES = 32  # that go on
BLOCK = b"\x8f" * 593 * 1_024  # each octet is a field: the fifteenth of HPACK's static table
BLOCKS = 3
MOST_MIB = 512.0  # that any of these may cost; most of it is left with the allocator for the next


class Newcomers:
    """Ask over one connection, and now and then over a new one.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        address, own = f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
        new: Ask = over_new_connections(address, lambda address: grpc.insecure_channel(address, own))
        old: Ask = over_grpc(address, open_channel=lambda address: grpc.insecure_channel(address, own))
        self._new = new
        self._asks = itertools.cycle([self._come, *[old] * 18])  # no divisor of how many questions there are
        self._lock = Lock()
        self._turned_away = 0  # in a row
        self.kept_out = self.let_in = False

    def ask(self, question: Question) -> Answer:
        """Ask one way or the other."""
        with self._lock:
            ask = next(self._asks)
        return ask(question)

    def _come(self, question: Question) -> Answer:
        answer = self._new(question)
        if answer.status == NO_ANSWER:
            self._turned_away += 1
            self.kept_out |= self._turned_away == FULL
        else:
            self._turned_away = 0
            self.let_in = self.kept_out
        return answer


@contextmanager
def files(most: int) -> Iterator[None]:
    """Let processes that are started meanwhile open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def costing(server: Server, mib: float) -> Iterator[None]:
    """Measure how much memory is resident meanwhile, and require that it is no more than so many MiB above what it was."""
    before, peaks = resident_mib(server.process.pid), [0.0]
    looks = Storm(lambda: peaks.append(resident_mib(server.process.pid)), every=0.02)
    looks.begin()
    try:
        yield
    finally:
        looks.end()
    print(f"{max(peaks) - before:.0f} MiB at most")  # noqa: T201 - pytest shows it with -s, or when the bound is not kept
    assert max(peaks) - before < mib


def flood(clients: list[Remote], octets: bytes, ended: int) -> None:
    """Send the same on each connection, and wait until so many of its calls have ended."""
    for client in clients:
        client.send(octets)
    for client in clients:
        client.until(lambda client=client: sum(client.answer(stream).ended for stream in STREAMS) >= ended)


def missing(stage: Stage) -> Permitted:
    """Permit that any check is refused or has no answer, for grpcio refuses some of a connection that it comes to late."""
    return {question.kind: {question.status, *UNAVAILABLE} for question in stage.questions}


def over() -> None:
    """End what has ended by itself: from now on each check is answered."""


def long_block(remote: Remote) -> bytes:
    """Write a header block of hundreds of KiB."""
    pieces: list[Frame] = [HeadersFrame(1, remote.head(1).data, flags=["END_STREAM"])]
    pieces += [ContinuationFrame(1, BLOCK[at : at + 16_384]) for at in range(0, len(BLOCK), 16_384)]
    pieces[-1].flags.add("END_HEADERS")
    return written(*pieces, PingFrame(0, b"over now"))


def is_read(remote: Remote) -> bool:
    """Whether the server has answered the ping behind a block."""
    remote.read()
    return any(isinstance(frame, PingFrame) and "ACK" in frame.flags for frame in remote.frames)


def test_connections_that_ask_once_fill_the_port(stage: Stage) -> None:
    """Clients that go on asking stay, and newcomers find room once connections that ask nothing more are closed."""
    with files(FILES):
        server = stage.start(program=("-c", SOON_IDLE))
    newcomers = Newcomers(server.port)
    with ExitStack() as guests:

        def fill() -> None:
            while not newcomers.kept_out:
                with suppress(AssertionError, OSError), ExitStack() as coming:  # it is turned away, too
                    guest = coming.enter_context(Remote(server.port))
                    guest.send(guest.call(1, b""))
                    guest.served(1)
                    guests.enter_context(coming.pop_all())

        fault = Fault(
            name="connections that ask once fill the port",
            begin=fill,
            felt=lambda: newcomers.let_in,
            failures={NO_ANSWER},  # of newcomers
            growth=64.0,
        )
        with costing(server, 64.0):
            stage.chaos(server, newcomers.ask).meet(fault)


def test_watches_of_health(stage: Stage) -> None:
    """A flood of them costs bounded memory, and no answer of another client."""
    server = stage.start()
    with ExitStack() as running:
        clients = [running.enter_context(Remote(server.port)) for _ in range(CONNECTIONS)]
        octets = b"".join(clients[0].call(stream, b"", HEALTH_WATCH) for stream in STREAMS)
        fault = Fault(
            name="128 watches of health on each of 100 connections",
            begin=lambda: flood(clients, octets, len(STREAMS) - WATCHES),
            growth=MOST_MIB,
        )
        with costing(server, MOST_MIB):
            stage.chaos(server).meet(fault)


def test_checks_at_once(stage: Stage) -> None:
    """A flood of them on many connections costs bounded memory, and is over once each is answered."""
    server = stage.start()
    question = stage.questions[0].octets
    with ExitStack() as running:
        clients = [running.enter_context(Remote(server.port)) for _ in range(CONNECTIONS)]
        octets = b"".join(clients[0].call(stream, question) for stream in STREAMS)
        fault = Fault(
            name="128 checks at once on each of 100 connections",
            begin=lambda: flood(clients, octets, len(STREAMS)),
            end=over,
            permitted=missing(stage),
            failures=UNAVAILABLE,
            growth=MOST_MIB,
        )
        with costing(server, MOST_MIB):
            stage.chaos(server).meet(fault)


def test_header_blocks(stage: Stage) -> None:
    """Hundreds of KiB of fields, which no option of grpcio bounds, cost some 240 times as much while they are read, and no more after that."""
    server = stage.start()

    def begin() -> None:
        for _ in range(BLOCKS):
            with Remote(server.port) as remote:
                remote.send(long_block(remote))
                remote.until(lambda remote=remote: is_read(remote))

    fault = Fault(name="header blocks of 593 KiB", begin=begin, end=over, permitted=missing(stage), failures=UNAVAILABLE, growth=MOST_MIB)
    with costing(server, MOST_MIB):
        stage.chaos(server).meet(fault)
