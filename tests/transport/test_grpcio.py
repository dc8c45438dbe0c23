"""The grpcio door: who may wait, and for how long."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import pytest

from authz_server.demo.process import free_port
from authz_server.transport.door import ListenError
from authz_server.transport.grpcio import GrpcioDoor

CHECK = "/envoy.service.auth.v3.Authorization/Check"


class Waiting:
    """A check that always waits for one fetch."""

    def __init__(self):
        self.fetch = Future()
        self.asked = threading.Semaphore(0)

    def __call__(self, data):
        """Ask to wait, or answer at once what needs no keys."""
        self.asked.release()
        return b"at once" if data == b"known" else self

    def resume(self):
        """Answer after the fetch."""
        return b"resumed"

    def refuse(self):
        """Answer without the fetch."""
        return b"refused"


@pytest.fixture
def check():
    """Make a check that waits."""
    return Waiting()


@pytest.fixture
def call(check):
    """Serve it with four threads, two of which may wait, and give a client."""
    door, port = GrpcioDoor(check, threads=4), free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary(CHECK)
    door.stop(0)


def test_a_waiting_check_is_answered_when_the_fetch_ends(check, call):
    """The door waits for the fetch and asks the check again."""
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(call, b"", timeout=5)
        check.asked.acquire()
        check.fetch.set_result(None)

        assert answer.result() == b"resumed"


def test_half_of_the_threads_may_wait_and_the_rest_is_answered_at_once(check, call):
    """Checks beyond that are refused, and checks of known keys go on."""
    with ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(call, b"", timeout=5) for _ in range(2)]
        for _ in range(2):
            check.asked.acquire()

        began = time.monotonic()
        assert call(b"", timeout=5) == b"refused"
        assert time.monotonic() - began < 0.8  # at once, not after a wait of its own
        assert call(b"known", timeout=5) == b"at once"
        check.fetch.set_result(None)
        assert [answer.result() for answer in waiting] == [b"resumed", b"resumed"]


@pytest.mark.parametrize(("deadline", "longest"), [(0.3, 0.3), (None, 1.5)])
def test_a_check_waits_a_second_at_most_and_never_past_its_deadline(call, deadline, longest):
    """The refusal comes before Envoy gives up."""
    began = time.monotonic()

    assert call(b"", timeout=deadline) == b"refused"
    assert time.monotonic() - began < longest


@pytest.mark.parametrize("address", ["256.1.1.1:80", "no.such.host.invalid:80"])
def test_an_address_that_is_none_of_ours_is_an_error(check, address):
    """The error names the address."""
    door = GrpcioDoor(check)
    with pytest.raises(ListenError, match=address):
        door.listen(address)
    door.stop(0)


def test_a_file_that_is_no_socket_is_left_alone(check, tmp_path):
    """A Unix socket's path must be free or hold a socket."""
    file = tmp_path / "precious"
    file.write_text("data")
    door = GrpcioDoor(check)
    with pytest.raises(ListenError, match="no socket"):
        door.listen(f"unix://{file}")
    door.stop(0)

    assert file.read_text() == "data"
