"""Certificate authorities as people make them, and chains that none of them vouches for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from cryptography.x509 import ExtendedKeyUsageOID

from tests.authority import ENVOY, SERVER, Authority, Form, Pair, pem

PLAIN: Final = Form()


class Site(NamedTuple):
    """What a CA was asked for.

    Args:
        ca: the certificates that are trusted.
        server: what the server shows.
        client: what a client shows.
    """

    ca: bytes
    server: Pair
    client: Pair


@dataclass(frozen=True)
class Shape:
    """One way to make certificates.

    Args:
        name: says how.
        make: makes them.
        error: what OpenSSL says of the server's chain; empty when it is believed.
        client: whether a client's chain is made in the same way.
    """

    name: str
    make: Callable[[], Site]
    error: str = ""
    client: bool = True

    def __str__(self) -> str:
        return self.name


def _of(form: Form, name: str | None = "plain") -> Site:
    authority = Authority(name, form=form)
    return Site(authority.certificate, authority.server(), authority.envoy())


def _below(*forms: Form) -> Site:
    """Trust a root; below it stand intermediates, whose certificates are shown."""
    authority = issuer = Authority("root")
    shown = b""
    for number, form in enumerate(forms):
        issuer = Authority(f"intermediate {number}", issuer, form)
        shown = issuer.certificate + shown
    return Site(authority.certificate, *(Pair(pair.certificate + shown, pair.key) for pair in (issuer.server(), issuer.envoy())))


def _intermediate() -> Site:
    issuer = Authority("intermediate", Authority("root"))
    return Site(issuer.certificate, issuer.server(), issuer.envoy())


def _signed_by(issuer: Authority, **more) -> Site:
    """Trust one CA; another signs, which has its name."""
    return Site(Authority("plain").certificate, issuer.server(**more), issuer.envoy(**more))


def _outside() -> Site:
    authority = Authority("plain", form=Form(permitted="example.com"))
    return Site(authority.certificate, authority.server(), authority.issue(uris=[ENVOY], dns=[SERVER]))


def _shown() -> Site:
    """Show the root, which is not the one that is trusted."""
    root = Authority("root")
    server, client = root.server(), root.envoy()
    return Site(Authority("other").certificate, *(Pair(pair.certificate + root.certificate, pair.key) for pair in (server, client)))


def _alone() -> Site:
    server, client = Authority("server"), Authority("client")
    pairs = (Pair(authority.certificate, pem(authority.key)) for authority in (server, client))
    return Site(Authority("other").certificate, *pairs)


def _issued(server: dict[str, Any], client: dict[str, Any]) -> Site:
    authority = Authority("plain")
    return Site(authority.certificate, authority.issue(**{"dns": [SERVER, "localhost"], **server}), authority.issue(uris=[ENVOY], **client))


BELIEVED: Final = [
    Shape("as openssl req -x509 makes it", lambda: _of(Form(identifiers=True))),
    Shape("without key identifiers", lambda: _of(PLAIN)),
    Shape("basic constraints that are not critical", lambda: _of(Form(critical=False, signs=True, identifiers=True))),
    Shape("as cert-manager makes it", lambda: _of(Form(signs=True, identifiers=True))),
    Shape("without a name", lambda: _of(Form(signs=True, identifiers=True), None)),
    Shape("a root and an intermediate", lambda: _below(PLAIN)),
    Shape("an intermediate that is trusted alone", _intermediate),
]
BAD: Final = [
    Shape("another CA", lambda: _signed_by(Authority("other")), "unable to get local issuer certificate"),
    Shape("another CA of the same name", lambda: _signed_by(Authority("plain")), "certificate signature failure"),
    Shape("a root that only the server knows", _shown, "self-signed certificate in certificate chain"),
    Shape("a self-signed certificate", _alone, "self-signed certificate"),
    Shape("a CA without CA:TRUE", lambda: _of(Form(ca=False)), "invalid CA certificate"),
    Shape("an intermediate without CA:TRUE", lambda: _below(Form(ca=False)), "invalid CA certificate"),
    Shape("a CA whose key usage is another", lambda: _of(Form(signs=False)), "invalid CA certificate"),
    Shape("more intermediates than allowed", lambda: _below(Form(path_length=0), PLAIN), "path length constraint exceeded"),
    Shape("a domain that the CA may not issue for", _outside, "permitted subtree violation"),
    Shape("a CA that has expired", lambda: _of(Form(days=-1)), "certificate has expired"),
    Shape("a server certificate that has expired", lambda: _issued({"days": -1}, {"days": -1}), "certificate has expired"),
    Shape("a server certificate of tomorrow", lambda: _issued({"begins": 1}, {"begins": 1}), "certificate is not yet valid"),
    Shape(
        "a certificate for another use",
        lambda: _issued({"usage": ExtendedKeyUsageOID.CLIENT_AUTH}, {"usage": ExtendedKeyUsageOID.SERVER_AUTH}),
        "unsuitable certificate purpose",
    ),
    Shape("another host", lambda: _issued({"dns": ["elsewhere.test"]}, {}), "Hostname mismatch", client=False),
]
