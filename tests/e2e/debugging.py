"""A `sitecustomize` for servers under test: every logger tells everything, and one claim or header runs into a bug.

Debugging like this is beyond what the command offers. Whoever embeds the package, or hunts a bug, can have it, and nothing may leak then either.
"""

import logging
import sys

from authz_server.core import claims

CONTROL = "authz_server.control", "asyncio", "concurrent.futures", "grpc", "httpcore2", "httpx2", "redis", "watchfiles", "zttp"

_headers = claims.headers


def headers(found, wanted):
    """Run into a bug whose message quotes all that is at hand."""
    if "custom:bug" in found:
        raise ValueError(f"a bug about {dict(found)}")
    return _headers(found, wanted)


if __name__ == "sitecustomize":
    claims.headers = headers
    logging.basicConfig(level=1, stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
    logging.Logger.setLevel = lambda *_: None
    for name in CONTROL:
        logging.getLogger(name).debug("%s tells everything", name)
