"""Request targets: cut into segments, or refused when two parsers could read them differently."""

import re
import string
from typing import Final
from urllib.parse import unquote_to_bytes

from authz_server.core.decisions import Denied, Reason

# Printable ASCII without the characters that end, escape or decorate a path: space " # % ; ? \
_CHARACTER: Final = r"!$&'()*+,\-./0-9:<=>@A-Z\[\]^_`a-z{|}~"
_PLAIN: Final = re.compile(rf"/[{_CHARACTER}]*")
_ESCAPED: Final = re.compile(rf"/(?:[{_CHARACTER}]|%[0-9A-Fa-f]{{2}})*")
_ESCAPE: Final = re.compile("%(..)")
_WIDE_CONTROL: Final = re.compile("[\x80-\x9f]")  # the control characters that take two octets of UTF-8

# An escape of these may be undone by one parser and kept by another: what a route literal may hold, separators, controls.
_NEVER_ESCAPED: Final = frozenset((string.ascii_letters + string.digits + "_-.,:~/\\%;").encode()) | frozenset(range(0x20)) | {0x7F}


def path_of(target: str) -> str:
    """Cut the query off a request target.

    Args:
        target: as sent.

    Returns:
        The path, still escaped.

    Raises:
        Denied: PATH_REFUSED for a fragment, which no client sends and parsers disagree about.
    """
    if "#" in target:
        raise Denied(Reason.PATH_REFUSED)
    return target.partition("?")[0]


def split(path: str) -> list[str]:
    r"""Cut a path into segments, refusing whatever is ambiguous.

    Args:
        path: as sent, see `path_of`.

    Returns:
        The segments, still escaped; the last is "" for the root and after a trailing slash.

    Raises:
        Denied: PATH_REFUSED for an empty segment, a dot segment, `;`, `\`, `#`, `?`, control or non-ASCII characters, a malformed escape,
            or an escape of a character that needs none.

    Source: Envoy's path normalisation is off by default, and each setting of it repairs a different subset.
    """
    if not _PLAIN.fullmatch(path):
        _check_escapes(path)
    segments = path[1:].split("/")
    if "//" in path or ("/." in path and not {".", ".."}.isdisjoint(segments)):
        raise Denied(Reason.PATH_REFUSED)
    return segments


def _check_escapes(path: str) -> None:
    if not _ESCAPED.fullmatch(path):
        raise Denied(Reason.PATH_REFUSED)
    if not _NEVER_ESCAPED.isdisjoint(int(digits, 16) for digits in set(_ESCAPE.findall(path))):
        raise Denied(Reason.PATH_REFUSED)
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:  # overlong forms such as %c0%af are a slash to lenient decoders
        raise Denied(Reason.PATH_REFUSED) from None
    if _WIDE_CONTROL.search(text):
        raise Denied(Reason.PATH_REFUSED)
