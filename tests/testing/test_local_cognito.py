"""A local Cognito publishes keys, and lets them go wrong on demand."""

import socket
import threading
import time
import urllib.error
from http.client import HTTPException, IncompleteRead
from urllib.parse import urlsplit

import jwt
import pytest

from authz_server.testing import Fault, LocalCognito, UserPool
from authz_server.testing.loopback import MAX_BODY_SIZE
from tests.waiting import PATIENCE


def exchange(cognito: LocalCognito, request: bytes) -> bytes:
    """Send raw bytes and read all that comes back."""
    address = urlsplit(cognito.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_jwks_is_the_pools(ask, cognito, pool):
    """The key set stands where Cognito has it and verifies the pool's tokens."""
    answer = ask(cognito.jwks_uri(pool))

    assert cognito.jwks_uri(pool) == f"{cognito.url}/eu-west-1_Local0001/.well-known/jwks.json"
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    keys = jwt.PyJWKSet.from_json(answer.body.decode())
    jwt.decode(pool.access_token(), keys[pool.access_key.kid], algorithms=["RS256"])


def test_discovery_document_leads_to_the_keys(ask, cognito, pool):
    """The issuer is the one in the tokens, the addresses are local."""
    document = ask(f"{cognito.url}/{pool.id}/.well-known/openid-configuration").json()

    assert document["issuer"] == pool.issuer
    assert document["jwks_uri"] == cognito.jwks_uri(pool)
    assert document["token_endpoint"] == cognito.token_url(pool)
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]


def test_each_pool_publishes_its_own_keys(ask, pool, new_key):
    """Several pools share a server, and their keys and counts stay apart."""
    other = UserPool("us-east-1_Other0001", new_key=new_key)
    with LocalCognito(pool, other) as cognito:
        answers = [ask(cognito.jwks_uri(p)).json() for p in (pool, other, other)]

        assert answers == [pool.jwks(), other.jwks(), other.jwks()]
        assert (cognito.fetches(pool), cognito.fetches(other)) == (1, 2)


def test_rotation_is_published_at_once(ask, cognito, pool):
    """A fetch after a rotation finds new and old keys, and one after `forget` only the new ones."""
    counts = []
    for step in (lambda: None, pool.rotate, pool.forget):
        step()
        counts.append(len(ask(cognito.jwks_uri(pool)).json()["keys"]))

    assert counts == [2, 4, 2]


@pytest.mark.parametrize(
    "path", ["/", "/other/.well-known/jwks.json", "/eu-west-1_Local0001", "/eu-west-1_Local0001/jwks.json", "//[", "/%"]
)
def test_other_paths_are_not_found(ask, cognito, path):
    """There is nothing else to GET."""
    answer = ask(cognito.url + path)

    assert (answer.status, answer.json()) == (404, {"message": "Not Found"})


@pytest.mark.parametrize("path", ["/eu-west-1_Local0001/.well-known/jwks.json", "/eu-west-1_Local0001/", "/oauth2"])
def test_nothing_else_takes_a_post(ask, cognito, path):
    """A key set cannot be posted to."""
    assert ask(cognito.url + path, b"").status == 404


def test_query_of_a_path_is_ignored(ask, cognito, pool):
    """A cache buster finds the same key set."""
    assert ask(cognito.jwks_uri(pool) + "?v=2").json() == pool.jwks()


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (Fault(status=503), 503, None),
        (Fault(body=b"<html>"), 200, b"<html>"),
        (Fault(body=b""), 200, b""),
        (Fault(status=302, headers={"Location": "http://127.0.0.1:9/"}), 302, None),
        (Fault(body=b"{}", headers={"Content-Type": "text/html"}), 200, b"{}"),
    ],
)
def test_fault_replaces_the_answer(ask, cognito, pool, fault, status, body):
    """Status, body and headers of the key set can be anything, until the fault is taken away."""
    cognito.faults[pool.id] = fault
    answer = ask(cognito.jwks_uri(pool))

    assert (answer.status, answer.body) == (status, pool.jwks_document() if body is None else body)
    assert {name.lower(): value for name, value in fault.headers.items()}.items() <= answer.headers.items()
    del cognito.faults[pool.id]
    assert ask(cognito.jwks_uri(pool)).json() == pool.jwks()
    assert cognito.fetches(pool) == 2


def test_fault_hits_one_pool_only(ask, pool, new_key):
    """The other pools of a server stay well."""
    other = UserPool("us-east-1_Other0001", new_key=new_key)
    with LocalCognito(pool, other) as cognito:
        cognito.faults[pool.id] = Fault(status=500)

        assert [ask(cognito.jwks_uri(p)).status for p in (pool, other)] == [500, 200]


def test_delay_holds_the_answer_back(ask, cognito, pool):
    """A slow key set comes after the delay."""
    cognito.faults[pool.id] = Fault(delay=0.1)
    before = time.monotonic()
    answer = ask(cognito.jwks_uri(pool))

    assert answer.status == 200
    assert time.monotonic() - before >= 0.1


def test_hang_up_closes_the_connection(ask, cognito, pool):
    """The client gets no answer at all."""
    cognito.faults[pool.id] = Fault(hang_up=True)

    with pytest.raises((urllib.error.URLError, HTTPException, ConnectionError)):
        ask(cognito.jwks_uri(pool))
    assert cognito.fetches(pool) == 1


def test_answer_can_break_off(ask, cognito, pool):
    """A false Content-Length makes a body that ends too early."""
    cognito.faults[pool.id] = Fault(headers={"Content-Length": "100000"})

    with pytest.raises(IncompleteRead):
        ask(cognito.jwks_uri(pool))


def test_close_ends_delays(ask, pool):
    """Closing does not wait for an answer that a fault holds back."""
    cognito = LocalCognito(pool)
    cognito.faults[pool.id] = Fault(delay=600)
    answers = []
    client = threading.Thread(target=lambda: answers.append(ask(cognito.jwks_uri(pool))))
    client.start()
    while not cognito.fetches(pool):
        time.sleep(0.001)
    cognito.close()
    client.join(PATIENCE)

    assert [answer.status for answer in answers] == [200]


def test_close_twice_is_close_once(ask, pool):
    """A second close does nothing, and nobody answers any more."""
    cognito = LocalCognito(pool)
    cognito.close()
    cognito.close()

    with pytest.raises(urllib.error.URLError):
        ask(cognito.jwks_uri(pool))


def test_many_clients_are_served_at_once(ask, cognito, pool):
    """Every connection has a thread, and none is lost in the count."""
    threads = [threading.Thread(target=ask, args=(cognito.jwks_uri(pool),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cognito.fetches(pool) == 20


def test_port_can_be_chosen_and_a_taken_one_is_an_error(pool):
    """Two servers never share a port."""
    with LocalCognito(pool) as first:
        port = urlsplit(first.url).port

        with pytest.raises(OSError, match="in use"):
            LocalCognito(pool, port=port)
    with LocalCognito(pool, port=port) as second:
        assert second.url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("ids", [[], ["eu-west-1_Local0001", "eu-west-1_Local0001"]])
def test_pools_must_be_told_apart(ids):
    """No pool, or two of one id, cannot be served."""
    with pytest.raises(ValueError, match="different ids"):
        LocalCognito(*map(UserPool, ids))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n{", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 501),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_malformed_http_gets_a_clean_refusal(cognito, capfd, request_bytes, status):
    """What is no proper request gets a status and JSON, and nothing is printed."""
    answer = exchange(cognito, request_bytes)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'\r\n\r\n{"' in answer
    assert capfd.readouterr() == ("", "")


def test_body_is_bounded(ask, cognito):
    """A body over the bound is refused, and the client can read why."""
    answer = ask(f"{cognito.url}/", b"x" * (MAX_BODY_SIZE + 1))

    assert answer.status == 413
    assert ask(f"{cognito.url}/", b"x" * MAX_BODY_SIZE).status == 400


@pytest.mark.parametrize("request_bytes", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nA"])
def test_client_that_goes_away_leaves_no_trace(cognito, pool, ask, capfd, request_bytes):
    """Half a request is forgotten, silently."""
    exchange(cognito, request_bytes)

    assert ask(cognito.jwks_uri(pool)).status == 200
    assert capfd.readouterr() == ("", "")
