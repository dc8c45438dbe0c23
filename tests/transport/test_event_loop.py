"""The asyncio door on real sockets: who is admitted, who is cut off, and how it ends."""

import contextlib
import gc
import itertools
import resource
import socket
import struct
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, WindowUpdateFrame

from authz_server.demo.process import free_port
from authz_server.transport import connection, event_loop
from authz_server.transport import door as doors
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.sockets import most_connections
from tests.transport.http2 import CHECK, HEALTH_WATCH, Remote, Waiting, body, greeting, written
from tests.waiting import PATIENCE, until

LONG = 5 * PATIENCE  # seconds that no test waits for
MISTAKE = b"\0\0\x08\x06\0\0\0\0\1" + bytes(8)  # a ping on a stream, which ends the connection


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let time pass in small steps, so that nothing here takes long."""
    monkeypatch.setattr(event_loop, "TICK_SECONDS", 0.02)


@pytest.fixture
def serve(monkeypatch):
    """Serve checks at a port, or a path; without a check, answer with what was asked. A check waits for long."""
    monkeypatch.setattr(doors, "MAX_WAIT_SECONDS", LONG)
    with contextlib.ExitStack() as running:

        def start(check=bytes, *, path=None, spread=lambda: 0.0):
            door = EventLoopDoor(check, spread)
            running.callback(door.stop, 0)
            address = free_port() if path is None else str(path)
            door.listen(f"127.0.0.1:{address}" if path is None else f"unix://{path}")
            door.start()
            return door, address

        yield start


def ended(client):
    """Whether the server has ended a connection."""
    client.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        try:
            while client.recv(4096):
                pass
        except ConnectionError:
            pass
        return True
    return False


@pytest.mark.parametrize("unix", [False, True])
def test_checks_are_answered(serve, tmp_path, unix):
    """Over TCP, and over a Unix socket."""
    _, address = serve(path=tmp_path / "authz.sock" if unix else None)
    with Remote(address) as client:
        client.send(client.call(1, b"one"), client.call(3, b"three"))

        assert client.served(1, 3) == [[b"one"], [b"three"]]


def test_one_door_may_listen_at_several_addresses(tmp_path):
    """They share everything else."""
    door, port = EventLoopDoor(bytes), free_port()
    door.listen(f"127.0.0.1:{port}")
    door.listen(f"unix://{tmp_path}/authz.sock")
    door.start()
    for address in (port, f"{tmp_path}/authz.sock"):
        with Remote(address) as client:
            client.send(client.call(1))
            assert client.served(1) == [[b"ask"]]
    door.stop(0)


def test_readiness_may_be_told_from_any_thread_at_any_time():
    """Before the start, while it serves, and after the end."""
    door, port = EventLoopDoor(bytes), free_port()
    door.serving(ready=True)
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with Remote(port) as client:
        client.send(client.call(1, b"", HEALTH_WATCH))
        client.until(lambda: len(client.answer(1).messages) == 1)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda ready: door.serving(ready=ready), [False] * 8))
        client.until(lambda: len(client.answer(1).messages) == 2)

        assert client.answer(1).messages == [b"\x08\x01", b"\x08\x02"]
    door.stop(0)
    door.serving(ready=True)


# Who is admitted.


def test_connections_beyond_the_limit_are_closed_at_once(serve, monkeypatch):
    """When calls wait for their answers on all others."""
    monkeypatch.setattr(event_loop, "MAX_CONNECTIONS", 2)
    check = Waiting()
    door, port = serve(lambda _: check)
    with Remote(port) as first, Remote(port) as second:
        for client in (first, second):
            client.send(client.call(1))
        until(lambda: all(peer.is_busy for peer in door._peers) and len(door._peers) == 2)
        with contextlib.suppress(ConnectionError), Remote(port) as third:
            third.drain()
            assert third.closed
        check.fetch.set_result(None)
        assert [client.served(1) for client in (first, second)] == [[[b"resumed"]]] * 2


def test_whoever_has_asked_nothing_for_longest_makes_room(serve, monkeypatch):
    """It is told which of its calls were served last; so nobody keeps a newcomer out by having asked once, nor by a watch or half a call."""
    monkeypatch.setattr(event_loop, "MAX_CONNECTIONS", 3)
    door, port = serve()
    with contextlib.ExitStack() as stack:
        oldest, half, busy = (stack.enter_context(Remote(port)) for _ in range(3))
        for client in (oldest, half, busy):
            client.send(client.call(1))
            client.served(1)
        oldest.send(oldest.call(3, b"", HEALTH_WATCH))
        oldest.until(lambda: oldest.answer(3).messages)
        half.send(half.call(3))
        half.served(3)
        half.send(half.head(5))
        for stream, leaving in ((3, oldest), (5, half)):
            busy.send(busy.call(stream))
            busy.served(stream)
            newcomer = stack.enter_context(Remote(port))
            newcomer.send(newcomer.call(1))
            assert newcomer.served(1) == [[b"ask"]]
            leaving.drain()
            assert leaving.goaways()[-1][1] == 0
            assert len(door._peers) == 3


@pytest.mark.parametrize("said", [b"", written(*greeting())], ids=["nothing", "a greeting"])
def test_who_has_asked_nothing_makes_room(serve, monkeypatch, said):
    """The oldest of them, and nobody who has asked; so nobody can keep Envoy out by being there."""
    monkeypatch.setattr(event_loop, "MAX_CONNECTIONS", 3)
    door, port = serve()
    with Remote(port) as asking, contextlib.ExitStack() as stack:
        asking.send(asking.call(1))
        asking.served(1)
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(2)]
        for each in silent:
            each.sendall(said)
        until(lambda: len(door._peers) == 3)
        time.sleep(0.1)  # for what they say to be read
        newcomer = stack.enter_context(Remote(port))
        newcomer.send(newcomer.call(1))

        assert newcomer.served(1) == [[b"ask"]]
        until(lambda: ended(silent[0]))
        assert not ended(silent[1])
        asking.send(asking.call(3))
        assert asking.served(3) == [[b"ask"]]


@pytest.mark.parametrize("said", [b"", written(*greeting())[:32]], ids=["nothing", "half a greeting"])
def test_a_peer_has_so_long_to_begin(serve, monkeypatch, said):
    """Who has said how it begins may then be silent."""
    _, port = serve()
    with Remote(port) as idle:
        idle.send(PingFrame(0, bytes(8)))
        idle.until(lambda: any(isinstance(frame, PingFrame) for frame in idle.read()))
        monkeypatch.setattr(event_loop, "GREETING_SECONDS", 0.3)
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(said)
            until(lambda: ended(client))

        assert time.monotonic() - began >= 0.3
        idle.send(idle.call(1))
        assert idle.served(1) == [[b"ask"]]


@pytest.mark.parametrize(("files", "most"), [(256, 128), (1_000_000, 1_024), (resource.RLIM_INFINITY, 1_024)])
def test_connections_take_no_more_than_half_of_the_files(monkeypatch, files, most):
    """A process that can open no more files can fetch no keys."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))

    assert most_connections(1_024) == most


def test_a_peer_that_leaves_releases_what_waited(serve):
    """However it leaves."""
    check = Waiting()
    door, port = serve(lambda _: check)
    for leave in ("close", "half close", "reset"):
        with Remote(port) as client:
            client.send(client.call(1))
            until(lambda: door._waiting == 1)
            if leave == "half close":
                client.socket.shutdown(socket.SHUT_WR)
            elif leave == "reset":
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.socket.close()
            else:
                client.socket.close()
            until(lambda: door._waiting == 0)
            until(lambda: not door._peers)
    check.fetch.set_result(None)

    assert not check.told


@pytest.mark.parametrize("last", [pytest.param(b"", id="by its peer"), pytest.param(MISTAKE, id="by a mistake")])
def test_nothing_is_left_of_a_connection_that_has_ended(serve, last):
    """Memory is given back at once, be it the peer's doing or not: it does not grow until garbage is collected."""
    gc.collect()
    before = sum(isinstance(found, connection.Connection) for found in gc.get_objects())
    door, port = serve()
    gc.disable()
    try:
        with Remote(port) as client:
            client.send(client.call(1), client.call(3, b"", HEALTH_WATCH))
            client.served(1)
            client.send(last)
        until(lambda: not door._peers)
        until(lambda: sum(isinstance(found, connection.Connection) for found in gc.get_objects()) == before)
    finally:
        gc.enable()


def test_a_bug_ends_one_connection_and_not_the_door(serve, caplog):
    """It is logged, without what was asked."""

    def check(data):
        if data == b"secret":
            raise AssertionError
        return data

    _, port = serve(check)
    with Remote(port) as client, Remote(port) as other:
        client.send(client.call(1, b"secret"))
        client.drain()
        other.send(other.call(1))

        assert other.served(1) == [[b"ask"]]
    assert "AssertionError" in caplog.text
    assert "secret" not in caplog.messages[0]


def test_a_bug_in_the_clock_of_one_connection_stops_no_other_clock(serve, monkeypatch, caplog):
    """The connection ends, and those beside it are still looked after."""
    tick, seen = connection.Connection.tick, Counter()

    def broken(of, now):
        seen[of] += 1
        if of._streams == 0:
            raise AssertionError
        tick(of, now)

    monkeypatch.setattr(connection.Connection, "tick", broken)
    _, port = serve(lambda data: data)
    with Remote(port) as idle, Remote(port) as client:
        client.send(client.call(1))
        client.served(1)
        idle.drain()
        until(lambda: max(seen.values()) > 2)

        client.send(client.call(3))
        assert client.served(3) == [[b"ask"]]
    assert "bug: the clock of a connection failed" in caplog.text


# Waiting for keys.


def test_a_waiting_check_is_answered_once(serve):
    """When the fetch ends, also in another thread; the time that was set for it changes nothing any more."""
    checks, streams = [], itertools.count(1, 2)

    def check(_):
        checks.append(Waiting())
        return checks[-1]

    door, port = serve(check)
    with Remote(port) as client:

        def answered_in_time():
            stream = next(streams)
            client.send(client.call(stream, grpc_timeout="200m"))
            until(lambda: len(checks) == stream // 2 + 1)
            threading.Thread(target=checks[-1].fetch.set_result, args=(None,)).start()
            return client.served(stream) == [[b"resumed"]]

        until(answered_in_time)
        time.sleep(0.25)
        client.send(PingFrame(0, bytes(8)))
        client.until(lambda: any(isinstance(frame, PingFrame) for frame in client.read()))

        assert checks[-1].told == ["resumed"]
        assert door._waiting == 0


def test_a_check_whose_time_is_up_is_refused_once(serve):
    """The fetch changes nothing any more when it ends."""
    check = Waiting()
    door, port = serve(lambda _: check)
    with Remote(port) as client:
        client.send(client.call(1, grpc_timeout="50m"))
        assert client.served(1) == [[b"refused"]]
        check.fetch.set_result(None)
        client.send(client.call(3, path="/else"))
        client.served(3)

        assert check.told == ["refused"]
        assert door._waiting == 0


def test_a_reset_makes_room_for_another_to_wait(serve, monkeypatch):
    """A check that nobody waits for any more is neither resumed nor refused."""
    monkeypatch.setattr(event_loop, "MAX_WAITING", 1)
    checks = []

    def check(_):
        checks.append(Waiting())
        return checks[-1]

    door, port = serve(check)
    with Remote(port) as client:
        client.send(client.call(1), client.call(3))
        assert client.served(3) == [[b"refused"]]
        client.send(RstStreamFrame(1, 8), client.call(5))
        until(lambda: len(checks) == 3 and door._waiting == 1)
        for asked in checks:
            asked.fetch.set_result(None)
        assert client.served(5) == [[b"resumed"]]

        assert [asked.told for asked in checks] == [[], ["refused"], ["resumed"]]
        assert 1 not in client.answers


class Joining:
    """Checks that all wait for one fetch, and those of them that are still somewhere."""

    def __init__(self):
        self.fetch = Future()
        self.kept = weakref.WeakSet()
        self.count = 0

    def __call__(self, _):
        """Wait."""
        waiting = Waiting()
        waiting.fetch = self.fetch
        self.kept.add(waiting)
        self.count += 1
        return waiting


@pytest.fixture
def no_collections():
    """Leave garbage where it is."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collections")
def test_nothing_is_left_of_waiting_checks_that_are_reset(serve):
    """However many come and go during one fetch: memory is given back at once, and the fetch calls back once."""
    check = Joining()
    door, port = serve(check)
    for connections in range(1, 41):
        with Remote(port) as client:
            client.send(*(client.call(stream) for stream in range(1, 101, 2)))
            until(lambda all_of_them=50 * connections: check.count == all_of_them)
            client.send(*(RstStreamFrame(stream, 8) for stream in range(1, 101, 2)))
            until(lambda: door._waiting == 0)

    until(lambda: not check.kept)
    assert len(check.fetch._done_callbacks) == 1


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("end", ["its time", "the fetch"])
def test_nothing_is_left_of_waiting_checks_that_are_answered(serve, monkeypatch, end):
    """Nor of the fetch, once it has ended."""
    check = Joining()
    monkeypatch.setattr(doors, "MAX_WAIT_SECONDS", 0.2 if end == "its time" else LONG)
    door, port = serve(check)
    with Remote(port) as client:
        client.send(*(client.call(stream) for stream in range(1, 101, 2)))
        until(lambda: check.count == 50)
        if end == "the fetch":
            check.fetch.set_result(None)
        assert client.served(*range(1, 101, 2)) == [[b"refused" if end == "its time" else b"resumed"]] * 50

        until(lambda: not check.kept)
        if end == "its time":
            assert door._joined
            check.fetch.set_result(None)
        until(lambda: not door._joined)


# A peer that does not read.


def big(client, streams):
    """Build calls with answers of 60,000 octets, and give all the credit there is."""
    calls = b"".join(client.call(stream) for stream in streams)
    return WindowUpdateFrame(0, 2**30).serialize() + calls


@pytest.fixture
def slow(serve):
    """Connect a client with little room for what it does not read."""
    asked = itertools.count()

    def check(_):
        next(asked)
        return bytes(60_000)

    door, port = serve(check)
    client = Remote(port, window=2**31 - 1)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    with client:
        yield door, client, asked


def flood(door, client):
    """Send calls, reading nothing, until the server takes no more, or has ended the connection."""

    def send():
        with contextlib.suppress(OSError):
            for stream in range(1, 3_000, 2):
                client.send(big(client, [stream]) if stream == 1 else client.call(stream, bytes(10_000)))

    until(lambda: door._peers)
    threading.Thread(target=send, daemon=True).start()
    until(lambda: not door._peers or any(peer._stuck_since for peer in door._peers))


def test_a_peer_that_does_not_read_is_not_read_from(slow):
    """What it is owed stays bounded: it is asked to wait by not reading what it sends."""
    door, client, asked = slow
    flood(door, client)
    (peer,) = door._peers
    time.sleep(0.3)

    assert peer._stuck_since is not None
    assert peer._transport.get_write_buffer_size() < 64 * 60_000
    assert next(asked) < 300


def test_a_peer_that_reads_again_gets_everything(slow):
    """Nothing was dropped while it slept."""
    door, client, _ = slow
    client.send(big(client, range(1, 200, 2)))
    until(lambda: any(peer._stuck_since for peer in door._peers))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)

    assert client.served(*range(1, 200, 2)) == [[bytes(60_000)]] * 100
    until(lambda: not any(peer._stuck_since for peer in door._peers))


def test_a_peer_that_never_reads_is_cut_off(slow, monkeypatch):
    """After a while."""
    monkeypatch.setattr(event_loop, "STUCK_SECONDS", 0.2)
    door, client, _ = slow
    flood(door, client)

    until(lambda: not door._peers)


# The end of a connection.


def test_a_connection_ends_at_its_age_which_differs_from_one_to_the_next(serve, monkeypatch):
    """Give or take a tenth, so that they do not end in step."""
    monkeypatch.setattr(event_loop, "LIFETIME_SECONDS", 1.0)
    made, lifetimes, spread = connection.Connection, [], iter([-1.0, 1.0])
    monkeypatch.setattr(
        event_loop, "Connection", lambda *all_of, lifetime, **more: lifetimes.append(lifetime) or made(*all_of, lifetime=lifetime, **more)
    )
    _, port = serve(spread=lambda: next(spread))
    for _ in range(2):
        began = time.monotonic()
        with Remote(port) as client:
            client.until(lambda client=client: bool(client.all(PingFrame)))

        assert time.monotonic() - began >= lifetimes[-1]
    assert lifetimes == pytest.approx([0.9, 1.1])


def test_the_last_word_arrives_whatever_was_sent_meanwhile(slow):
    """A socket that is closed before its input was read would take back what it has not sent yet."""
    door, client, _ = slow
    client.send(big(client, range(1, 20, 2)), MISTAKE)
    until(lambda: any(peer._ended_at for peer in door._peers))
    client.send(client.call(21, bytes(10_000)))
    client.drain()

    assert [client.answer(stream).messages for stream in range(1, 20, 2)] == [[bytes(60_000)]] * 10
    assert client.goaways() == [(19, 1)]


def test_a_peer_that_does_not_close_is_closed(serve, monkeypatch):
    """It has a moment after the last octet."""
    monkeypatch.setattr(event_loop, "LINGER_SECONDS", 0.1)
    door, port = serve()
    with Remote(port) as client:
        client.send(client.call(1), MISTAKE)
        client.drain()

        assert client.closed
        until(lambda: not door._peers)


@pytest.mark.parametrize("unsent", ["much", "little"])
def test_a_peer_that_has_left_and_does_not_read_is_cut_off(slow, monkeypatch, unsent):
    """It keeps no place for longer than any other, however little it is owed."""
    monkeypatch.setattr(event_loop, "STUCK_SECONDS", 0.2)
    door, client, asked = slow
    until(lambda: door._peers)
    if unsent == "little":
        (peer,) = door._peers
        peer._transport.set_write_buffer_limits(2**30)
    client.send(big(client, range(1, 200, 2)))
    until(lambda: next(asked) > 20)
    client.socket.shutdown(socket.SHUT_WR)

    until(lambda: not door._peers)


# The end of the door.


def test_stopping_finishes_the_calls_in_flight(serve):
    """And those that the client sends until it hears of the end; then the connections are closed."""
    check = Waiting()
    door, port = serve(lambda data: check if data == b"wait" else data)
    with Remote(port) as client, ThreadPoolExecutor(1) as other:
        client.send(client.call(1, b"wait"))
        until(lambda: door._waiting == 1)
        stopping = other.submit(door.stop, PATIENCE)
        client.until(lambda: bool(client.all(PingFrame)))
        client.send(client.call(3))
        client.pong()
        client.until(lambda: len(client.all(PingFrame)) == 2)
        assert client.served(3) == [[b"ask"]]

        client.pong()
        client.until(lambda: len(client.goaways()) == 2)
        assert not stopping.done()
        check.fetch.set_result(None)
        assert client.served(1) == [[b"resumed"]]
        client.drain()
        client.socket.close()
        stopping.result(PATIENCE)

    assert client.goaways() == [(2**31 - 1, 0), (3, 0)]


def test_stopping_takes_no_longer_than_its_grace(serve):
    """Calls that are still in flight are cut off."""
    door, port = serve(lambda _: Waiting())
    with Remote(port) as client:
        client.send(client.call(1))
        until(lambda: door._waiting == 1)
        door.stop(0.2)
        client.drain()
        assert client.closed
        assert 1 not in client.answers


def test_stopping_begins_with_the_listening_socket(serve):
    """New connections go elsewhere while the old ones are finished."""
    door, port = serve(lambda _: Waiting())
    with Remote(port) as client, ThreadPoolExecutor(1) as other:
        client.send(client.call(1))
        until(lambda: door._waiting == 1)
        stopping = other.submit(door.stop, PATIENCE)
        client.until(lambda: bool(client.all(PingFrame)))
        with pytest.raises(ConnectionError):
            Remote(port)
        client.socket.close()
        stopping.result(PATIENCE)


@pytest.mark.parametrize("abruptly", [False, True])
def test_a_client_that_goes_while_answers_are_held_back_is_gone(serve, abruptly):
    """They have nobody to go to, which is no failure."""
    door, port = serve()
    failures = []
    door.loop.set_exception_handler(lambda _, context: failures.append(context))
    with Remote(port) as client:
        client.send(client.call(1))
        client.served(1)
        door.loop.call_soon_threadsafe(lambda: [peer.leave() for peer in door._peers])
        client.until(lambda: bool(client.all(PingFrame)))
        client.send(client.call(3))
        if abruptly:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: not door._peers)

    assert not failures


def test_a_connection_that_was_just_accepted_hears_of_the_end(serve):
    """It is told as soon as it is known."""
    door, port = serve()
    door._leaving = True
    with Remote(port) as client:
        client.until(lambda: bool(client.all(PingFrame)))
        client.pong()
        client.until(lambda: bool(client.goaways()))

        assert client.all(GoAwayFrame)[0].last_stream_id == 2**31 - 1


@pytest.mark.parametrize("started", [False, True])
def test_stopping_needs_neither_start_nor_peers(started):
    """A server that fails to start stops what it has."""
    door, port = EventLoopDoor(bytes), free_port()
    door.listen(f"127.0.0.1:{port}")
    if started:
        door.start()
    door.stop(5)
    with pytest.raises(ConnectionError):
        Remote(port)


def test_a_port_is_free_again_at_once(serve):
    """A server that is restarted must not wait for old connections to be forgotten."""
    check = bytes
    door, port = serve(check)
    with Remote(port) as client:
        client.send(client.call(1))
        client.served(1)
        door.stop(0)
        again = EventLoopDoor(check)
        again.listen(f"127.0.0.1:{port}")
        again.start()
        with Remote(port) as another:
            another.send(another.call(1))
            assert another.served(1) == [[b"ask"]]
        again.stop(0)


def test_a_slow_call_does_not_keep_the_door_from_others(serve, monkeypatch):
    """Half-open calls cost their own connection only, and end after a while."""
    monkeypatch.setattr(connection, "HALF_OPEN_SECONDS", 0.2)
    _, port = serve()
    with Remote(port) as slow, Remote(port) as client:
        slow.send(slow.head(1, CHECK), body(1, b"\0", end=False))
        client.send(client.call(1))
        assert client.served(1) == [[b"ask"]]

        slow.until(lambda: slow.answer(1).reset == 8)
