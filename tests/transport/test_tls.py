"""Certificates, keys and client CAs: good ones are read, and bad ones named."""

import errno
import os
import re
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID

from authz_server.transport.tls import TlsError, TlsFiles, read
from tests.authority import Authority, Pair, files, pem

NOW = time.time()
DAY = 86_400


@pytest.fixture(scope="module")
def authority():
    """A CA."""
    return Authority()


def test_a_good_pair_is_read(authority, tmp_path):
    """Also with a client CA; what is read stays the same when it is read again."""
    stored = files(tmp_path, authority.server(), authority.certificate)
    found = read(stored, NOW)

    assert found == read(stored, NOW)
    assert found.client_ca == authority.certificate
    assert stored.paths == (tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt")


def test_without_a_client_ca_there_are_two_files(authority, tmp_path):
    """No file is invented."""
    stored = files(tmp_path, authority.server())

    assert stored.paths == (tmp_path / "tls.crt", tmp_path / "tls.key")
    assert read(stored, NOW).client_ca is None


def test_a_key_is_not_shown(authority, tmp_path):
    """A log that prints credentials prints no key."""
    assert "PRIVATE" not in repr(read(files(tmp_path, authority.server()), NOW))


def test_a_lack_of_files_is_told(authority, tmp_path, monkeypatch):
    """A server whose open files are used up keeps its certificate, and goes on."""

    def refuse(_: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    stored = files(tmp_path, authority.server())
    monkeypatch.setattr(os, "memfd_create", refuse)

    with pytest.raises(TlsError, match=r"tls\.crt: cannot be handed to OpenSSL \(Too many open files\)"):
        read(stored, NOW)


def test_the_first_to_expire_counts(tmp_path):
    """A chain is as good as the certificate in it that expires first, and its lifetime is that certificate's."""
    root = Authority()
    pair = root.server(days=2)
    (tmp_path / "tls.crt").write_bytes(pair.certificate + root.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)

    found = read(TlsFiles(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key"), NOW)

    assert found.expires == pytest.approx(NOW + 2 * DAY, abs=DAY / 2)
    assert found.valid_from < found.expires - 2 * DAY


@pytest.mark.parametrize("form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65_537, 2048)], ids=["EC", "RSA"])
def test_the_common_keys_are_taken(authority, tmp_path, key, form):
    """RSA and ECDSA, in either form."""
    stored = files(tmp_path, authority.server(key=key))
    stored.key.write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))

    assert load_pem_private_key(read(stored, NOW).key, None).public_key() == key.public_key()


def certificate(authority, **more):
    """Issue something that is refused."""
    return authority.server(**more).certificate


def broken_key(authority):
    """Spoil the point of an elliptic curve in a certificate, whose signature nobody verifies here."""
    der = x509.load_pem_x509_certificate(certificate(authority)).public_bytes(Encoding.DER)
    point = der.index(bytes.fromhex("034200 04")) + 4
    return ssl.DER_cert_to_PEM_cert(der[:point] + bytes(8) + der[point + 8 :]).encode()


def bare(*extensions):
    """Issue a certificate to oneself, as one did before there were extensions when none is given."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bare CA")])
    builder = x509.CertificateBuilder(name, name, key.public_key()).serial_number(1)
    builder = builder.not_valid_before(datetime.now(UTC)).not_valid_after(datetime.now(UTC) + timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def rare_name():
    """Issue a CA that has a name of EDI, a kind that cryptography does not read."""
    names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3006 a504 8102 7878"))
    return bare(x509.BasicConstraints(ca=True, path_length=None), names)


def changed(text, pattern, new):
    """Change octets of a certificate."""
    return ssl.DER_cert_to_PEM_cert(re.sub(pattern, new, ssl.PEM_cert_to_DER_cert(text.decode()))).encode()


def year_zero(authority):
    """Issue a certificate that ends in a year which Python has no time for."""
    pair = authority.server(days=20_000)
    return Pair(changed(pair.certificate, rb"\x18\x0f....", b"\x18\x0f0000"), pair.key)


MISTAKES = {
    "no certificate": ("tls.crt", lambda _: None, "cannot be read .No such file"),
    "no key": ("tls.key", lambda _: None, "cannot be read .No such file"),
    "no client CA": ("ca.crt", lambda _: None, "cannot be read .No such file"),
    "an empty certificate": ("tls.crt", lambda _: b"", "is no PEM file of certificates"),
    "a key for a certificate": ("tls.crt", lambda authority: authority.server().key, "is no PEM file of certificates"),
    "a cut certificate": ("tls.crt", lambda authority: certificate(authority)[:200], "is no PEM file of certificates"),
    "a certificate for a key": ("tls.key", certificate, "is no private key in PEM"),
    "another's key": ("tls.key", lambda authority: authority.server().key, "is not the key of the first certificate in .*tls.crt"),
    "an encrypted key": ("tls.key", lambda _: pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "is encrypted"),
    "a rare key": ("tls.key", lambda _: pem(ed25519.Ed25519PrivateKey.generate()), "keys of RSA, P-256, P-384 and P-521 only"),
    "a rare curve": ("tls.key", lambda _: pem(ec.generate_private_key(ec.SECP256K1())), "keys of RSA, P-256, P-384 and P-521 only"),
    "a folder": ("tls.key", lambda _: Path(), "cannot be read .Is a directory"),
    "a certificate for a key that nobody has": ("tls.crt", broken_key, "is not the key of the first certificate"),
    "a CA without extensions": ("ca.crt", lambda _: bare(), "is no CA; name the CA that signed"),
    "a CA with a rare name": ("ca.crt", lambda _: rare_name(), "CN=bare CA has an extension that cannot be read .Unsupp"),
    "a certificate whose name is no text": ("ca.crt", lambda _: changed(bare(), b"bare CA", b"bare \xff\xff"), "number 1 is no CA"),
    "a certificate of the year 0": (("tls.crt", "tls.key"), year_zero, "no time at which CN=number .* expires .ValueError"),
    "an expired certificate": (("tls.crt", "tls.key"), lambda authority: authority.server(days=-0.5), "expired at 20.*renew it"),
    "a weak key": (
        ("tls.crt", "tls.key"),
        lambda authority: authority.server(key=rsa.generate_private_key(65_537, 1024)),  # noqa: S505 - that is the point
        "OpenSSL refuses it .*EE_KEY_TOO_SMALL",
    ),
    "an empty client CA": ("ca.crt", lambda _: b"", "is no PEM file of certificates"),
    "a client's certificate for a CA": ("ca.crt", certificate, "is no CA; name the CA that signed"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_bad_file_is_named(authority, tmp_path, mistake):
    """The error names the file and what is wrong with it."""
    place, make, told = MISTAKES[mistake]
    stored = files(tmp_path, authority.server(), authority.certificate)
    bad = make(authority)
    if isinstance(place, tuple):
        bad.write(tmp_path)
    elif not isinstance(bad, bytes):
        (tmp_path / place).unlink()
        if bad is not None:
            (tmp_path / place).mkdir()
    else:
        (tmp_path / place).write_bytes(bad)

    with pytest.raises(TlsError, match=told) as error:
        read(stored, NOW)

    assert str(tmp_path / (place if isinstance(place, str) else place[0])) in str(error.value)
