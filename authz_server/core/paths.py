"""Request targets: cut into segments, or refused when two parsers could read them differently."""

import re
import string
from typing import Final
from urllib.parse import unquote_to_bytes

from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason

# Printable ASCII without the characters that end, escape or decorate a path: space " # % ; ? \
_CHARACTER: Final = r"!$&'()*+,\-./0-9:<=>@A-Z\[\]^_`a-z{|}~"
_PLAIN: Final = re.compile(rf"/[{_CHARACTER}]*")
_ESCAPED: Final = re.compile(rf"/(?:[{_CHARACTER}]|%[0-9A-Fa-f]{{2}})*")
_ESCAPE: Final = re.compile("%(..)")
_BROKEN_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_WIDE_CONTROL: Final = re.compile("[\x80-\x9f]")  # the control characters that take two octets of UTF-8

_ESCAPED_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")

# Refused whatever the routes are: `.`, which makes dot segments, separators, and control characters.
_NEVER_ESCAPED: Final = frozenset(b"./\\;") | frozenset(range(0x20)) | {0x7F}
_IN_LITERALS: Final = frozenset((string.ascii_letters + string.digits + "_-,:~").encode())


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
        The segments, still escaped; the last is "" for the root and after a slash at the end.

    Raises:
        Denied: PATH_REFUSED for an empty segment, a dot segment, `;`, `\`, `#`, `?`, control or non-ASCII characters; ESCAPE_REFUSED for a
            malformed escape, one of `.`, `/`, `\`, `;` or a control character, of `%` where it begins another escape, or of bytes that are
            not UTF-8. Other escapes are judged by where they lead, see `unescape`.

    Source: Envoy's path normalisation is off by default, and each setting of it repairs a different subset.
    """
    if not _PLAIN.fullmatch(path):
        _check_escapes(path)
    segments = path[1:].split("/")
    if "//" in path or ("/." in path and not {".", ".."}.isdisjoint(segments)):
        raise Denied(Reason.PATH_REFUSED)
    return segments


def unescape(segments: list[str]) -> list[str]:
    """Undo the escapes of each segment once, as an upstream may.

    Args:
        segments: from `split`.

    Returns:
        As many segments; none holds a slash.
    """
    return [unquote_to_bytes(segment).decode() for segment in segments]


def first_telling_escape(path: str) -> str:
    """Name the first escape that can make two routes of one path: that of a character which resources are written with.

    Args:
        path: one that `split` takes.

    Returns:
        The escape as sent, or "" where there is none.
    """
    return next(("%" + digits for digits in _ESCAPE.findall(path) if int(digits, 16) in _IN_LITERALS), "")


def _check_escapes(path: str) -> None:
    if not _ESCAPED.fullmatch(path):
        raise _escape_refused("%") if _BROKEN_ESCAPE.search(path) else Denied(Reason.PATH_REFUSED)
    for digits in dict.fromkeys(_ESCAPE.findall(path)):
        if int(digits, 16) in _NEVER_ESCAPED:
            raise _escape_refused("%" + digits)
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError as error:  # overlong forms such as %c0%af are a slash to lenient decoders
        raise _escape_refused(_written(error.object[error.start : error.start + 1])) from None
    control = _WIDE_CONTROL.search(text)
    if control:
        raise _escape_refused(_written(control[0].encode()))
    if _ESCAPED_ESCAPE.search(text):
        raise _escape_refused("%25")


def _written(octets: bytes) -> str:
    return "".join(f"%{octet:02X}" for octet in octets)


def _escape_refused(escape: str) -> Denied:
    return Denied(Reason.ESCAPE_REFUSED, details=(("escape", escape),))
