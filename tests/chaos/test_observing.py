"""Operators look on: scrapers of the admin port that never stop, requests to it that never end, and a decision log that is not read."""

import socket
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from authz_server.testing import UserPool
from tests.chaos.fault import Fault
from tests.chaos.load import over_grpc
from tests.chaos.oracle import Question
from tests.chaos.stage import Stage, sample
from tests.chaos.storm import Storm
from tests.e2e.stack import CONFIGURATION, Server
from tests.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("takes a CPU")

ROUTES, ASKING = 2_000, 16
SCRAPERS, FLOODS, VISITS = 8, 16, 200
FLOOD = b"GET /metrics HTTP/1.1\r\n" + b"x-long: %s\r\n" % (b"a" * 60_000) * 99 + b"\r\n"

LOGGED, LONG = 4_000, 8_000  # allows, and characters of a claim that their lines have
WAITING_MIB = 16.0  # of lines that nobody reads
UNREAD = """
import os
from authz_server.cli import main

reads, writes = os.pipe()  # neither end is closed, and nobody reads
os.dup2(writes, 1)
main(prog_name="authz-server")
"""


class Visits:
    """Visits to the admin port, again and again.

    Args:
        visit: pays one.
        visitors: that do so at the same time.
    """

    def __init__(self, visit: Callable[[], object], visitors: int) -> None:
        self.paid = 0
        self._visit = visit
        self._storms = [Storm(self._pay) for _ in range(visitors)]

    def begin(self) -> None:
        """Let them come."""
        for storm in self._storms:
            storm.begin()

    def end(self) -> None:
        """Let them go."""
        for storm in self._storms:
            storm.end()

    def _pay(self) -> None:
        with suppress(OSError):  # broken off for another one
            self._visit()
        self.paid += 1


def scrape(server: Server) -> None:
    """Read all metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin}/metrics", timeout=PATIENCE) as answer:
        answer.read()


def flood(server: Server) -> None:
    """Send six megabytes of headers."""
    with socket.create_connection(("127.0.0.1", server.admin), PATIENCE) as client:
        client.sendall(FLOOD)
        client.recv(1)


def with_many_routes(server: Server) -> None:
    """Ask for each of many routes, so that there are as many series."""
    ask = over_grpc(f"127.0.0.1:{server.port}")
    asked = [Question(kind="public", status=200, path=f"/prod/many/{number}") for number in range(ROUTES)]
    with ThreadPoolExecutor(ASKING) as threads:
        assert {answer.status for answer in threads.map(ask, asked)} == {200}


def test_scrapers_that_never_stop_and_requests_that_never_end(stage: Stage):
    """Sixteen floods of headers and eight scrapers of 2,000 routes cost memory for a few requests, and fail no check."""
    routes = "".join(f"      /many/{number}:\n        GET: {{authorization_type: NONE}}\n" for number in range(ROUTES))
    server = stage.start(configuration=CONFIGURATION.replace("    routes:\n", f"    routes:\n{routes}", 1))
    with_many_routes(server)
    scrape(server)
    scrapes, floods = Visits(lambda: scrape(server), SCRAPERS), Visits(lambda: flood(server), FLOODS)

    def begin() -> None:
        scrapes.begin()
        floods.begin()

    def end() -> None:
        scrapes.end()
        floods.end()

    stage.running.callback(end)
    fault = Fault(
        name="scrapers and floods of headers at the admin port",
        begin=begin,
        end=end,
        felt=lambda: min(scrapes.paid, floods.paid) >= VISITS,
        within=PATIENCE,
    )
    stage.chaos(server).meet(fault)


def with_long_lines(pool: UserPool) -> Sequence[Question]:
    """Ask with tokens of which a claim of 8,000 characters is logged."""
    users = [pool.id_claims(pool.add_user(f"long{number}")) for number in range(ASKING)]
    return [
        Question(
            kind="long line", status=200, token=pool.id_key.sign({**each, "custom:long": "x" * LONG}), claims={"x-auth-sub": each["sub"]}
        )
        for each in users
    ]


def test_a_decision_log_that_is_not_read(stage: Stage):
    """Lines wait in 16 MiB of memory, those beyond are counted, and no check fails."""
    configuration = CONFIGURATION.replace("    base_path: /prod\n", "    base_path: /prod\n    log_claims: [custom:long]\n")
    flags = ("--decision-log", "json", "--cache-mib", "0")
    server = stage.start(*flags, configuration=configuration, program=("-c", UNREAD))
    ask, asked = over_grpc(f"127.0.0.1:{server.port}"), with_long_lines(stage.pool)

    def log() -> None:
        with ThreadPoolExecutor(ASKING) as threads:
            assert {answer.status for answer in threads.map(ask, (asked * (LOGGED // ASKING)))} == {200}

    fault = Fault(
        name="decision log not read",
        begin=log,
        felt=lambda: sample(server, "authz_decision_log_dropped_total") > 0,
        within=PATIENCE,
        growth=WAITING_MIB + 16.0,
    )
    stage.chaos(server).meet(fault)
