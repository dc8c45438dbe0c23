"""Request targets are cut into segments, or refused; they are never repaired."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz_server.core import paths, routes
from authz_server.core.decisions import Denied, Reason

LITERAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.,:~"


def split(target: str) -> list[str]:
    """Cut a request target, as a check does."""
    return paths.split(paths.path_of(target))


# Pieces that paths are made of, good ones and those that attackers use.
PIECES = [
    *["/", "//", ".", "..", "...", "a", "pets", "ADMIN", "{petId}", "@", "=", "+", "*", "|"],
    *["%20", "%2B", "%7B", "%7d", "%C3%A9", "%c3%a9", "%F0%9F%90%B1", "%40", "%3f", "%23"],
    *["%2e", "%2E", "%2f", "%2F", "%5c", "%5C", "%25", "%252F", "%3b", "%00", "%0d", "%1F", "%7f", "%61", "%6D", "%7e"],
    *["%", "%4", "%zz", "%u002e", "%c0%af", "%ff", "%ED%A0%80", "%C2%85", "%C3", "%A9"],
    *["?", "?q=/../x", "#", ";", ";x=1", "\\", " ", "\t", "\n", "\r\n", "\x00", "\x7f", '"', "é", "\uff0f", "\ud800", "http://other"],
]
targets = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=8).map(lambda pieces: "/" + "".join(pieces)),
    st.lists(st.text("abc%2eE5cCfF/.", min_size=1, max_size=6), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.text(max_size=12),
)


def naive(target: str) -> list[str] | None:  # noqa: PLR0911 - one rule after the other
    """Judge a target one character after the other, without regular expressions; None refuses it."""
    if "#" in target:
        return None
    path = target.split("?", 1)[0]
    octets = bytearray()
    position = 0
    while position < len(path):
        character = path[position]
        if character == "%":
            digits = path[position + 1 : position + 3]
            if len(digits) < 2 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                return None
            octet = int(digits, 16)
            if octet < 0x20 or octet == 0x7F or chr(octet) in LITERAL or chr(octet) in "/\\%;":
                return None
            octets.append(octet)
            position += 3
        elif "!" <= character <= "~" and character not in '";\\':
            octets.append(ord(character))
            position += 1
        else:
            return None
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return None
    if any("\x7f" <= character <= "\x9f" for character in text):
        return None
    first, *segments = path.split("/")
    if first or not segments or any(segment in {".", ".."} for segment in segments) or "" in segments[:-1]:
        return None
    return segments


def is_literal(text: str) -> bool:
    """Tell whether a route may hold this segment as a literal."""
    try:
        (segment,) = routes.parse("/" + text)
    except ValueError:
        return False
    return not segment.parameter


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/", [""]),
        ("/?", [""]),
        ("/pets", ["pets"]),
        ("/pets/", ["pets", ""]),
        ("/pets/1/toys", ["pets", "1", "toys"]),
        ("/ADMIN", ["ADMIN"]),
        ("/pets?x=/../y", ["pets"]),
        ("/pets?a?b", ["pets"]),
        ("/pets?%00%zz;\\", ["pets"]),
        ("/pkg.Svc/Method", ["pkg.Svc", "Method"]),
        ("/...", ["..."]),
        ("/..a/a../.a", ["..a", "a..", ".a"]),
        ("/a%20b", ["a%20b"]),
        ("/%C3%A9", ["%C3%A9"]),
        ("/%c3%a9", ["%c3%a9"]),
        ("/%F0%9F%90%B1", ["%F0%9F%90%B1"]),
        ("/%C2%A0", ["%C2%A0"]),
        ("/{petId}", ["{petId}"]),
        ("/!$&'()*+,-._~:@<=>[]^`{|}", ["!$&'()*+,-._~:@<=>[]^`{|}"]),
    ],
)
def test_plain_paths_are_cut_at_slashes(target: str, segments: list[str]) -> None:
    """A path without ambiguity is cut at `/`, without its query, and nothing in it is decoded."""
    assert split(target) == segments


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/a//b", id="empty segment"),
        pytest.param("//a/b", id="authority-like start"),
        pytest.param("//", id="two slashes"),
        pytest.param("/a//", id="two slashes at the end"),
        pytest.param("/a/../b", id="dot-dot"),
        pytest.param("/../b", id="dot-dot at the start"),
        pytest.param("/a/..", id="dot-dot at the end"),
        pytest.param("/a/./b", id="dot"),
        pytest.param("/.", id="only a dot"),
        pytest.param("/a/%2e%2e/b", id="escaped dot-dot"),
        pytest.param("/a/%2E/b", id="escaped dot"),
        pytest.param("/a/.%2e/b", id="half escaped dot-dot"),
        pytest.param("/a/..;/b", id="dot-dot with a parameter"),
        pytest.param("/a/..;x=1/b", id="dot-dot with a parameter and value"),
        pytest.param("/public;/../admin", id="parameter before dot-dot"),
        pytest.param("/a;jsessionid=1/b", id="path parameter"),
        pytest.param("/a%3Bx/b", id="escaped semicolon"),
        pytest.param("/a%2fb", id="escaped slash"),
        pytest.param("/a%2Fb", id="escaped slash, capitals"),
        pytest.param("/a/..%2fb", id="dot-dot and escaped slash"),
        pytest.param("/a%5Cb", id="escaped backslash"),
        pytest.param("/a\\b", id="backslash"),
        pytest.param("/%61dmin", id="escaped letter"),
        pytest.param("/pets/%6dine", id="escaped letter of a literal"),
        pytest.param("/a%252Fb", id="doubly escaped slash"),
        pytest.param("/a%25%32%66b", id="slash escaped digit by digit"),
        pytest.param("/a%00b", id="escaped NUL"),
        pytest.param("/a%0d%0ab", id="escaped CR LF"),
        pytest.param("/a%7Fb", id="escaped DEL"),
        pytest.param("/a%C2%85b", id="escaped C1 control"),
        pytest.param("/a%zzb", id="no hexadecimal escape"),
        pytest.param("/a%", id="cut escape"),
        pytest.param("/a%4", id="half an escape"),
        pytest.param("/a%u002e", id="escape of another standard"),
        pytest.param("/%c0%af", id="overlong slash in two octets"),
        pytest.param("/%e0%80%af", id="overlong slash in three octets"),
        pytest.param("/%ff", id="no UTF-8"),
        pytest.param("/%C3", id="cut UTF-8"),
        pytest.param("/%C3/%A9", id="UTF-8 across segments"),
        pytest.param("/%ED%A0%80", id="half of a surrogate pair in UTF-8"),
        pytest.param("/a/b#f", id="fragment"),
        pytest.param("/a?b#f", id="fragment behind a query"),
        pytest.param("", id="absent, as for CONNECT"),
        pytest.param("*", id="asterisk form"),
        pytest.param("a/b", id="no slash at the start"),
        pytest.param("?q", id="only a query"),
        pytest.param("http://other/abs/../p", id="absolute form"),
        pytest.param("http://other/p", id="plain absolute form"),
        pytest.param("other:443", id="authority form"),
        pytest.param("/a b", id="space"),
        pytest.param("/a\tb", id="tab"),
        pytest.param("/a\n", id="line feed at the end"),
        pytest.param("/a\x00b", id="NUL"),
        pytest.param("/a\x7fb", id="DEL"),
        pytest.param('/a"b', id="quote"),
        pytest.param("/é", id="raw UTF-8"),
        pytest.param("/a\uff0fb", id="full-width slash"),
        pytest.param("/\ud800", id="half of a surrogate pair"),
    ],
)
def test_ambiguous_paths_are_refused(target: str, outcome) -> None:
    """What two parsers could read differently is refused, whatever Envoy's normalisation would make of it."""
    assert outcome(split, target) is Reason.PATH_REFUSED


@pytest.mark.parametrize("form", ["%{:02X}", "%{:02x}"], ids=["capitals", "small letters"])
def test_only_escapes_that_a_path_needs_are_taken(form: str, outcome) -> None:
    """Of the ASCII octets only these may be escaped: no route literal holds them, and they neither separate nor control."""
    taken = {chr(octet) for octet in range(0x80) if outcome(split, "/a" + form.format(octet)) is None}

    assert taken == set(" !\"#$&'()*+<=>?@[]^`{|}")


@given(targets)
def test_accepted_paths_are_whole_and_unambiguous(target: str) -> None:
    """Segments re-join to the path, none is a dot segment or empty within, and no escape stands for a character of a literal."""
    try:
        segments = split(target)
    except Denied:
        return

    assert "/" + "/".join(segments) == target.partition("?")[0]
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
    for segment in segments:
        decoded = unquote_to_bytes(segment)
        decoded.decode()
        escaped = {decoded_octet for escape in segment.split("%")[1:] for decoded_octet in unquote_to_bytes("%" + escape[:2])}
        assert not escaped & {*LITERAL.encode(), *b"/\\%;", *range(0x20), 0x7F}


@given(targets)
def test_no_escaped_segment_can_mean_a_literal(target: str) -> None:
    """A segment with an escape is no route literal, neither as it stands nor decoded: the upstream can not be led to another route."""
    try:
        segments = split(target)
    except Denied:
        return

    for segment in segments:
        if "%" in segment:
            assert not is_literal(segment)
            assert not is_literal(unquote_to_bytes(segment).decode())


@given(targets)
@example("/a%C2%80")
@example("/a?b#")
@example("/%7b%7D")
def test_split_agrees_with_a_naive_reading(target: str) -> None:
    """Regular expressions and a walk over the characters accept the same targets, with the same segments."""
    try:
        segments = split(target)
    except Denied:
        segments = None

    assert segments == naive(target)
