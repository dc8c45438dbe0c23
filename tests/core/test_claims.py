"""Claims become API Gateway's strings, and headers that no claim can break out of."""

import json
import string
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz_server.core.claims import MAX_HEADERS_SIZE, header_value, headers, metadata, text, texts

IDENTITY = {"dateCreated": "1757430433000", "userId": "1", "issuer": None, "primary": "true"}
PRINTABLE = frozenset(string.printable) - frozenset("\t\n\r\x0b\x0c")


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        pytest.param("exp", 1_757_635_096, "Thu Sep 11 23:58:16 UTC 2025", id="exp is a date, as recorded"),
        pytest.param("iat", 1_757_376_033, "Tue Sep 09 00:00:33 UTC 2025", id="iat is a date, with a day of two digits"),
        pytest.param("exp", 0, "Thu Jan 01 00:00:00 UTC 1970", id="the first date"),
        pytest.param("exp", 253_402_300_799, "Fri Dec 31 23:59:59 UTC 9999", id="the last date"),
        pytest.param("iat", 951_782_400, "Tue Feb 29 00:00:00 UTC 2000", id="leap day"),
        pytest.param("exp", 1_757_635_096.9, "Thu Sep 11 23:58:16 UTC 2025", id="fractions are cut"),
        pytest.param("exp", True, "true", id="a boolean is no date"),
        pytest.param("exp", "1757635096", "1757635096", id="text is no date"),
        pytest.param("auth_time", 1_757_430_433, "1757430433", id="auth_time is digits, as recorded"),
        pytest.param("nbf", 1_757_430_433, "1757430433", id="nbf is digits"),
        pytest.param("updated_at", 1_757_430_433, "1757430433", id="updated_at is digits"),
        pytest.param("version", 2, "2", id="version, as recorded"),
        pytest.param("n", 0, "0", id="zero is not empty"),
        pytest.param("n", -1, "-1", id="negative number"),
        pytest.param("n", 1.5, "1.5", id="fraction"),
        pytest.param("n", 10**30, "1" + "0" * 30, id="large number"),
        pytest.param("email_verified", True, "true", id="true, as recorded"),
        pytest.param("email_verified", False, "false", id="false is not empty"),
        pytest.param("sub", "ada", "ada", id="text"),
        pytest.param("scope", "openid pets/read", "openid pets/read", id="scope is unchanged, as recorded"),
        pytest.param("name", "Ada \u00c5ngstr\u00f6m \U0001f431", "Ada \u00c5ngstr\u00f6m \U0001f431", id="text of any script"),
        pytest.param("cognito:groups", ["admin", "staging-manager"], "admin,staging-manager", id="groups are joined, as recorded"),
        pytest.param("cognito:groups", ["admin"], "admin", id="one group"),
        pytest.param("cognito:groups", "admin", "admin", id="groups that a trigger made text"),
        pytest.param("a", [1, True, None, "x", 1.5], "1,true,null,x,1.5", id="mixed array"),
        pytest.param("a", [[1, 2], ["x"]], '[1,2],["x"]', id="array of arrays"),
        pytest.param(
            "identities",
            [IDENTITY, IDENTITY],
            ",".join(['{"dateCreated":"1757430433000","userId":"1","issuer":null,"primary":"true"}'] * 2),
            id="identities are objects without brackets, nulls kept, as recorded",
        ),
        pytest.param(
            "address", {"country": "S\u00e9n\u00e9gal", "n": [1, None]}, '{"country":"S\u00e9n\u00e9gal","n":[1,null]}', id="object"
        ),
        pytest.param("a", None, "", id="null is empty"),
        pytest.param("a", "", "", id="empty text"),
        pytest.param("a", [], "", id="empty array"),
        pytest.param("a", {}, "", id="empty object"),
        pytest.param("exp", None, "", id="exp absent"),
    ],
)
def test_every_claim_is_text(name: str, value: Any, written: str) -> None:
    """`exp` and `iat` are Java dates, arrays are joined, objects are compact JSON, and the rest is what JSON calls it."""
    assert text(name, value) == written


def test_dates_do_not_depend_on_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the time zone of the server is, dates are in UTC, with English names."""
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    time.tzset()
    try:
        assert text("exp", 1_757_635_096) == "Thu Sep 11 23:58:16 UTC 2025"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.integers(0, 253_402_300_799))
def test_dates_agree_with_those_of_mail(seconds: int) -> None:
    """Days, months and hours are those of RFC 5322 dates, in Java's order."""
    weekday, day, month, year, clock, _ = format_datetime(datetime.fromtimestamp(seconds, UTC)).split()

    assert text("exp", seconds) == f"{weekday.rstrip(',')} {month} {day} {clock} UTC {year}"


def test_every_day_and_month_has_its_name() -> None:
    """English names, three letters each, whatever the locale."""
    written = [text("exp", day * 86_400).split() for day in range(366)]

    assert {parts[0] for parts in written} == {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
    assert list(dict.fromkeys(parts[1] for parts in written)) == [
        "Jan",
        "Feb",
        "Mar",
        "Apr",
        "May",
        "Jun",
        "Jul",
        "Aug",
        "Sep",
        "Oct",
        "Nov",
        "Dec",
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["auth_time", "sub", "cognito:groups", "custom:x"]), json_values)
def test_no_value_is_lost(name: str, value: Any) -> None:
    """What is neither text nor an array can be read back as JSON, and only null, "", [], [""] and {} are empty."""
    written = text(name, value)

    assert (written == "") == (value in (None, "", [], [""], {}))
    if written and not isinstance(value, str | list):
        assert json.loads(written) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param(["admins", "staging"], ("admins", "staging"), id="groups"),
        pytest.param(["a,root"], ("a,root",), id="a comma in a group makes no second group"),
        pytest.param(["a", "", "a"], ("a", "", "a"), id="every element is there, in its order"),
        pytest.param([1, True, None, 1.5, {"b": [2]}, ["c"]], ("1", "true", "null", "1.5", '{"b":[2]}', '["c"]'), id="elements are text"),
        pytest.param({"a": ["b"]}, '{"a":["b"]}', id="an object is one text, with the arrays in it"),
        pytest.param("admins,root", "admins,root", id="text is text"),
        pytest.param(True, "true", id="a boolean is text"),
        pytest.param([], None, id="an empty array"),
        pytest.param(None, None, id="null"),
        pytest.param("", None, id="empty text"),
    ],
)
def test_an_array_stays_one_in_metadata(value: Any, written: str | tuple[str, ...] | None) -> None:
    """Metadata holds an array as a tuple of texts, everything else as its text, and leaves out what is null or empty."""
    assert metadata({"x": value, "other": "unlisted"}, ["x", "absent"]) == ({} if written is None else {"x": written})


@given(st.dictionaries(st.sampled_from(["exp", "sub", "cognito:groups"]), json_values))
def test_metadata_and_text_differ_in_arrays_alone(claims: dict[str, Any]) -> None:
    """Joined by commas, an array of the metadata is API Gateway's text for it."""
    joined = {name: value if isinstance(value, str) else ",".join(value) for name, value in metadata(claims, claims).items()}

    assert {name: value for name, value in joined.items() if value} == texts(claims, claims)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("ada", "ada"),
        ("a b  c", "a b  c"),
        ('a,b;c="d" (e) {f} [g] <h> @:/\\|^`~\'!#$&*+?', 'a,b;c="d" (e) {f} [g] <h> @:/\\|^`~\'!#$&*+?'),
        ("", ""),
        ("100%", "100%25"),
        ("%41", "%2541"),
        ("é", "%C3%A9"),
        ("\U0001f431", "%F0%9F%90%B1"),
        (" a", "%20a"),
        ("a ", "a%20"),
        ("  a  b  ", "%20%20a  b%20%20"),
        (" ", "%20"),
        ("   ", "%20%20%20"),
        ("\u00a0a", "%C2%A0a"),
        ("a\tb", "a%09b"),
        ("a\r\nx-auth-sub: root", "a%0D%0Ax-auth-sub: root"),
        ("a\x00", "a%00"),
        ("\x7f", "%7F"),
        ("\u0085\u2028", "%C2%85%E2%80%A8"),
        (" é", "%20%C3%A9"),
        ("XéX", "X%C3%A9X"),
    ],
    ids=ascii,
)
def test_header_values_are_percent_encoded(value: str, written: str) -> None:
    """`%`, control characters, non-ASCII and spaces at the edges are percent-encoded UTF-8; everything else stays as it is."""
    assert header_value(value) == written


@given(st.text() | st.text(" %aé\r\n\x00\x7f,"))
@example("\ufeff")
@example("%0D%0A")
def test_header_values_are_safe_and_reversible(value: str) -> None:
    """The result is printable ASCII without spaces at the edges, decodes to the original, and is empty only for the empty text."""
    written = header_value(value)

    assert PRINTABLE.issuperset(written)
    assert written == written.strip()
    assert unquote(written, errors="strict") == value
    assert (written == "") == (value == "")


@given(st.text(), st.text())
def test_different_texts_have_different_header_values(one: str, other: str) -> None:
    """No claim can be made to look like another one."""
    assert (header_value(one) == header_value(other)) == (one == other)


def test_headers_are_written_in_the_order_of_the_file() -> None:
    """Each mapped claim becomes one header; claims that are null, empty or absent become none."""
    claims = {"sub": "ada", "email": "", "custom:x": None, "cognito:groups": ["a", "b"], "name": "é", "other": "unmapped"}
    mapping = [
        ("x-name", "name"),
        ("x-sub", "sub"),
        ("x-mail", "email"),
        ("x-x", "custom:x"),
        ("x-none", "no"),
        ("x-groups", "cognito:groups"),
    ]

    assert headers(claims, mapping) == ([("x-name", "%C3%A9"), ("x-sub", "ada"), ("x-groups", "a,b")], [])


def test_one_claim_can_fill_several_headers() -> None:
    """Headers are mapped, not claims."""
    assert headers({"sub": "ada"}, [("x-a", "sub"), ("x-b", "sub")]) == ([("x-a", "ada"), ("x-b", "ada")], [])


@pytest.mark.parametrize(
    ("sizes", "kept", "dropped"),
    [
        pytest.param([8_189], ["x-0"], [], id="exactly 8 KiB with its name"),
        pytest.param([8_190], [], ["x-0"], id="one byte more"),
        pytest.param([4_093, 4_093], ["x-0", "x-1"], [], id="two that fill it"),
        pytest.param([4_093, 4_094], ["x-0"], ["x-1"], id="the second does not fit"),
        pytest.param([9_000, 10], ["x-1"], ["x-0"], id="a small one behind a large one still fits"),
        pytest.param([10, 9_000, 9_000, 10], ["x-0", "x-3"], ["x-1", "x-2"], id="each one is judged in file order"),
        pytest.param([8_189, 0], ["x-0"], [], id="an empty one takes no room"),
        pytest.param([8_190, 0], [], ["x-0"], id="an empty one is not counted"),
    ],
)
def test_headers_beyond_the_limit_are_dropped_whole(sizes: list[int], kept: list[str], dropped: list[str]) -> None:
    """Names and values together take 8 KiB at most; what does not fit is left out whole and named, never cut."""
    claims = {str(number): "a" * size for number, size in enumerate(sizes)}
    written, left_out = headers(claims, [(f"x-{name}", name) for name in claims])

    assert [name for name, _ in written] == kept
    assert left_out == dropped
    assert all(value == claims[name.removeprefix("x-")] for name, value in written)


def test_the_size_is_that_on_the_wire() -> None:
    """What counts is the encoded value."""
    assert headers({"a": "é" * 1_364}, [("x-a", "a")]) == ([("x-a", "%C3%A9" * 1_364)], [])
    assert headers({"a": "é" * 1_365}, [("x-a", "a")]) == ([], ["x-a"])


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(0, 120))
def test_written_headers_always_fit(values: list[str], limit: int) -> None:
    """Whatever the claims are, what is written fits, each header that could still have fitted is there, and none is unaccounted for."""
    claims = {str(number): value for number, value in enumerate(values)}
    written, dropped = headers(claims, [(f"x-{name}", name) for name in claims], limit)
    used = sum(len(name) + len(value) for name, value in written)

    assert used <= limit
    assert len(written) + len(dropped) == sum(value != "" for value in values)
    left_out = [value for name, value in claims.items() if value and f"x-{name}" not in dict(written)]
    assert all(len("x-0") + len(header_value(value)) > limit - used for value in left_out)


def test_the_limit_is_8_kib() -> None:
    """Envoy refuses a request beyond 60 KiB of headers, and many upstreams beyond 8."""
    assert MAX_HEADERS_SIZE == 8 * 1_024
