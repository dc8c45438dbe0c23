"""What the asyncio transport bears from clients of its port that are not Envoy: how much memory it takes, and whether others get in."""

from contextlib import ExitStack, suppress

import grpc
import pytest
import yaml

from authz_server.transport.event_loop import MAX_CONNECTIONS
from tests.chaos.fault import Fault
from tests.chaos.load import id_tokens, over_grpc, over_new_connections
from tests.chaos.oracle import Question
from tests.chaos.stage import Stage
from tests.chaos.test_sizes import peak_mib
from tests.e2e.stack import CONFIGURATION
from tests.transport.http2 import CHECK, HEALTH_WATCH, Remote, written

pytestmark = [pytest.mark.parametrize("transport", ["asyncio"], indirect=True), pytest.mark.xdist_group("takes a CPU")]

GREEDY, STREAMS = 300, range(1, 2 * 128, 2)
OWED_MIB = 128.0  # of answers that nobody takes; without a bound it would be ten times as much
WATCHING = 500
RESTED_MIB = 64.0  # of a thousand connections


def configuration() -> str:
    """Let answers be long: all claims go into dynamic metadata."""
    wanted = yaml.safe_load(CONFIGURATION)
    wanted["apis"]["petstore"]["dynamic_metadata"] = "all"
    return yaml.safe_dump(wanted)


def test_answers_that_nobody_takes(stage: Stage):
    """Hundreds of clients ask as much as they may and give no credit for the answers: what is held for them is bounded."""
    server = stage.start(configuration=configuration())
    token = f"Bearer {stage.pool.id_token(nickname='x' * 9_000)}"
    asked = Question(kind="greedy", status=200, path="/prod/pets", token=token).octets
    before = peak_mib(server.process.pid)

    def begin() -> None:
        for _ in range(GREEDY):
            client = stage.running.enter_context(Remote(server.port, window=0))
            with suppress(OSError):  # it is ended for that
                client.socket.sendall(written(*(client.call(stream, asked, CHECK) for stream in STREAMS)))

    fault = Fault(name="answers that nobody takes, on 300 connections", begin=begin, growth=OWED_MIB)
    stage.chaos(server).meet(fault)
    assert peak_mib(server.process.pid) - before < OWED_MIB


def test_connections_that_asked_once(stage: Stage):
    """All places are taken by clients that asked once and stay: those who ask on a new connection each time are served."""
    server = stage.start()
    question = id_tokens(stage.pool, 1)[0]

    def begin() -> None:
        for _ in range(MAX_CONNECTIONS):
            client = stage.running.enter_context(Remote(server.port))
            client.send(client.call(1, question.octets, CHECK))
            client.served(1)

    new = over_new_connections(f"127.0.0.1:{server.port}", grpc.insecure_channel)
    fault = Fault(name="1,024 connections that asked once", begin=begin, growth=RESTED_MIB)
    stage.chaos(server, new, rate=50.0).meet(fault)


def test_watches(stage: Stage):
    """A crowd that watches health as often as it may, while readiness changes, keeps nobody waiting."""
    server = stage.start()
    watchers = ExitStack()
    stage.running.push(watchers)

    def begin() -> None:
        for _ in range(WATCHING):
            client = watchers.enter_context(Remote(server.port))
            client.send(*(client.call(stream, b"", HEALTH_WATCH) for stream in STREAMS))

    fault = Fault(name="128 health watches on each of 500 connections", begin=begin, end=watchers.close, growth=RESTED_MIB)
    stage.chaos(server, over_grpc(f"127.0.0.1:{server.port}")).meet(fault)
