"""Request targets are cut into segments, or refused; they are never repaired."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz_server.core import paths
from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason


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
            if octet < 0x20 or octet == 0x7F or chr(octet) in "./\\;":
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
    escapes = (set(part[:2]) <= set("0123456789abcdefABCDEF") and len(part) >= 2 for part in text.split("%")[1:])
    if any("\x7f" <= character <= "\x9f" for character in text) or any(escapes):
        return None
    first, *segments = path.split("/")
    if first or not segments or any(segment in {".", ".."} for segment in segments) or "" in segments[:-1]:
        return None
    return segments


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
        ("/eu-west-1%3A0f6b/a%2Cb", ["eu-west-1%3A0f6b", "a%2Cb"]),
        ("/%61dmin/%7Euser/%2d", ["%61dmin", "%7Euser", "%2d"]),
        ("/100%25", ["100%25"]),
        ("/100%25/a%25%C3%A9", ["100%25", "a%25%C3%A9"]),
        ("/%25zz", ["%25zz"]),
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
        pytest.param("/a/..;/b", id="dot-dot with a parameter"),
        pytest.param("/a/..;x=1/b", id="dot-dot with a parameter and value"),
        pytest.param("/public;/../admin", id="parameter before dot-dot"),
        pytest.param("/a;jsessionid=1/b", id="path parameter"),
        pytest.param("/a\\b", id="backslash"),
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


@pytest.mark.parametrize(
    ("target", "escape"),
    [
        pytest.param("/a/%2e%2e/b", "%2e", id="escaped dot-dot"),
        pytest.param("/a/%2E/b", "%2E", id="escaped dot"),
        pytest.param("/a/.%2e/b", "%2e", id="half escaped dot-dot"),
        pytest.param("/a%3Bx/b", "%3B", id="escaped semicolon"),
        pytest.param("/a%2fb", "%2f", id="escaped slash"),
        pytest.param("/a%2Fb", "%2F", id="escaped slash, capitals"),
        pytest.param("/a/..%2fb", "%2f", id="dot-dot and escaped slash"),
        pytest.param("/a%5Cb", "%5C", id="escaped backslash"),
        pytest.param("/a%252Fb", "%25", id="doubly escaped slash"),
        pytest.param("/a%25%32%66b", "%25", id="slash escaped digit by digit"),
        pytest.param("/a%00b", "%00", id="escaped NUL"),
        pytest.param("/a%0d%0ab", "%0d", id="escaped CR LF"),
        pytest.param("/a%7Fb", "%7F", id="escaped DEL"),
        pytest.param("/a%C2%85b", "%C2%85", id="escaped C1 control"),
        pytest.param("/a%zzb", "%", id="no hexadecimal escape"),
        pytest.param("/a%", "%", id="cut escape"),
        pytest.param("/a%4", "%", id="half an escape"),
        pytest.param("/a%u002e", "%", id="escape of another standard"),
        pytest.param("/%c0%af", "%C0", id="overlong slash in two octets"),
        pytest.param("/%e0%80%af", "%E0", id="overlong slash in three octets"),
        pytest.param("/%ff", "%FF", id="no UTF-8"),
        pytest.param("/%C3", "%C3", id="cut UTF-8"),
        pytest.param("/%C3/%A9", "%C3", id="UTF-8 across segments"),
        pytest.param("/%ED%A0%80", "%ED", id="half of a surrogate pair in UTF-8"),
        pytest.param("/a%253Ab", "%25", id="doubly escaped colon"),
        pytest.param("/a%25%33%41b", "%25", id="colon escaped digit by digit"),
        pytest.param("/a%25%2541", "%25", id="escaped three times"),
        pytest.param("/a%3A%2F%", "%", id="a malformed escape behind others"),
        pytest.param("/a%3A%2Fb", "%2F", id="the first of those that are refused"),
    ],
)
def test_an_escape_that_is_refused_is_named(target: str, escape: str) -> None:
    """Escapes that make two readings of any path are refused, and the denial names the escape and nothing else of the path."""
    with pytest.raises(Denied) as denied:
        split(target)

    assert denied.value.reason is Reason.ESCAPE_REFUSED
    assert denied.value.details == (("escape", escape),)


@pytest.mark.parametrize("form", ["%{:02X}", "%{:02x}"], ids=["capitals", "small letters"])
def test_escapes_of_separators_dots_and_controls_are_never_taken(form: str, outcome) -> None:
    """Of the ASCII octets these alone may not be escaped, wherever they would lead."""
    refused = {chr(octet) for octet in range(0x80) if outcome(split, "/a" + form.format(octet)) is Reason.ESCAPE_REFUSED}

    assert refused == {*"./\\;", *map(chr, range(0x20)), "\x7f"}


@pytest.mark.parametrize(
    ("path", "escape"),
    [("/pets/%6dine", "%6d"), ("/a%20b/%3a", "%3a"), ("/a%20b", ""), ("/100%25/%C3%A9", ""), ("/plain", ""), ("/%7E%6d", "%7E")],
)
def test_the_first_escape_of_a_character_of_resources_is_named(path: str, escape: str) -> None:
    """Only characters that a resource can be written with lead to another route once their escape is undone."""
    assert paths.first_telling_escape(path) == escape


@given(targets)
def test_accepted_paths_are_whole_and_unambiguous(target: str) -> None:
    """Segments re-join to the path, and undone once they hold neither separators nor dot segments nor another escape."""
    try:
        segments = split(target)
    except Denied:
        return

    assert "/" + "/".join(segments) == target.partition("?")[0]
    assert "" not in segments[:-1]
    undone = paths.unescape(segments)
    assert [unquote_to_bytes(segment).decode() for segment in segments] == undone
    for before, after in zip(segments, undone, strict=True):
        assert not {*after} & {*"/\\;", *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))}
        assert after not in {".", ".."}
        assert bool(after) == bool(before)
        assert not re.search("%[0-9A-Fa-f]{2}", after)


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
