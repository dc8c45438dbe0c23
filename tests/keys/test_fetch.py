"""A fetch brings the octets of a document within its time and size, or says in one word what went wrong."""

import asyncio
import gzip
import http.server
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authz_server.core.user_pools import KeySettings
from authz_server.core.user_pools import UserPool as Place
from authz_server.keys.fetch import TIMEOUT_SECONDS, Answer, Fetcher, FetchError, max_age
from authz_server.keys.jwks import MAX_DOCUMENT_SIZE
from authz_server.testing import Fault, LocalCognito, UserPool
from authz_server.testing.loopback import LoopbackServer
from authz_server.testing.reply import Reply

LONG = 60.0  # seconds that no test waits for


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of this machine stands in the way."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def cognito(pool: UserPool, other_pool: UserPool) -> Iterator[LocalCognito]:
    """A server of key sets."""
    with LocalCognito(pool, other_pool) as cognito:
        yield cognito


@pytest.fixture
def fault(cognito: LocalCognito, pool: UserPool) -> Iterator[Callable[..., str]]:
    """Let the pool's key set go wrong; where it is."""

    def fault(**how: Any) -> str:
        cognito.faults[pool.id] = Fault(**how)
        return cognito.jwks_uri(pool)

    yield fault
    cognito.faults.clear()


def at(place: str, **settings: Any) -> Place:
    """Say where the keys of a pool are."""
    return Place(id="p", issuer="i", jwks=place, settings=KeySettings(**settings))


def ask(place: str, etag: str | None = None, **settings: Any) -> Answer:
    """Fetch one document, with all that is said about it."""
    return asyncio.run(Fetcher()(at(place, **settings), etag))


def fetch(place: str, timeout: float = TIMEOUT_SECONDS) -> bytes | None:
    """Fetch one document."""
    return asyncio.run(Fetcher(timeout)(at(place))).document


def failure(place: str, timeout: float = TIMEOUT_SECONDS) -> FetchError:
    """Fail to fetch a document."""
    with pytest.raises(FetchError) as error:
        fetch(place, timeout)
    return error.value


def test_a_document_is_fetched_over_http(cognito: LocalCognito, pool: UserPool) -> None:
    """The octets are those that the server sent, asked for once."""
    before = cognito.fetches(pool)

    assert fetch(cognito.jwks_uri(pool)) == pool.jwks_document()
    assert cognito.fetches(pool) == before + 1


def test_one_fetcher_serves_many_fetches(cognito: LocalCognito, pool: UserPool, other_pool: UserPool) -> None:
    """Fetches run at once, and none gets another's document."""

    async def both() -> list[Answer]:
        fetcher = Fetcher()
        return await asyncio.gather(*(fetcher(at(cognito.jwks_uri(each))) for each in (pool, other_pool, pool)))

    assert [answer.document for answer in asyncio.run(both())] == [pool.jwks_document(), other_pool.jwks_document(), pool.jwks_document()]


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 429, 500, 503])
def test_only_200_brings_a_document(status: int, fault: Callable[..., str]) -> None:
    """Any other status is a failure, whatever its body holds."""
    error = failure(fault(status=status, body=b""))

    assert error.outcome == "status"
    assert re.match(rf"HTTP {status}(?=:|$)", str(error))


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (404, ": no such pool in this region, or no key set at this URL"),
        (301, ": redirects are not followed; name the URL that it leads to"),
        (302, ": redirects are not followed; name the URL that it leads to"),
        (304, ""),
        (407, ""),
        (503, ""),
    ],
)
def test_a_status_that_is_often_met_says_what_it_means(status: int, hint: str, fault: Callable[..., str]) -> None:
    """The log line of a failed fetch leads to the mistake."""
    assert str(failure(fault(status=status, body=b""))) == f"HTTP {status}{hint}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int, fault: Callable[..., str], cognito: LocalCognito, other_pool: UserPool) -> None:
    """Keys come from the place that the configuration names, and from nowhere that it points to."""
    before = cognito.fetches(other_pool)

    assert failure(fault(status=status, headers={"Location": cognito.jwks_uri(other_pool)})).outcome == "status"
    assert cognito.fetches(other_pool) == before


def test_a_slow_answer_ends_in_time(fault: Callable[..., str]) -> None:
    """The time for a fetch is bounded from its beginning to its end."""
    error = failure(fault(delay=LONG), timeout=0.05)

    assert (error.outcome, str(error)) == ("timeout", "no answer within 0.05 s")


def test_the_time_is_that_of_api_gateway() -> None:
    """Its own JWT authorizers wait 1,500 ms."""
    assert TIMEOUT_SECONDS == 1.5


def answering(*replies: Reply) -> tuple[LoopbackServer, list[Message]]:
    """Start a server that gives these answers in turn, and writes down what it is asked."""
    asked: list[Message] = []
    left = list(replies)

    def answer(_method: str, _path: str, headers: Message, _body: bytes) -> Reply:
        asked.append(headers)
        return left.pop(0)

    return LoopbackServer(answer), asked


def test_a_document_that_has_not_changed_is_not_sent_again() -> None:
    """The ETag of an answer goes back in the next question, and a 304 says that the octets are the same."""
    server, asked = answering(
        Reply(body=b"{}", headers={"ETag": '"v1"'}), Reply(status=304, body=b"", headers={"Cache-Control": "max-age=70"})
    )
    try:
        first = ask(server.url)
        second = ask(server.url, first.etag)
    finally:
        server.close()

    assert (first, second) == (Answer(b"{}", '"v1"', None), Answer(None, '"v1"', 70.0))
    assert [headers["if-none-match"] for headers in asked] == [None, '"v1"']


@pytest.mark.parametrize("etag", ["", "v1", '"', '"a"b"', 'w/"a"', '"' + "a" * 257 + '"', '"ä"'])
def test_what_is_no_etag_is_not_sent_back(etag: str) -> None:
    """An ETag that is none, or endless, is as good as absent."""
    server, _ = answering(Reply(body=b"{}", headers={"ETag": etag}))
    try:
        assert ask(server.url).etag is None
    finally:
        server.close()


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("", None),
        ("no-store", None),
        ("public, max-age=86400", 86_400.0),
        ("Max-Age=60", 60.0),
        ('max-age="60"', 60.0),
        ("max-age=60, max-age=5", 5.0),
        ("s-maxage=5", None),
        ("max-age=-1", None),
        ("max-age=1.5", None),
        ("max-age=x", None),
        ("max-age=٣", None),
        ("max-age=" + "9" * 400, None),
    ],
)
def test_max_age_says_how_long_an_answer_is_fresh(cache_control: str, seconds: float | None) -> None:
    """Of Cache-Control one directive counts, written in digits."""
    assert max_age(cache_control) == seconds


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends one octet after the other, quickly enough for each and never all."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # the test ended before it asked
            return
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            while not over.wait(0.005):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    over.set()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


def test_a_dripping_answer_ends_in_time(dripping: str) -> None:
    """Octets that keep coming do not keep a fetch alive."""
    assert failure(dripping, timeout=0.1).outcome == "timeout"


@pytest.mark.parametrize("size", [MAX_DOCUMENT_SIZE + 1, 5_000_000])
def test_reading_stops_beyond_the_limit(size: int, fault: Callable[..., str]) -> None:
    """Of a document that is too large no more is read than it takes to know."""
    document = fetch(fault(body=b" " * size))

    assert MAX_DOCUMENT_SIZE < len(document) <= MAX_DOCUMENT_SIZE + 70_000


def test_a_document_of_the_limit_is_read_whole(fault: Callable[..., str]) -> None:
    """The limit itself is allowed."""
    assert fetch(fault(body=b" " * MAX_DOCUMENT_SIZE)) == b" " * MAX_DOCUMENT_SIZE


def test_compressed_documents_are_left_as_they_are(fault: Callable[..., str]) -> None:
    """Nothing is unpacked: a small answer can not become a large document."""
    packed = gzip.compress(b" " * 10_000_000)

    assert fetch(fault(body=packed, headers={"Content-Encoding": "gzip"})) == packed


def test_nothing_compressed_is_asked_for() -> None:
    """A fetch asks for JSON as it is, and shows no credentials."""
    asked: list[Message] = []

    def answer(_method: str, _path: str, headers: Message, _body: bytes) -> Reply:
        asked.append(headers)
        return Reply(body=b"{}")

    server = LoopbackServer(answer)
    try:
        assert fetch(server.url) == b"{}"
    finally:
        server.close()
    (headers,) = asked
    assert (headers["accept"], headers["accept-encoding"]) == ("application/json", "identity")
    assert not {"authorization", "cookie"} & {name.lower() for name in headers}


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"hang_up": True}, id="hangs up"),
        pytest.param({"headers": {"Content-Length": "9999"}}, id="says a larger size than it sends"),
        pytest.param({"headers": {"Content-Length": "x"}}, id="says a size that is no number"),
        pytest.param({"headers": {"Transfer-Encoding": "chunked"}}, id="says chunks and sends none"),
    ],
)
def test_broken_answers_are_failures_of_the_connection(how: dict[str, Any], fault: Callable[..., str]) -> None:
    """Half a document is no document."""
    assert failure(fault(**how)).outcome == "connection"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "ftp://127.0.0.1/keys",
        "http://",
        "http://[",
        "http://127.0.0.1:x/",
        "://x",
    ],
)
def test_places_that_can_not_be_asked_are_failures_of_the_connection(url: str) -> None:
    """Nobody listening, another scheme and a broken URL are told in words, not with another library's exception."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(url.format(port=port))

    assert error.outcome == "connection"
    assert str(error)


def test_a_proxy_of_the_environment_is_used(cognito: LocalCognito, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that may not speak to the world asks through its proxy."""
    monkeypatch.setenv("HTTP_PROXY", cognito.url)

    assert failure("http://keys.invalid/jwks.json").outcome == "status"  # of the proxy; without it there is no such host


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_what_is_asked_of_this_machine_never_leaves_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP is good on loopback since nobody listens in: a proxy of the environment could answer with keys of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    proxy, asked = answering(Reply(body=b"forged"))
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    try:
        assert failure(f"http://{host}:{port}/jwks.json").outcome == "connection"
    finally:
        proxy.close()
    assert not asked


def test_keys_come_from_loopback_and_not_from_a_proxy(cognito: LocalCognito, pool: UserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy that forges key sets in the environment the real one is read."""
    proxy, _ = answering(Reply(body=b"forged"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    try:
        assert fetch(cognito.jwks_uri(pool)) == pool.jwks_document()
    finally:
        proxy.close()


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, pool: UserPool) -> Iterator[tuple[str, Path]]:
    """A server with a certificate that nobody trusts yet: its URL and the certificate."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    key = pool.id_key.private
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keys.test")])
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), 1, datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    file.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nsecret")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=True)
    server.handle_error = lambda *_: None  # a client that does not trust us hangs up
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    file.write_bytes(pem)
    yield f"https://127.0.0.1:{server.server_address[1]}/", file
    server.shutdown()
    thread.join()
    server.server_close()


def test_https_needs_a_certificate_that_is_trusted(certified: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can pretend to be the endpoint can sign tokens: an unknown certificate is refused, one that SSL_CERT_FILE names is taken."""
    url, certificate = certified

    error = failure(url)
    assert error.outcome == "connection"
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch(url) == b"secret"


def test_a_pool_may_trust_certificates_of_its_own(certified: tuple[str, Path]) -> None:
    """What the pool's CA file holds is trusted for its key set."""
    url, certificate = certified

    assert ask(url, ca_file=str(certificate)).document == b"secret"


def test_certificates_of_its_own_stand_for_the_systems(
    certified: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A pool that names a CA file trusts nothing else."""
    url, certificate = certified
    other = tmp_path / "other.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])
    yesterday, tomorrow = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, yesterday, tomorrow)
    other.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url, ca_file=str(other))


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_file_that_holds_none_is_named(content: bytes | None, tmp_path: Path) -> None:
    """A missing or wrong CA file makes a fetch fail with its path; nothing else is trusted in its place."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(FetchError) as error:
        ask("https://127.0.0.1:1/", ca_file=str(file))
    assert error.value.outcome == "ca_file"
    assert str(file) in str(error.value)


def test_a_certificate_for_another_name_is_refused(certified: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted certificate is good for its own host only."""
    url, certificate = certified
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert "CERTIFICATE_VERIFY_FAILED" in str(failure(url.replace("127.0.0.1", "localhost")))


def test_a_document_is_read_from_a_file(tmp_path: Path) -> None:
    """A place without a scheme is a path."""
    file = tmp_path / "jwks.json"
    file.write_bytes(b'{"keys": []}')

    assert fetch(str(file)) == b'{"keys": []}'


def test_a_file_that_takes_long_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs is given up like an endpoint that does."""

    async def never(*_: Any) -> None:
        await asyncio.sleep(LONG)

    monkeypatch.setattr(asyncio, "to_thread", never)
    assert failure(str(tmp_path / "jwks.json"), timeout=0.05).outcome == "timeout"


def test_the_environment_is_told_where_it_matters(tmp_path: Path) -> None:
    """Variables that lead to no key set of the configuration are nobody's concern; the others are named, used or not."""
    environment = {
        "HTTPS_PROXY": "http://user:hunter2@proxy.test:3128",
        "HTTP_PROXY": "socks5://proxy.test",
        "SSL_CERT_FILE": str(tmp_path / "none"),
        "AWS_ENDPOINT_URL": "https://aws.test",
    }
    fetcher = Fetcher(environment=environment)

    for pools in ([], [at("keys.json")], [at("http://localhost/jwks")]):
        assert fetcher.warnings(pools) == fetcher.in_force(pools) == []
    own = [at("https://keys.test/jwks", ca_file="ca.crt")]
    assert (fetcher.warnings(own), fetcher.in_force(own)) == (
        [],
        ["keys are fetched through the proxy http://proxy.test:3128 of HTTPS_PROXY, with its credentials"],
    )
    everything = [at("https://aws.test/p/.well-known/jwks.json"), at("http://keys.test/jwks"), *own]
    assert [warning.partition(" ")[0] for warning in fetcher.warnings(everything)] == ["HTTP_PROXY", "SSL_CERT_FILE"]
    assert fetcher.in_force(everything) == [
        "keys are fetched through the proxy http://proxy.test:3128 of HTTPS_PROXY, with its credentials",
        "keys are fetched from https://aws.test, as AWS_ENDPOINT_URL says",
        f"SSL_CERT_FILE says whose certificates are trusted for key sets: {tmp_path / 'none'}",
    ]


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    """Its size is enough to know."""
    file = tmp_path / "jwks.json"
    file.touch()
    os.truncate(file, 2**40)

    assert "jwks.json cannot be read: it is larger than 150,000 bytes" in str(failure(str(file)))


@pytest.mark.parametrize("name", ["missing.json", ".", "missing/jwks.json"])
def test_files_that_can_not_be_read_are_failures_of_the_file(name: str, tmp_path: Path) -> None:
    """A file that is missing, or a directory, is told with its path."""
    error = failure(str(tmp_path / name))

    assert error.outcome == "file"
    assert str(tmp_path) in str(error)
