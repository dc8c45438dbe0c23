"""The same certificates are believed on every Python: whom a client of TLS trusts."""

import contextlib
import ssl

import pytest

from authz_server.trust import client_context
from tests.authority import SERVER, Authority, Pair
from tests.shapes import BAD, BELIEVED, Shape


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Let two contexts agree in memory, or raise what the client makes of it."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=name)
    answering = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (asking, answering):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()


def serving(pair: Pair, folder) -> ssl.SSLContext:
    """Make the context of a server."""
    pair.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


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
