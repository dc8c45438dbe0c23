"""TLS as both doors promise it: the same tests run at each."""

import contextlib
import math
import socket
import ssl
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hyperframe.frame import PingFrame

from authz_server.demo.process import free_port
from authz_server.transport import door as doors
from authz_server.transport import event_loop, grpcio, grpcio_guard, tls_server
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpcio import GrpcioDoor
from authz_server.transport.guard import AllowList, Guard
from authz_server.transport.tls import Credentials, TlsError, read
from authz_server.trust import unify
from tests.authority import ENVOY, SERVER, Authority, Form, Pair, files
from tests.shapes import BAD, BELIEVED, Shape
from tests.transport.http2 import Frames, greeting, written
from tests.waiting import PATIENCE, until

CHECK = "/envoy.service.auth.v3.Authorization/Check"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


class Answering:
    """A check that answers at once, or when its fetch ends, and counts."""

    def __init__(self):
        self.fetch = Future()
        self.asked = 0
        self.waits = threading.Event()

    def __call__(self, data):
        """Answer."""
        self.asked += 1
        if data == b"wait":
            self.waits.set()
            return self
        return b"answer"

    def resume(self):
        """Answer after the fetch."""
        return b"resumed"

    def refuse(self):
        """Answer without the fetch."""
        return b"refused"


@dataclass
class Site:
    """A door behind TLS, and its clients."""

    door: Any
    check: Answering
    folder: Path
    root: Authority
    clients: Authority
    credentials: Credentials
    port: int = field(default_factory=free_port)

    def show(self, pair: Pair, clients: Authority | None = None) -> None:
        """Swap the credentials."""
        self.clients = clients or self.clients
        self.credentials = read(files(self.folder, pair, self.clients.certificate), time.time())

    def channel(self, client: Pair | None = None, *, root: Authority | None = None, address: str | None = None) -> grpc.Channel:
        """Connect as a gRPC client."""
        key, chain = (client.key, client.certificate) if client else (None, None)
        credentials = grpc.ssl_channel_credentials((root or self.root).certificate, key, chain)
        options = [("grpc.ssl_target_name_override", SERVER), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(address or f"127.0.0.1:{self.port}", credentials, options)

    def ask(self, client: Pair | None = None, **more: Any) -> bytes:
        """Ask one check over a connection of its own."""
        with self.channel(client, **more) as channel:
            return channel.unary_unary(CHECK)(b"ask", timeout=PATIENCE)

    def context(self, client: Pair | None = None) -> ssl.SSLContext:
        """Make what a plain TLS client needs."""
        context = ssl.create_default_context(cadata=self.root.certificate.decode())
        unify(context)
        context.set_alpn_protocols(["h2"])
        if client:
            client.write(self.folder, "client")
            context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        return context

    @contextlib.contextmanager
    def connect(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None):
        """Connect as a plain TLS client."""
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        with plain, context.wrap_socket(plain, server_hostname=SERVER, session=session) as client:
            yield client


@pytest.fixture(scope="module")
def root():
    """The CA of the server."""
    return Authority("servers")


@pytest.fixture(scope="module")
def clients():
    """The CA of the clients."""
    return Authority("clients")


@pytest.fixture(params=["grpcio", "asyncio"])
def kind(request):
    """Every promise holds behind both doors."""
    return request.param


@pytest.fixture
def serve(kind, root, clients, tmp_path, monkeypatch):
    """Serve a check with TLS, for clients of a CA, on a list; a check waits for long."""
    monkeypatch.setattr(doors, "MAX_WAIT_SECONDS", 5 * PATIENCE)
    with contextlib.ExitStack() as running:

        def start(*names, client_ca=clients.certificate, server=None, address=None):
            check = Answering()
            site = Site(None, check, tmp_path, root, clients, read(files(tmp_path, server or root.server(), client_ca), time.time()))
            guard = Guard(credentials=lambda: site.credentials, clients=AllowList(names) if names else None)
            site.door = GrpcioDoor(check, 4, guard) if kind == "grpcio" else EventLoopDoor(check, guard=guard)
            running.callback(site.door.stop, 0)
            site.door.listen(address or f"127.0.0.1:{site.port}")
            site.door.start()
            return site

        yield start


def refused(call):
    """Whether a call ends with a gRPC error that no proxy takes for an answer."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED}


# TLS.


def test_checks_are_answered_over_tls(serve):
    """Without a client CA, a client needs no certificate."""
    site = serve(client_ca=None)

    assert [site.ask() for _ in range(3)] == [b"answer"] * 3


def test_a_client_sees_the_certificate(serve):
    """A client that believes another CA does not ask."""
    site = serve(client_ca=None)

    assert refused(lambda: site.ask(root=Authority("else")))
    assert site.check.asked == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_h2_is_agreed_on(serve, version):
    """By ALPN, with TLS 1.2 and 1.3; then the server speaks HTTP/2."""
    site = serve(client_ca=None)
    context = site.context()
    context.minimum_version = context.maximum_version = version
    with site.connect(context) as client:
        client.sendall(PREFACE)

        assert client.selected_alpn_protocol() == "h2"
        assert client.recv(9)[3] == 4  # SETTINGS


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(serve):
    """TLS 1.2 is the least."""
    site = serve(client_ca=None)
    context = site.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)), site.connect(context):
        pass


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256"])
def test_ciphers_that_http2_forbids_are_refused(serve, root, cipher):
    """Those without forward secrecy, and those that are no AEAD."""
    site = serve(client_ca=None, server=root.server(key=rsa.generate_private_key(65_537, 2048)))
    context = site.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with site.connect(context):
        pass
    context.set_ciphers(cipher)
    with pytest.raises((ssl.SSLError, ConnectionError)), site.connect(context):
        pass


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
def test_a_client_that_does_not_ask_for_h2_is_refused(serve, protocols):
    """RFC 9113, section 3.2."""
    site = serve(client_ca=None)
    context = site.context()
    context.set_alpn_protocols(protocols)
    with contextlib.suppress(ConnectionError, ssl.SSLError), site.connect(context) as client:
        client.sendall(PREFACE)

        assert client.recv(9) == b""


def test_plaintext_is_refused(serve):
    """A client without TLS gets nothing that is HTTP/2."""
    site = serve(client_ca=None)
    with grpc.insecure_channel(f"127.0.0.1:{site.port}") as channel:
        assert refused(lambda: channel.unary_unary(CHECK)(b"ask", timeout=PATIENCE))

    assert site.check.asked == 0
    assert site.ask() == b"answer"


def test_a_unix_socket_speaks_tls_too(serve, tmp_path):
    """There is no way around the certificates."""
    address = f"unix://{tmp_path}/authz.sock"
    site = serve(ENVOY, address=address)

    assert site.ask(site.clients.envoy(), address=address) == b"answer"
    assert refused(lambda: site.ask(address=address))
    with grpc.insecure_channel(address) as channel:
        assert refused(lambda: channel.unary_unary(CHECK)(b"ask", timeout=PATIENCE))


# Clients.


@pytest.mark.parametrize(
    "names", [{"uris": [ENVOY]}, {"dns": ["Envoy.test"]}, {"dns": ["other.test", "envoy.test"], "uris": ["spiffe://x/y"]}]
)
def test_a_client_on_the_list_is_answered(serve, names):
    """By its SPIFFE id, or by any of its DNS names."""
    site = serve(ENVOY, "envoy.test")

    assert site.ask(site.clients.issue(**names)) == b"answer"


def test_without_a_list_every_client_of_the_ca_is_answered(serve):
    """The CA alone decides."""
    site = serve()

    assert site.ask(site.clients.issue()) == b"answer"


STRANGERS = {
    "no certificate": lambda _: None,
    "another CA": lambda _: Authority("clients").envoy(),
    "self-signed": lambda _: Pair((stranger := Authority("self")).certificate, stranger.envoy().key),
    "another SPIFFE id": lambda clients: clients.issue(uris=[ENVOY + "/else"]),
    "two SPIFFE ids": lambda clients: clients.issue(uris=[ENVOY, ENVOY + "/else"]),
    "another DNS name": lambda clients: clients.issue(dns=["sub.envoy.test"]),
    "a SPIFFE id as DNS name": lambda clients: clients.issue(dns=[ENVOY]),
    "no name": lambda clients: clients.issue(),
    "expired": lambda clients: clients.envoy(days=-0.5),
    "a server's": lambda clients: clients.issue(uris=[ENVOY], usage=ExtendedKeyUsageOID.SERVER_AUTH),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_gets_no_answer(serve, stranger):
    """Neither to a check nor about health, however often it asks; a client on the list goes on."""
    site = serve(ENVOY, "envoy.test")
    with site.channel(STRANGERS[stranger](site.clients)) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(CHECK)(b"ask", timeout=2)
        with pytest.raises(grpc.RpcError):
            health.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=2)
        with pytest.raises(grpc.RpcError):
            next(health.Watch(health_pb2.HealthCheckRequest(service="liveness"), timeout=2))

    assert site.check.asked == 0
    assert site.ask(site.clients.envoy()) == b"answer"


def test_a_client_on_the_list_may_watch_health(serve):
    """Everything is served as without TLS."""
    site = serve(ENVOY)
    with site.channel(site.clients.envoy()) as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""), timeout=PATIENCE)
        statuses = [next(watched).status]
        site.door.serving(ready=True)
        statuses.append(next(watched).status)
        with pytest.raises(grpc.RpcError) as unknown:
            channel.unary_unary("/else")(b"", timeout=PATIENCE)
        watched.cancel()

    assert statuses == [2, 1]
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_list_without_tls_admits_nobody(kind):
    """Who shows no certificate is not on it."""
    check, port, guard = Answering(), free_port(), Guard(clients=AllowList([ENVOY]))
    door = GrpcioDoor(check, 4, guard) if kind == "grpcio" else EventLoopDoor(check, guard=guard)
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert refused(lambda: channel.unary_unary(CHECK)(b"ask", timeout=PATIENCE))
    door.stop(0)

    assert check.asked == 0


def test_an_intermediate_ca_may_be_the_client_ca(serve, root):
    """Its clients are believed, and not those of the root above it."""
    intermediate = Authority("edge", root)
    site = serve(ENVOY, client_ca=intermediate.certificate)

    assert site.ask(intermediate.envoy()) == b"answer"
    assert refused(lambda: site.ask(root.envoy()))


@pytest.mark.parametrize("shape", BELIEVED, ids=str)
def test_a_client_ca_is_believed_however_plainly_it_was_made(serve, shape: Shape):
    """The port takes the CAs that key sets and Redis are verified with, behind both doors and on every Python."""
    site = shape.make()

    assert serve(ENVOY, client_ca=site.ca).ask(site.client) == b"answer"


@pytest.mark.parametrize("shape", [shape for shape in BAD if shape.client], ids=str)
def test_a_client_that_no_ca_vouched_for_gets_no_answer(serve, shape: Shape):
    """The same chains that key sets and Redis are not believed with; a client CA that is none ends the start."""
    site = shape.make()
    try:
        door = serve(ENVOY, client_ca=site.ca)
    except TlsError as error:
        assert "is no CA" in str(error)  # noqa: PT017 - one of two ways to refuse
    else:
        assert refused(lambda: door.ask(site.client))
        assert door.check.asked == 0


def test_the_path_length_of_a_root_counts_with_asyncio(kind, serve):
    """It need not, by RFC 5280, section 6.1, for the CA that is trusted itself; grpcio does not look at it."""
    root = Authority("root", form=Form(path_length=0))
    issuer = Authority("issuer", root)
    pair = issuer.envoy()
    site = serve(ENVOY, client_ca=root.certificate)
    client = Pair(pair.certificate + issuer.certificate, pair.key)

    if kind == "asyncio":
        assert refused(lambda: site.ask(client))
    else:
        assert site.ask(client) == b"answer"


def test_a_client_may_send_its_intermediates(serve, clients):
    """The chain leads to the client CA."""
    edge = Authority("edge", clients)
    pair = edge.envoy()

    assert serve(ENVOY).ask(Pair(pair.certificate + edge.certificate, pair.key)) == b"answer"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_outlives_its_credentials(serve, version):
    """Who took one up again would not be asked for a certificate that the new client CA knows."""
    site = serve(ENVOY)
    context = site.context(site.clients.envoy())
    context.minimum_version = context.maximum_version = version
    with site.connect(context) as client:
        client.sendall(PREFACE)
        client.recv(9)
        session = client.session
    site.show(site.root.server())
    with site.connect(context, session) as client:
        assert not client.session_reused


def asked_over(client):
    """Ask a check over a connection that has shaken hands; give the answer as far as it came."""
    frames = Frames()
    client.sendall(written(*greeting(), frames.call(1)))
    with contextlib.suppress(OSError):
        while not frames.answer(1).ended and (octets := client.recv(65_536)):
            frames.octets += octets
    return frames.answer(1)


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_a_session_is_no_way_around_the_end_of_a_certificate(serve, kind, version, monkeypatch):
    """Who takes one up again after that end gets no answer: grpcio looks at the time with each call, and asyncio takes up none."""
    site = serve(ENVOY)
    context = site.context(site.clients.envoy(days=1))
    context.minimum_version = context.maximum_version = version
    with site.connect(context) as client:
        assert asked_over(client).messages == [b"answer"]
        session = client.session
    moved = SimpleNamespace(time=lambda: time.time() + 86_400, monotonic=time.monotonic)
    monkeypatch.setattr(grpcio_guard, "time", moved)
    with site.connect(context, session) as client:
        assert client.session_reused is (kind == "grpcio")
        answer = asked_over(client)

    assert answer.messages == ([] if kind == "grpcio" else [b"answer"])
    assert answer.status == ("16" if kind == "grpcio" else "0")


@VERSIONS
@pytest.mark.parametrize("is_over", [False, True])
def test_a_session_lives_no_longer_than_a_connection(serve, kind, version, is_over, monkeypatch):
    """Until then a client may take one up at grpcio, which spares it a handshake; asyncio gives none."""
    monkeypatch.setattr(grpcio_guard, "LIFETIME_SECONDS", 0.0 if is_over else 5 * PATIENCE)
    site = serve(ENVOY)
    context = site.context(site.clients.envoy())
    context.minimum_version = context.maximum_version = version
    with site.connect(context) as client:
        assert asked_over(client).messages == [b"answer"]
        session = client.session
    with site.connect(context, session) as client:
        assert client.session_reused is (kind == "grpcio" and not is_over)
        assert asked_over(client).messages == [b"answer"]


def test_a_connection_does_not_outlive_its_certificate(serve, kind, monkeypatch):
    """A call after that end is refused at grpcio, and asyncio says goodbye by then."""
    site = serve(ENVOY)
    ahead = [0.0]
    moved = SimpleNamespace(time=lambda: time.time() + ahead[0], monotonic=time.monotonic)
    for module in (grpcio_guard, event_loop):
        monkeypatch.setattr(module, "time", moved)
    if kind == "asyncio":
        ahead[0] = 86_400.0  # at the beginning of the connection
        with site.connect(site.context(site.clients.envoy(days=1))) as client:
            frames = Frames()
            client.sendall(written(*greeting()))
            while not frames.all(PingFrame):  # the first step of a goodbye
                frames.octets += client.recv(65_536)
        return
    with site.channel(site.clients.envoy(days=1)) as channel:
        ask = channel.unary_unary(CHECK)
        assert ask(b"ask", timeout=PATIENCE) == b"answer"
        ahead[0] = 86_400.0
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"ask", timeout=PATIENCE)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert site.check.asked == 1


def test_a_client_needs_a_certificate_that_can_be_read():
    """Whatever grpcio tells of a client, one without an end has none."""
    assert grpcio_guard._expires(b"") == grpcio_guard._expires(b"nonsense") == -math.inf


# Rotation.


def shown(site, client):
    """Read the serial number of the server's certificate."""
    with site.connect(site.context(client)) as connection:
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number


def serial(pair):
    """Read the serial number of a certificate."""
    return x509.load_pem_x509_certificate(pair.certificate).serial_number


def test_a_new_certificate_is_shown_to_new_connections(serve):
    """And to each of them, again and again."""
    site = serve(ENVOY)
    client = site.clients.envoy()
    for pair in (site.root.server(), site.root.server(), site.root.server()):
        site.show(pair)
        assert [shown(site, client) for _ in range(2)] == [serial(pair)] * 2


def test_a_rotation_drops_no_call_in_flight(serve):
    """A connection goes on, and a call that waits is answered."""
    site = serve(ENVOY)
    with site.channel(site.clients.envoy()) as channel:
        call = channel.unary_unary(CHECK)
        waiting = call.future(b"wait", timeout=PATIENCE)
        site.check.waits.wait(PATIENCE)
        site.show(site.root.server())
        assert site.ask(site.clients.envoy()) == b"answer"
        site.check.fetch.set_result(None)

        assert waiting.result() == b"resumed"
        assert call(b"ask", timeout=PATIENCE) == b"answer"


def test_a_client_ca_that_is_gone_is_believed_no_more(serve):
    """The old clients are refused, and the new ones answered."""
    site = serve(ENVOY)
    old, authority = site.clients.envoy(), Authority("new clients")
    assert site.ask(old) == b"answer"
    site.show(site.root.server(), authority)

    assert refused(lambda: site.ask(old))
    assert site.ask(authority.envoy()) == b"answer"


# Connections.


def short_lived(monkeypatch, seconds):
    """Let connections of both doors live shortly."""
    monkeypatch.setattr(event_loop, "LIFETIME_SECONDS", seconds)
    monkeypatch.setattr(event_loop, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(grpcio, "LIFETIME_SECONDS", seconds)


def asks_until_replaced(channel, times):
    """Ask on, until the connection was ended so many times; each call is answered."""
    seen, call = [], channel.unary_unary(CHECK)
    channel.subscribe(seen.append)

    def replaced():
        assert call(b"ask", timeout=PATIENCE, wait_for_ready=True) == b"answer"
        return seen.count(grpc.ChannelConnectivity.IDLE) >= times

    until(replaced)


def test_connections_end_in_time_and_no_call_fails(serve, monkeypatch):
    """A client asks on while its connections are replaced, so that an old certificate is gone after a connection's lifetime."""
    short_lived(monkeypatch, 0.3)
    site = serve(ENVOY)
    with site.channel(site.clients.envoy()) as channel:
        asks_until_replaced(channel, times=2)


def test_plaintext_connections_end_in_time_too(kind, monkeypatch):
    """Envoy spreads its connections anew after a restart."""
    short_lived(monkeypatch, 0.3)
    check, port = Answering(), free_port()
    door = GrpcioDoor(check) if kind == "grpcio" else EventLoopDoor(check)
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        asks_until_replaced(channel, times=2)
    door.stop(0)


@pytest.fixture
def impatient(monkeypatch):
    """Wait for a handshake no longer than a test."""
    monkeypatch.setattr(tls_server, "HANDSHAKE_SECONDS", 0.3)
    monkeypatch.setattr(grpcio, "HANDSHAKE_SECONDS", 0.3)


def test_a_client_that_says_nothing_is_cut_off(impatient, serve):  # noqa: ARG001
    """Who does not shake hands in time holds no place."""
    site = serve(ENVOY)
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as silent:
        assert silent.recv(1) == b""

    with site.channel(site.clients.envoy()) as channel:  # which tries again where its own handshake took too long
        assert channel.unary_unary(CHECK)(b"ask", timeout=PATIENCE, wait_for_ready=True) == b"answer"


def test_many_clients_at_once(serve):
    """Each shakes hands and is answered."""
    site = serve(ENVOY)
    client = site.clients.envoy()
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: site.ask(client), range(40))) == {b"answer"}


def test_stopping_finishes_the_calls_in_flight(serve):
    """As without TLS."""
    site = serve(ENVOY)
    with site.channel(site.clients.envoy()) as channel, ThreadPoolExecutor(1) as other:
        waiting = channel.unary_unary(CHECK).future(b"wait", timeout=PATIENCE)
        site.check.waits.wait(PATIENCE)
        stopping = other.submit(site.door.stop, PATIENCE)
        time.sleep(0.1)
        site.check.fetch.set_result(None)

        assert waiting.result() == b"resumed"
        stopping.result(PATIENCE)
