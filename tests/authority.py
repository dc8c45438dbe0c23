"""A certificate authority for tests."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz_server.transport.tls import TlsFiles

SERVER, ENVOY = "authz.test", "spiffe://test/ns/edge/sa/envoy"
_serial = itertools.count(1)
_USAGES = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only")


def pem(key, passphrase=None):
    """Write a private key."""
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as text and as files."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str = "tls") -> "Pair":
        """Write both as Kubernetes names them."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.crt").write_bytes(self.certificate)
        (folder / f"{name}.key").write_bytes(self.key)
        (folder / f"{name}.key").chmod(0o600)
        return self


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the certificate of a CA says beside its names: as little as it can.

    Args:
        ca: whether it is a CA.
        critical: whether a reader must understand that.
        path_length: how many CAs may follow.
        signs: whether its key usage includes the signing of certificates; None states no usage.
        identifiers: whether it, and what it issues, name keys by their hashes.
        permitted: the only domain that it may issue certificates for.
        days: until it expires.
    """

    ca: bool = True
    critical: bool = True
    path_length: int | None = None
    signs: bool | None = None
    identifiers: bool = False
    permitted: str | None = None
    days: float = 30


class Authority:
    """Issue certificates.

    Args:
        name: of the CA; None leaves it empty.
        parent: that issues the CA's own certificate; None signs itself.
        form: of the CA's own certificate.
    """

    def __init__(self, name: str | None = "root", parent: "Authority | None" = None, form: Form = Form()) -> None:
        self.name = x509.Name([] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.form = form
        self.key = ec.generate_private_key(ec.SECP256R1())
        issuer = parent or self
        self.certificate = issuer._sign(self.name, self.key.public_key(), [], form.days, form)

    def issue(
        self,
        *,
        dns: Sequence[str] = (),
        uris: Sequence[str] = (),
        days: float = 30,
        begins: float = -1,
        key=None,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Pair:
        """Issue a certificate for a new key, or for the one that is given."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        names = [*map(x509.DNSName, dns), *map(x509.UniformResourceIdentifier, uris)]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"number {next(_serial)}")])
        return Pair(self._sign(subject, key.public_key(), names, days, usage=usage, begins=begins), pem(key))

    def server(self, **more) -> Pair:
        """Issue the server's."""
        return self.issue(dns=[SERVER, "localhost"], **more)

    def envoy(self, **more) -> Pair:
        """Issue the one of an Envoy that may ask."""
        return self.issue(uris=[ENVOY], usage=ExtendedKeyUsageOID.CLIENT_AUTH, **more)

    def _sign(self, subject, public_key, names, days, form=Form(ca=False), usage=None, begins=-1) -> bytes:
        end = datetime.now(UTC) + timedelta(days=days)
        builder = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=self.name, public_key=public_key)
            .serial_number(next(_serial))
            .not_valid_before(min(end, datetime.now(UTC)) + timedelta(days=begins))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=form.ca, path_length=form.path_length), critical=form.critical)
        )
        if form.signs is not None:
            usage_stated = x509.KeyUsage(digital_signature=True, key_cert_sign=form.signs, **dict.fromkeys(_USAGES, False))
            builder = builder.add_extension(usage_stated, critical=True)
        if form.permitted is not None:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(form.permitted)], None), critical=True)
        if self.form.identifiers:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            builder = builder.add_extension(issuer, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def files(folder: Path, pair: Pair, client_ca: bytes | None = None) -> TlsFiles:
    """Write credentials of a server."""
    pair.write(folder)
    if client_ca is not None:
        (folder / "ca.crt").write_bytes(client_ca)
    return TlsFiles(certificate=folder / "tls.crt", key=folder / "tls.key", client_ca=None if client_ca is None else folder / "ca.crt")


def mount(folder: Path, pair: Pair, ca: bytes) -> None:
    """Mount a secret, or swap it, as Kubernetes does: a new folder, and a link to it that is replaced by a rename."""
    content = folder / f"..{time.time_ns()}"
    pair.write(content)
    (content / "ca.crt").write_bytes(ca)
    (folder / "..data_tmp").symlink_to(content.name)
    (folder / "..data_tmp").replace(folder / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
