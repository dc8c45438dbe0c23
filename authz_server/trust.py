"""Which certificates are believed: the same ones on every Python, for key sets, Redis and the clients of the gRPC port.

Python 3.13 sets two more flags on the contexts that it makes for clients. STRICT refuses certificates whose form RFC 5280 does not allow: the CA
that `openssl req -x509` makes has no key usage, those of many corporate proxies lack a key identifier. Envoy, curl, Go and Python up to 3.12 take
them. PARTIAL_CHAIN lets an intermediate CA be the one that is trusted. Here STRICT is off and PARTIAL_CHAIN on.

STRICT protects from no one: it says nothing of who signed. Signatures, times, names, CA:TRUE, path lengths, name constraints and the key usage
that a certificate does state are verified without it.
"""

import ssl
from typing import Final

from authz_server import files

FLAGS_ON: Final = ssl.VERIFY_X509_PARTIAL_CHAIN
FLAGS_OFF: Final = ssl.VERIFY_X509_STRICT
MAX_SIZE: Final = 8 * 2**20  # of a file of certificates: those of all authorities of a system have some 200 KiB


def client_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Make the context of a TLS client, which verifies the server's certificate and name.

    Args:
        ca_file: path of the certificates to trust, in PEM; None trusts the system's authorities (`SSL_CERT_FILE`, `SSL_CERT_DIR`).

    Returns:
        The context.

    Raises:
        OSError: when the file cannot be read, or holds no certificate (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # ssl.create_default_context would write the secrets of TLS to SSLKEYLOGFILE
    unify(context)
    if ca_file is None:
        context.load_default_certs()
    else:
        with files.opened(ca_file, MAX_SIZE) as descriptor:
            context.load_verify_locations(cafile=f"/proc/self/fd/{descriptor}")  # this very file; OpenSSL takes a path only
    return context


def unify(context: ssl.SSLContext) -> None:
    """Let a context believe the same certificates on every Python.

    Source: https://docs.python.org/3/whatsnew/3.13.html#ssl
    """
    context.verify_flags = (context.verify_flags | FLAGS_ON) & ~FLAGS_OFF


def distrust(error: BaseException) -> str:
    """Say why a server's certificate was not believed.

    Args:
        error: that ended a connection, or wraps the one that did.

    Returns:
        OpenSSL's words, or an empty text when the certificate was not the reason.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message
        seen = seen.__cause__ or seen.__context__
    return ""
