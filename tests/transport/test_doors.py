"""What both doors promise, as a gRPC client sees it: the same tests run at each."""

import contextlib
import os
import socket
import stat
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hyperframe.frame import SettingsFrame

from authz_server.demo.process import free_port
from authz_server.transport import door as doors
from authz_server.transport import event_loop
from authz_server.transport.door import ListenError
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpc import MAX_MESSAGE_SIZE
from authz_server.transport.grpcio import GrpcioDoor
from authz_server.transport.guard import OPEN, Guard
from authz_server.transport.sockets import SocketAccess, guarded
from tests.transport.http2 import Remote
from tests.waiting import PATIENCE, until

CHECK = "/envoy.service.auth.v3.Authorization/Check"
SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3
LONG = 5 * PATIENCE  # seconds that no test waits for


class Waiting:
    """A check that always waits for one fetch."""

    def __init__(self):
        self.fetch = Future()
        self.asked = threading.Semaphore(0)

    def __call__(self, data):
        """Ask to wait, or answer at once what needs no keys."""
        self.asked.release()
        return b"at once" if data.startswith(b"known") else self

    def resume(self):
        """Answer after the fetch."""
        return b"resumed"

    def refuse(self, *_):
        """Answer without the fetch, or without asking at all what has waited too long for its turn."""
        return b"refused"


@pytest.fixture
def check():
    """Make a check that waits."""
    return Waiting()


@pytest.fixture(params=["grpcio", "asyncio"])
def make(request, check, monkeypatch):
    """Make each door in turn, three of whose checks may wait, and two of them for one fetch."""
    monkeypatch.setattr(event_loop, "MAX_WAITING", 3)
    monkeypatch.setattr(event_loop, "MAX_JOINED", 2)
    monkeypatch.setattr(doors, "MAX_WAIT_SECONDS", LONG)
    with contextlib.ExitStack() as running:

        def start(guard=OPEN, answer=check):
            door = GrpcioDoor(answer, 4, guard) if request.param == "grpcio" else EventLoopDoor(answer, guard=guard)
            running.callback(door.stop, 0)
            return door

        yield start


@pytest.fixture
def door(make):
    """Make a door that is open to all."""
    return make()


@pytest.fixture
def channel(door):
    """Serve, and give a channel."""
    port = free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened


@pytest.fixture
def call(channel):
    """Give a client of the check."""
    return channel.unary_unary(CHECK)


def test_a_waiting_check_is_answered_when_the_fetch_ends(check, call):
    """The door waits for the fetch and asks the check again."""
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(call, b"", timeout=PATIENCE)
        check.asked.acquire()
        check.fetch.set_result(None)

        assert answer.result() == b"resumed"


def test_a_few_checks_may_wait_and_the_rest_is_answered_at_once(check, call):
    """Checks beyond that are refused, and checks of known keys go on."""
    with ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(call, b"", timeout=PATIENCE) for _ in range(2)]
        for _ in range(2):
            check.asked.acquire()

        began = time.monotonic()
        assert call(b"", timeout=PATIENCE) == b"refused"
        assert time.monotonic() - began < PATIENCE / 2  # at once, not after a wait of its own
        assert call(b"known", timeout=PATIENCE) == b"at once"
        check.fetch.set_result(None)
        assert [answer.result() for answer in waiting] == [b"resumed", b"resumed"]


def test_checks_of_one_pool_leave_a_place_for_those_of_another(make, check):
    """However many wait for one fetch, a check that needs another one may wait, too, until all places are taken."""
    pools = {b"": check, b"other": Waiting(), b"third": Waiting()}
    door = make(answer=lambda data: pools[data](data))
    port = free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, ThreadPoolExecutor(5) as clients:
        call = channel.unary_unary(CHECK)
        asked = []
        for some in ((b"", b"", b""), (b"other", b"third")):
            asked.append([clients.submit(call, data, timeout=PATIENCE) for data in some])
            assert next(as_completed(asked[-1])).result() == b"refused"
        for each in pools.values():
            each.fetch.set_result(None)
        answers = [sorted(answer.result() for answer in some) for some in asked]
        assert answers == [[b"refused", b"resumed", b"resumed"], [b"refused", b"resumed"]]


def test_a_check_waits_never_past_its_deadline(call, monkeypatch):
    """The refusal comes before Envoy gives up; here with a margin for a machine that stands still."""
    monkeypatch.setattr(doors, "MARGIN_SECONDS", PATIENCE - 0.3)

    assert call(b"", timeout=PATIENCE) == b"refused"


def test_a_check_waits_for_some_time_at_most(call, monkeypatch):
    """However patient its caller is; for how long is a rule of its own (see `patience`)."""
    monkeypatch.setattr(doors, "MAX_WAIT_SECONDS", 0.3)

    assert call(b"") == b"refused"


def test_envoy_says_how_long_it_waits_for_this_try(call):
    """Its own header is shorter than the deadline when it may try twice."""
    assert call(b"", timeout=PATIENCE, metadata=[(doors.EXPECTED_TIMEOUT, "250")]) == b"refused"


@pytest.mark.parametrize("expected", ["9" * 5_000, "-1", "x", ""])
def test_what_is_no_time_is_not_read(check, call, expected):
    """The deadline counts then."""
    answer = call.future(b"", timeout=PATIENCE, metadata=[(doors.EXPECTED_TIMEOUT, expected)])
    check.asked.acquire()
    time.sleep(0.2)
    check.fetch.set_result(None)

    assert answer.result() == b"resumed"


@pytest.mark.parametrize("method", ["/envoy.service.auth.v3.Authorization/Chek", "/envoy.service.auth.v2.Authorization/Check", "/x"])
def test_an_unknown_method_is_unimplemented(channel, method):
    """A gRPC error is for gRPC itself."""
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(method)(b"", timeout=PATIENCE)

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", [CHECK[1:], f"/{CHECK}", f"{CHECK}/", f"{CHECK}?", f"x{CHECK}", CHECK.lower()])
def test_cve_2026_33186_a_method_has_one_spelling(door, check, path):
    """A `:path` without its slash once went past what guards a method; here any other spelling is another method, or none."""
    port = free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with Remote(port) as client:
        client.send(client.call(1, b"known", path))
        client.until(lambda: client.answer(1).ended or client.answer(1).reset is not None)

        assert client.answer(1).status in {None, "12"}
        assert not client.answer(1).messages
    assert not check.asked.acquire(blocking=False)


@pytest.mark.parametrize(("length", "code"), [(MAX_MESSAGE_SIZE, None), (MAX_MESSAGE_SIZE + 1, grpc.StatusCode.RESOURCE_EXHAUSTED)])
def test_a_message_has_a_greatest_length(call, length, code):
    """Beyond it is RESOURCE_EXHAUSTED; calls before and after go on."""
    message = b"known" + bytes(length - 5)
    if code is None:
        assert call(message, timeout=PATIENCE) == b"at once"
    else:
        with pytest.raises(grpc.RpcError) as refused:
            call(message, timeout=PATIENCE)
        assert refused.value.code() is code

    assert call(b"known", timeout=PATIENCE) == b"at once"


def test_a_connection_may_ask_128_checks_at_one_time(door):
    """Each door says so in its greeting; without a limit, one client could fill the queue of all."""
    port = free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with Remote(port) as client:
        client.until(lambda: bool(client.all(SettingsFrame)))

        assert client.all(SettingsFrame)[0].settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 128


def test_a_compressed_message_is_unimplemented_or_understood(channel):
    """Neither door passes on what it can not read, nor breaks off."""
    call = channel.unary_unary(CHECK)
    asked = call.future(b"known" * 1_000, timeout=PATIENCE, compression=grpc.Compression.Gzip)

    assert asked.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.OK)
    assert call(b"known", timeout=PATIENCE) == b"at once"


def test_health_follows_readiness(door, channel):
    """A moment later, and liveness does not; who asks for an unknown service is told so."""
    health = health_pb2_grpc.HealthStub(channel)

    def ask(service):
        return health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE).status

    services = ("", "envoy.service.auth.v3.Authorization", "liveness")
    assert [ask(service) for service in services] == [NOT_SERVING, NOT_SERVING, SERVING]
    door.serving(ready=True)
    until(lambda: [ask(service) for service in services] == [SERVING] * 3)
    with pytest.raises(grpc.RpcError) as refused:
        ask("else")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_watch_tells_each_change(door, channel):
    """Also to a client that watches a service nobody has."""
    health = health_pb2_grpc.HealthStub(channel)
    watched = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=PATIENCE)
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="else"), timeout=PATIENCE)
    assert next(unknown).status == UNKNOWN

    assert next(watched).status == NOT_SERVING
    for ready, status in ((True, SERVING), (False, NOT_SERVING)):
        door.serving(ready=ready)
        assert next(watched).status == status
    for watch in (watched, unknown):
        watch.cancel()


def test_a_call_that_is_cancelled_leaves_room_for_others(check, call):
    """A hundred calls that wait and are cancelled do not keep the next from its answer."""
    for _ in range(100):
        future = call.future(b"", timeout=PATIENCE)
        check.asked.acquire()
        future.cancel()

    assert call(b"known", timeout=PATIENCE) == b"at once"


def test_a_call_that_is_cancelled_leaves_its_place_to_the_next_that_waits(check, call):
    """Also where it waited: each place was taken and left again, and once the door has heard of it, the next call has one."""
    for _ in range(6):
        future = call.future(b"", timeout=PATIENCE)
        check.asked.acquire()
        future.cancel()
        time.sleep(0.05)

    def waits():
        check.fetch = Future()
        answer = call.future(b"", timeout=PATIENCE)
        check.asked.acquire()
        check.fetch.set_result(None)
        return answer.result() == b"resumed"

    until(waits)


def test_stopping_finishes_the_calls_in_flight(door, check, call):
    """Within the grace that it is given."""
    answer = call.future(b"", timeout=PATIENCE)
    check.asked.acquire()
    with ThreadPoolExecutor(1) as other:
        stopping = other.submit(door.stop, PATIENCE)
        time.sleep(0.1)
        check.fetch.set_result(None)

        assert answer.result() == b"resumed"
        stopping.result(PATIENCE)


# Addresses.


@pytest.mark.parametrize("address", ["256.1.1.1:80", "no.such.host.invalid:80", "192.0.2.1:80"])
def test_an_address_that_is_none_of_ours_is_an_error(door, address):
    """The error names the address."""
    with pytest.raises(ListenError, match=address):
        door.listen(address)


def test_an_address_that_is_taken_is_an_error(door):
    """Two servers at one port would share its calls by chance."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match=address):
            door.listen(address)


def is_ours(family, host):
    """Whether this machine has an address; ::1 may be missing."""
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def test_a_name_stands_for_all_its_addresses(door):
    """A client of localhost may choose IPv4 or IPv6, if the machine has both."""
    port = free_port()
    door.listen(f"localhost:{port}")
    door.start()
    for family, _, _, _, place in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        if is_ours(family, place[0]):
            with socket.socket(family) as client:
                client.connect(place)


def test_a_unix_socket_is_served(door, tmp_path):
    """Also where the socket of a server that has gone still stands."""
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    door.listen(f"unix://{path}")
    door.start()
    with grpc.insecure_channel(f"unix://{path}") as channel:
        assert channel.unary_unary(CHECK)(b"known", timeout=PATIENCE) == b"at once"


def test_a_unix_socket_that_is_served_is_left_alone(door, tmp_path):
    """Two servers at one path would orphan the first."""
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        with pytest.raises(ListenError, match="another process"):
            door.listen(f"unix://{path}")

    assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(door, tmp_path):
    """A Unix socket's path must be free or hold a socket."""
    file = tmp_path / "precious"
    file.write_text("data")
    with pytest.raises(ListenError, match="no socket"):
        door.listen(f"unix://{file}")

    assert file.read_text() == "data"


def test_a_unix_socket_that_can_not_be_asked_is_left_alone(door, tmp_path):
    """Somebody holds it, be it for datagrams: only a socket that refuses is abandoned."""
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind(str(path))
        with pytest.raises(ListenError, match="or so it seems"):
            door.listen(f"unix://{path}")

    assert path.exists()


def test_a_unix_socket_with_a_full_queue_is_left_alone(door, tmp_path):
    """A server that is too busy to accept is a server, and does not hold the start up."""
    path = tmp_path / "authz.sock"
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket(socket.AF_UNIX))
        taken.bind(str(path))
        taken.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        with pytest.raises(ListenError, match="another process"):
            door.listen(f"unix://{path}")

    assert path.exists()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777], ids=oct)
def test_a_unix_socket_is_for_owner_and_group(door, tmp_path, mask):
    """Whatever the umask says, which stays as it was."""
    path = tmp_path / "authz.sock"
    before = os.umask(mask)
    try:
        door.listen(f"unix://{path}")
    finally:
        after = os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())
    assert after == mask


def test_a_unix_socket_is_given_away(make, monkeypatch, tmp_path):
    """Mode, owner and group are as asked; nobody may connect before, and the mode comes last."""
    path, given = tmp_path / "authz.sock", []

    def give(name, owner, group):
        given.append((str(name.readlink()), owner, group, stat.S_IMODE(path.stat().st_mode)))

    monkeypatch.setattr(os, "chown", give)
    make(Guard(socket=SocketAccess(mode=0o600, owner=12, group=34))).listen(f"unix://{path}")

    assert given == [(str(path), 12, 34, 0)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_unix_socket_that_can_not_be_given_away_is_an_error(make, monkeypatch, tmp_path):
    """It is not left behind for the wrong group."""

    def give(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", give)
    with pytest.raises(ListenError, match=r"authz\.sock: it can not be given .*a member of that group"):
        make(Guard(socket=SocketAccess(group=34))).listen(f"unix://{tmp_path}/authz.sock")

    assert not (tmp_path / "authz.sock").exists()


@pytest.mark.parametrize("put", [Path.symlink_to, Path.hardlink_to])
def test_nothing_but_the_socket_is_given_away(tmp_path, put):
    """Who may write to the folder and is quick could else have any file of the machine given to a user, by a server that runs as root."""
    path, victim = tmp_path / "authz.sock", tmp_path / "shadow"
    victim.touch(0o600)

    with pytest.raises(ListenError, match="can not be given"), guarded(f"unix://{path}", SocketAccess(mode=0o666)):
        put(path, victim)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["absent/authz.sock", "x" * 200])
def test_a_unix_path_that_can_not_be_is_an_error(door, tmp_path, name):
    """The error names it."""
    with pytest.raises(ListenError, match=name):
        door.listen(f"unix://{tmp_path}/{name}")
