"""The admin port on real sockets: how much of it one client can hold, and for how long."""

import contextlib
import itertools
import socket
import threading
import time
import tracemalloc
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from authz_server.server import admin
from authz_server.server.admin import Admin
from tests.waiting import PATIENCE, until

LONG = 5 * PATIENCE  # seconds that no test waits for


@pytest.fixture
def port():
    """Serve the admin port."""
    served = Admin("127.0.0.1:0", ready=lambda: b"ready\n", metrics=lambda: b"metrics")
    yield served.port
    served.close()


@pytest.fixture
def connect(port):
    """Open connections to it."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))


def alive(port):
    """Ask whether the process is alive."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE) as answer:
        return answer.read()


def answers(port):
    """Whether a probe is answered, and not closed."""
    try:
        return alive(port) == b"alive\n"
    except OSError:
        return False


def closed(client):
    """Whether the server has ended a connection."""
    client.settimeout(0.1)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def threads():
    """Count the threads that answer requests."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_silent_clients_keep_no_probe_waiting(port, connect, monkeypatch):
    """The oldest makes room for each that is one too many, and threads are no more than the limit."""
    monkeypatch.setattr(admin, "REQUEST_SECONDS", LONG)
    monkeypatch.setattr(admin, "ENDING_SECONDS", LONG)
    silent = [connect() for _ in range(3 * admin.MAX_REQUESTS)]

    assert alive(port) == b"alive\n"
    assert threads() <= admin.MAX_REQUESTS
    until(lambda: closed(silent[0]))
    assert not closed(silent[-1])


def test_a_request_has_so_long_however_it_comes(port, connect, monkeypatch):
    """An octet now and then wins no time."""
    monkeypatch.setattr(admin, "REQUEST_SECONDS", 0.5)
    client, began = connect(), time.monotonic()

    def ended():
        with contextlib.suppress(ConnectionError):
            client.sendall(b"G")
        return closed(client)

    until(ended)
    assert time.monotonic() - began > 0.4
    assert alive(port) == b"alive\n"


def test_a_slow_request_in_time_is_answered(connect, monkeypatch):
    """Pauses are no reason to refuse."""
    monkeypatch.setattr(admin, "REQUEST_SECONDS", LONG)
    client = connect()
    for piece in (b"GET /metr", b"ics HTTP/1.0\r\n", b"host: a\r\n\r\n"):
        client.sendall(piece)
        time.sleep(0.1)
    heard = b""
    while received := client.recv(4096):
        heard += received

    assert heard.endswith(b"metrics")


def test_requests_leave_their_places(port):
    """Many more than the limit, one after the other."""
    for _ in range(3 * admin.MAX_REQUESTS):
        assert alive(port) == b"alive\n"


def test_a_thread_that_does_not_end_is_not_waited_for(monkeypatch):
    """A newcomer is closed then, and the next has its chance."""
    monkeypatch.setattr(admin, "MAX_REQUESTS", 1)
    monkeypatch.setattr(admin, "ENDING_SECONDS", 0.1)
    go = threading.Event()
    served = Admin("127.0.0.1:0", ready=lambda: b"ready\n" if go.wait(PATIENCE) else b"", metrics=bytes)
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as slow:
        slow.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as refused:
            refused.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionError):
                assert refused.recv(1) == b""
        go.set()
        until(lambda: answers(served.port))
    served.close()


def test_the_admin_port_may_have_an_ipv6_address():
    """As clusters do that know no other."""
    served = Admin("[::1]:0", ready=lambda: b"ready\n", metrics=lambda: b"metrics")
    try:
        with urllib.request.urlopen(f"http://[::1]:{served.port}/healthz", timeout=PATIENCE) as answer:
            assert answer.read() == b"alive\n"
    finally:
        served.close()


def test_head_is_get_without_a_body(port):
    """As RFC 9110 has it for every resource: monitors ask so."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for path in ("/healthz", "/readyz", "/metrics", "/else"):
        answers = []
        for method in ("GET", "HEAD"):
            connection.request(method, path)
            answer = connection.getresponse()
            answers.append((answer.status, answer.headers["content-type"], answer.headers["content-length"], len(answer.read())))
        assert answers[1] == (*answers[0][:3], 0)


def test_readyz_says_why():
    """With 503 as long as the first word is no `ready`, whatever else there is to say."""
    said = b"not ready\nuser pool eu-west-1_A: no keys\n"
    served = Admin("127.0.0.1:0", ready=lambda: said, metrics=bytes)
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (503, said)
    finally:
        served.close()


MEBIBYTE = 1_048_576
FLOOD = b"GET /metrics HTTP/1.1\r\n" + b"x-long: %s\r\n" % (b"a" * 60_000) * 99 + b"\r\n"


def heard(client):
    """Everything that the server answers, until it closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65_536):
            received += piece
    return received


def test_a_request_takes_no_more_memory_than_is_read_of_it(connect, monkeypatch):
    """Of sixteen requests with six megabytes of headers each, 8 KiB are read, and the process holds 1 MiB at most for all."""
    monkeypatch.setattr(admin, "REQUEST_SECONDS", LONG)

    def flood(client):
        with contextlib.suppress(ConnectionError):
            client.sendall(FLOOD)
        return heard(client)

    clients = [connect() for _ in range(admin.MAX_REQUESTS)]
    with ThreadPoolExecutor(admin.MAX_REQUESTS) as threads:
        tracemalloc.start()
        try:
            list(threads.map(flood, clients))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < MEBIBYTE


def test_what_was_not_read_of_a_request_changes_nothing(connect):
    """The first line says what is asked for; headers that are longer than what is read are not missed."""
    client = connect()
    client.sendall(b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * (admin.MAX_REQUEST_BYTES - 33) + b"bb\r\n\r\n")

    assert heard(client).startswith(b"HTTP/1.0 200")


@pytest.mark.parametrize(("length", "status"), [(admin.MAX_REQUEST_BYTES, 200), (admin.MAX_REQUEST_BYTES + 1, 414)])
def test_a_first_line_that_is_longer_than_what_is_read_is_refused(connect, length, status):
    """With the status for it; one that just fits is answered."""
    client = connect()
    line = b"GET /healthz?%s HTTP/1.1\n"
    client.sendall(line % (b"a" * (length - len(line) + 2)))

    assert heard(client).startswith(b"HTTP/1.0 %d" % status)


def test_a_request_line_is_answered_when_its_client_says_no_more(connect):
    """A client that ends its side after the line need send no headers."""
    client = connect()
    client.sendall(b"GET /healthz HTTP/1.0\r\n")
    client.shutdown(socket.SHUT_WR)

    assert heard(client).endswith(b"alive\n")


def test_metrics_are_made_once_for_all_who_ask_within_a_second():
    """However many ask at one moment, and one after the other; those of the next second get a text of their own."""
    made, now = itertools.count(1), [0.0]
    going, go = threading.Event(), threading.Event()

    def make():
        going.set()
        assert go.wait(PATIENCE)
        return b"text %d" % next(made)

    served = Admin("127.0.0.1:0", ready=bytes, metrics=make, clock=lambda: now[0])

    def scrape(_=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics", timeout=PATIENCE) as answer:
            return answer.read()

    try:
        with ThreadPoolExecutor(8) as scrapers:
            asked = [scrapers.submit(scrape) for _ in range(8)]
            assert going.wait(PATIENCE)
            go.set()
            assert {each.result() for each in asked} == {b"text 1"}
        now[0] = 0.999
        assert scrape() == b"text 1"
        now[0] = 1.0
        assert scrape() == b"text 2"
        assert scrape() == b"text 2"
    finally:
        served.close()
