"""The same certificates are believed on every Python: whom a client of TLS trusts."""

import asyncio
import ssl

import pytest

from authz_server.core.revocations import Revocation
from authz_server.core.user_pools import KeySettings, UserPool
from authz_server.keys.fetch import Fetcher, FetchError
from authz_server.revocations.server import connect
from authz_server.revocations.shared import add
from authz_server.revocations.source import RevocationsError
from authz_server.trust import client_context, distrust
from tests.authority import SERVER, Authority
from tests.shapes import BAD, BELIEVED, Shape
from tests.trusting import Believed, serving, shake_hands


@pytest.mark.parametrize("shape", BELIEVED, ids=str)
def test_a_ca_is_believed_however_plainly_it_was_made(shape: Shape, tmp_path):
    """A CA that Envoy, curl and OpenSSL take is taken on every Python: form is no question of trust."""
    site = shape.make()
    (tmp_path / "ca.pem").write_bytes(site.ca)

    shake_hands(client_context(str(tmp_path / "ca.pem")), serving(site.server, tmp_path), SERVER)


@pytest.mark.parametrize("shape", BAD, ids=str)
def test_what_a_ca_did_not_vouch_for_is_refused(shape: Shape, tmp_path):
    """Signer, times, names, CA:TRUE, path length and the stated key usage are verified; the error is the one that the page documents."""
    site = shape.make()
    (tmp_path / "ca.pem").write_bytes(site.ca)

    with pytest.raises(ssl.SSLCertVerificationError) as error:
        shake_hands(client_context(str(tmp_path / "ca.pem")), serving(site.server, tmp_path), SERVER)
    assert shape.error in error.value.verify_message


def test_the_system_s_authorities_are_read_the_same_way(monkeypatch, tmp_path):
    """A corporate proxy puts its CA among those of the system, and makes it as plainly."""
    plain = Authority()
    (tmp_path / "ca.pem").write_bytes(plain.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    shake_hands(client_context(), serving(plain.server(), tmp_path), SERVER)


def fetch_keys(port: int, ca_file: str) -> str:
    """Fetch a key set, and give the error."""
    pool = UserPool(id="p", issuer="i", jwks=f"https://localhost:{port}/", settings=KeySettings(ca_file=ca_file))
    with pytest.raises(FetchError) as error:
        asyncio.run(Fetcher(60)(pool))
    return str(error.value)


def revoke(port: int, ca_file: str) -> str:
    """Write to a list of revocations, and give the error."""
    server = connect(f"rediss://localhost:{port}/0?ssl_ca_certs={ca_file}", None)
    with server.client, pytest.raises(RevocationsError) as error:
        add(server, Revocation("sub", "ada"), 0.0)
    return str(error.value)


USERS = pytest.mark.parametrize("ask", [fetch_keys, revoke])


@USERS
@pytest.mark.parametrize("shape", BELIEVED, ids=str)
def test_key_sets_and_redis_are_believed_alike(ask, shape: Shape, tmp_path):
    """Both trust each CA that is made plainly; what ends the connection comes after the handshake."""
    site = shape.make()
    (tmp_path / "ca.pem").write_bytes(site.ca)
    with Believed(site.server, tmp_path) as server:
        ask(server.port, str(tmp_path / "ca.pem"))

    assert server.outcome == "believed"


@USERS
@pytest.mark.parametrize("shape", [shape for shape in BAD if shape.client], ids=str)
def test_key_sets_and_redis_are_doubted_alike(ask, shape: Shape, tmp_path):
    """Neither goes on with a server that the CA did not vouch for, and both say why in OpenSSL's words."""
    site = shape.make()
    (tmp_path / "ca.pem").write_bytes(site.ca)
    with Believed(site.server, tmp_path) as server:
        error = ask(server.port, str(tmp_path / "ca.pem"))

    assert server.outcome != "believed"
    assert f"certificate verify failed: {shape.error}" in error


def test_another_error_is_no_question_of_trust():
    """Only a certificate that was not believed is called so."""
    assert distrust(ConnectionRefusedError()) == ""
