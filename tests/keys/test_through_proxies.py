"""Key sets come through a real forward proxy: a tunnel for https, a relay for http, and a word of its own for what the proxy spoils."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from authz_server.core.user_pools import KeySettings
from authz_server.core.user_pools import UserPool as Place
from authz_server.keys.fetch import Answer, Fetcher, FetchError
from tests.authority import Authority, Pair
from tests.forward_proxy import Endpoint, ForwardProxy
from tests.waiting import PATIENCE

HTTPS = "https://keys.test/jwks.json"
HTTP = "http://keys.test/jwks.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and certificates for the endpoint and for a proxy."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority("keys")
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "stranger.crt").write_bytes(Authority("stranger").certificate)
    for name in ("keys.test", "localhost"):
        pair: Pair = authority.issue(dns=[name])
        (folder / f"{name}.pem").write_bytes(pair.certificate + pair.key)
    return folder


@pytest.fixture(scope="module")
def endpoint(folder: Path) -> Iterator[Endpoint]:
    """What answers for https://keys.test."""
    with Endpoint(b"a key set", folder / "keys.test.pem") as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Endpoint]:
    """What answers for http://keys.test."""
    with Endpoint(b"a key set") as running:
        yield running


Start = Callable[..., ForwardProxy]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start proxies that end with the test."""
    with ExitStack() as running:

        def start(target: Endpoint, *arguments: str) -> ForwardProxy:
            proxy = ForwardProxy(str(target.port), *arguments)
            running.push(proxy)
            return proxy

        yield start


def ask(url: str, folder: Path, timeout: float = PATIENCE, ca: str = "ca.crt", **environment: str) -> Answer:
    """Fetch a document, with proxies of an environment."""
    place = Place(id="p", issuer="i", jwks=url, settings=KeySettings(ca_file=str(folder / ca)))
    return asyncio.run(Fetcher(timeout, environment)(place))


def failure(*arguments: Any, **more: Any) -> FetchError:
    """Fail to fetch a document."""
    with pytest.raises(FetchError) as error:
        ask(*arguments, **more)
    return error.value


def test_https_goes_through_a_tunnel(start: Start, endpoint: Endpoint, folder: Path) -> None:
    """The proxy is asked to connect; certificate and document are the endpoint's own, and stay unseen by the proxy."""
    proxy = start(endpoint)

    assert ask(HTTPS, folder, HTTPS_PROXY=f"http://{proxy.address}").document == b"a key set"
    assert proxy.stop() == ["CONNECT keys.test:443 HTTP/1.1"]


def test_http_is_relayed(start: Start, plain: Endpoint, folder: Path) -> None:
    """The proxy is given the whole URL."""
    proxy = start(plain)

    assert ask(HTTP, folder, HTTP_PROXY=proxy.address).document == b"a key set"
    assert proxy.stop() == [f"GET {HTTP} HTTP/1.1"]


@pytest.mark.parametrize("no_proxy", ["fd00::/8", "[::1]", "10.0.0.0/8,172.16.0.0/12", "<local>,.svc,[,fd00::/8", ".example.com, *.x:80"])
def test_no_entry_of_no_proxy_ends_the_fetches(no_proxy: str, start: Start, endpoint: Endpoint, folder: Path) -> None:
    """Container platforms inject networks and what not: what does not concern the endpoint changes nothing."""
    proxy = start(endpoint)

    answer = ask(HTTPS, folder, HTTPS_PROXY=f"http://{proxy.address}", NO_PROXY=no_proxy, no_proxy=no_proxy)
    assert answer.document == b"a key set"


def test_an_environment_that_libraries_read_changes_nothing(
    start: Start, endpoint: Endpoint, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is in force is what we have read: neither the process's variables nor a file for TLS secrets reaches the client."""
    proxy = start(endpoint)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "fd00::/8")
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "secrets"))

    assert ask(HTTPS, folder, HTTPS_PROXY=f"http://{proxy.address}").document == b"a key set"
    assert list(tmp_path.iterdir()) == []
    assert failure(HTTPS, folder).outcome == "connection"  # of no such host: it is asked for without a proxy


def test_credentials_go_to_the_proxy(start: Start, endpoint: Endpoint, plain: Endpoint, folder: Path) -> None:
    """They are those of the URL, decoded."""
    tunnel, relay = start(endpoint, "--password", "us@er:p/ss"), start(plain, "--password", "us@er:p/ss")

    assert ask(HTTPS, folder, HTTPS_PROXY=f"http://us%40er:p%2Fss@{tunnel.address}").document == b"a key set"
    assert ask(HTTP, folder, HTTP_PROXY=f"us%40er:p%2Fss@{relay.address}").document == b"a key set"
    assert tunnel.stop() == ["CONNECT keys.test:443 HTTP/1.1 us@er:p/ss"]


@pytest.mark.parametrize("url", [HTTPS, HTTP])
def test_wrong_credentials_are_the_proxys(url: str, start: Start, endpoint: Endpoint, folder: Path) -> None:
    """A proxy that wants others is told as such, with its variable and without what was shown."""
    proxy = start(endpoint, "--password", "user:right")
    error = failure(url, folder, ALL_PROXY=f"http://user:wr0ng@{proxy.address}")

    assert error.outcome == "proxy"
    assert f"the proxy http://{proxy.address} of ALL_PROXY" in str(error)
    assert "407" in str(error)
    assert "wr0ng" not in str(error)


def test_a_proxy_that_refuses_is_the_proxys(start: Start, endpoint: Endpoint, folder: Path) -> None:
    """Of a tunnel it does not open the endpoint knows nothing."""
    proxy = start(endpoint, "--refuse")
    error = failure(HTTPS, folder, HTTPS_PROXY=proxy.address)

    assert (error.outcome, str(error)) == ("proxy", f"the proxy http://{proxy.address} of HTTPS_PROXY: ProxyError: 403 Forbidden")


def test_a_status_through_a_relay_may_be_anybodys(start: Start, plain: Endpoint, folder: Path) -> None:
    """Over plain http nobody can tell who answered: the proxy is named beside the status."""
    proxy = start(plain, "--refuse")
    error = failure(HTTP, folder, HTTP_PROXY=proxy.address)

    assert (error.outcome, str(error)) == ("status", f"HTTP 403 through the proxy http://{proxy.address} of HTTP_PROXY")


@pytest.mark.parametrize("url", [HTTPS, HTTP])
@pytest.mark.parametrize("what", ["nobody", "hangs up", "no http"])
def test_a_proxy_that_cannot_be_reached_is_the_proxys(url: str, what: str, folder: Path) -> None:
    """Whatever happens before an answer is the proxy's fault, and says whose proxy it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                if what == "no http":
                    connection.sendall(b"SSH-2.0-x\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        if what == "nobody":
            listener.close()
        else:
            thread.start()
        error = failure(url, folder, ALL_PROXY=address)
        if what != "nobody":
            thread.join()

    assert error.outcome == "proxy"
    assert f"the proxy http://{address} of ALL_PROXY" in str(error)


def test_a_silent_proxy_is_named(folder: Path) -> None:
    """A fetch that got no answer in time says through whom it was asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        error = failure(HTTPS, folder, timeout=0.2, HTTPS_PROXY=address)

    assert (error.outcome, str(error)) == ("timeout", f"no answer within 0.2 s through the proxy http://{address} of HTTPS_PROXY")


def test_behind_a_tunnel_the_endpoint_is_to_blame(start: Start, endpoint: Endpoint, folder: Path) -> None:
    """A certificate that nobody trusts, or a document that is not there, is the endpoint's also through a proxy."""
    proxy = start(endpoint)
    untrusted = failure(HTTPS, folder, ca="stranger.crt", HTTPS_PROXY=proxy.address)
    absent = failure("https://keys.test/other", folder, HTTPS_PROXY=proxy.address)

    assert untrusted.outcome == "connection"
    assert "CERTIFICATE_VERIFY_FAILED" in str(untrusted)
    assert (absent.outcome, str(absent)) == ("status", "HTTP 404: no such pool in this region, or no key set at this URL")


def test_a_proxy_may_speak_tls(start: Start, endpoint: Endpoint, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate is checked against the system's authorities, whatever CA the pool names for its own endpoint."""
    proxy = start(endpoint, "--tls", str(folder / "localhost.pem"))
    port = proxy.address.rpartition(":")[2]

    assert failure(HTTPS, folder, HTTPS_PROXY=f"https://localhost:{port}").outcome == "proxy"
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.crt"))
    assert ask(HTTPS, folder, HTTPS_PROXY=f"https://localhost:{port}").document == b"a key set"
