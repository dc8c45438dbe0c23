"""TLS of the gRPC port: certificate, key and client CA, read whole and found good before a connection sees them."""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from authz_server import files
from authz_server.trust import unify

PROTOCOL: Final = "h2"
MAX_SIZE: Final = 8 * 2**20  # of a file: those of all authorities of a system have some 200 KiB
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; HTTP/2 forbids all without forward secrecy

CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class TlsError(Exception):
    """A certificate, key or client CA that can not be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where credentials stand, each file in PEM.

    Args:
        certificate: the server's, then its intermediates.
        key: of that certificate.
        client_ca: those whose clients may connect; None asks clients for no certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file."""
        return (self.certificate, self.key) if self.client_ca is None else (self.certificate, self.key, self.client_ca)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a server shows and whom it believes.

    Args:
        chain: the server's certificate, then its intermediates, in PEM.
        key: of the first of them, in PEM.
        client_ca: in PEM, or None when clients need no certificate.
        expires: Unix time at which the first certificate of the chain to expire does so.
        valid_from: Unix time of that certificate's notBefore.
        context: the same, as OpenSSL takes it.
    """

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expires: float
    valid_from: float
    context: ssl.SSLContext = field(compare=False, repr=False)


def read(files: TlsFiles, now: float) -> Credentials:
    """Read credentials, and try them.

    Args:
        files: where they stand.
        now: Unix time.

    Returns:
        Credentials that both doors can use.

    Raises:
        TlsError: when a file is missing or bad; the message names it and the next step.
    """
    chain = _certificates(files.certificate, "the server's certificate, then its intermediates (--tls-cert)")
    key = _private_key(files.key)
    if key.public_key() != _public_key(chain[0]):
        raise TlsError(f"{files.key}: is not the key of the first certificate in {files.certificate}; take both from the same issuance")
    expires, valid_from = min(_validity(files.certificate, certificate) for certificate in chain)
    if expires <= now:
        raise TlsError(f"{files.certificate}: a certificate in it expired at {moment(expires)}; renew it")
    authorities = None if files.client_ca is None else _authorities(files.client_ca)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    shown = _pem(chain)
    try:
        context = _context(shown, secret, authorities)
    except ssl.SSLError as error:
        raise TlsError(f"{files.certificate}: OpenSSL refuses it or {files.key} ({error.reason}); issue both anew") from error
    except OSError as error:  # no more files can be opened
        raise TlsError(f"{files.certificate}: cannot be handed to OpenSSL ({error.strerror}); give the server more open files") from error
    believed = None if authorities is None else _pem(authorities)
    return Credentials(chain=shown, key=secret, client_ca=believed, expires=expires, valid_from=valid_from, context=context)


def moment(when: float) -> str:
    """Write a Unix time for a person."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def _bytes(path: Path) -> bytes:
    try:
        return files.read(path, MAX_SIZE)
    except OSError as error:
        raise TlsError(f"{path}: cannot be read ({error.strerror}); mount it, or let this user read it") from error


def _certificates(path: Path, wanted: str) -> list[x509.Certificate]:
    text = _bytes(path)
    try:
        return x509.load_pem_x509_certificates(text)
    except Exception as error:  # what cryptography raises for a file is not all documented, and not all a ValueError
        raise TlsError(f"{path}: is no PEM file of certificates; it should hold {wanted}") from error


def _validity(path: Path, certificate: x509.Certificate) -> tuple[float, float]:
    """Read when a certificate expires, and from when it is valid."""
    try:
        return certificate.not_valid_after_utc.timestamp(), certificate.not_valid_before_utc.timestamp()
    except Exception as error:  # as above
        raise TlsError(
            f"{path}: tells no time at which {_name(certificate)} begins and expires ({type(error).__name__}); issue it anew"
        ) from error


def _authorities(path: Path) -> list[x509.Certificate]:
    """Read CAs. A client's own certificate in their place would be believed by one TLS library and by another not."""
    certificates = _certificates(path, "the CAs of the clients (--tls-client-ca)")
    for certificate in certificates:
        if not _is_authority(path, certificate):
            raise TlsError(f"{path}: {_name(certificate)} is no CA; name the CA that signed the clients' certificates")
    return certificates


def _is_authority(path: Path, certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    except Exception as error:  # as above
        reason = f"{_name(certificate)} has an extension that cannot be read ({type(error).__name__})"
        raise TlsError(f"{path}: {reason}; issue that CA anew without it, or name another one") from error


def _name(certificate: x509.Certificate) -> str:
    """Name a certificate, by its number where its subject can not be read."""
    try:
        return certificate.subject.rfc4514_string()
    except Exception:  # noqa: BLE001 - as above
        return f"number {certificate.serial_number:x}"


def _private_key(path: Path) -> PrivateKey:
    text = _bytes(path)
    try:
        key = load_pem_private_key(text, None)
    except TypeError as error:
        raise TlsError(f"{path}: is encrypted, and nobody is there to type its passphrase; decrypt it with `openssl pkey`") from error
    except Exception as error:  # as above
        raise TlsError(f"{path}: is no private key in PEM; it should hold the key of the certificate (--tls-key)") from error
    if not isinstance(key, PrivateKey) or (isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, CURVES)):
        raise TlsError(f"{path}: Envoy and gRPC take keys of RSA, P-256, P-384 and P-521 only; issue the certificate for one of these")
    return key


def _public_key(certificate: x509.Certificate) -> object:
    """Read the key of a certificate; None when it is of a kind that nobody has a private key of here."""
    try:
        return certificate.public_key()
    except Exception:  # noqa: BLE001 - as above
        return None


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _context(chain: bytes, key: bytes, client_ca: Sequence[x509.Certificate] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([PROTOCOL])
    # A session that is taken up again would not be asked for its certificate.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    _load(context, chain + key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        unify(context)  # grpcio believes the same: an intermediate CA, and one without key usage
        context.load_verify_locations(cadata=b"".join(certificate.public_bytes(Encoding.DER) for certificate in client_ca))
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load what was read, and not what stands in the files by now; OpenSSL takes a path only."""
    file = os.memfd_create("tls")
    try:
        with open(file, "wb", closefd=False) as memory:
            memory.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
