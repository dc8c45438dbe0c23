"""An entry of the decision log tells what there is to tell about a check, and no secret."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.decisions import Allow, Deny
from authz_server.core.reasons import Reason
from authz_server.core.responses import BUILT_IN
from authz_server.observe.entry import Entry, as_coloured_text, as_json, as_text, brief, fields

ALLOWED = Allow(api="pets", route="GET /pets/{petId}", headers=(("x-auth-sub", "secret-sub"),), metadata={"email": "secret-mail"})
DENIED = Deny(reason=Reason.TOKEN_EXPIRED, api="pets", route="GET /pets/{petId}")
ENTRY = Entry(1_757_430_433.0625, 0.0012345, "GET", "api.test", "11111111-2222-4333-8444-555555555555", ALLOWED)
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_an_allow_is_logged_with_its_route() -> None:
    """Time, decision, api, route, method, host, request id and duration stand in every entry."""
    assert fields(ENTRY) == {
        "time": "2025-09-09T15:07:13.062+00:00",
        "decision": "allow",
        "api": "pets",
        "route": "GET /pets/{petId}",
        "method": "GET",
        "host": "api.test",
        "request_id": "11111111-2222-4333-8444-555555555555",
        "duration_ms": 1.234,
    }


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.label)
def test_a_denial_is_logged_with_its_reason(reason: Reason) -> None:
    """The operator learns the reason and the status that was sent."""
    told = fields(ENTRY._replace(decision=Deny(reason=reason)))

    assert (told["reason"], told["status"]) == (reason.label, BUILT_IN[reason].status)
    assert told["decision"] == ("unavailable" if BUILT_IN[reason].status >= 500 else "deny")
    assert (told["api"], told["route"]) == ("", "")


def test_only_claims_that_the_api_names_are_logged() -> None:
    """Headers and metadata of an allow do not appear; the claims that are meant for the log do."""
    for line in (as_json, as_text):
        assert "secret" not in line(ENTRY)
    logged = ENTRY._replace(decision=Allow(api="a", route="r", logged={"sub": "ada"}))
    assert fields(logged)["claims"] == {"sub": "ada"}


ID = "request_id=11111111-2222-4333-8444-555555555555"
TEXTS = [
    pytest.param(
        ENTRY, "15:07:13.062Z  allow                                1.234 ms  pets GET /pets/{petId}          GET api.test", id="allow"
    ),
    pytest.param(
        ENTRY._replace(decision=Allow(api="a", route="r", logged={"sub": "ada", "name": "A B"}, dropped=("x-groups", "x-b"))),
        "15:07:13.062Z  allow                                1.234 ms  a r                             GET api.test              "
        'sub=ada name="A B" dropped_headers="x-groups,x-b"',
        id="allow with claims, and without some headers",
    ),
    pytest.param(
        ENTRY._replace(decision=DENIED, seconds=1.5),
        f"15:07:13.062Z  deny 401 token_expired            1500.000 ms  pets GET /pets/{{petId}}          GET api.test              {ID}",
        id="deny",
    ),
    pytest.param(
        ENTRY._replace(decision=replace(DENIED, details=(("scopes_wanted", "a/b c/d"), ("x", "y"))), sent_id=ULID, trace_id=TRACE),
        "15:07:13.062Z  deny 401 token_expired               1.234 ms  pets GET /pets/{petId}          GET api.test              "
        f'scopes_wanted="a/b c/d" x=y  {ID} x_request_id={ULID} trace_id={TRACE}',
        id="deny with details and ids",
    ),
    pytest.param(
        ENTRY._replace(decision=Deny(reason=Reason.NO_API), request_id=""),
        "15:07:13.062Z  deny 403 no_api                      1.234 ms  - -                             GET api.test",
        id="deny without api, route and ids",
    ),
    pytest.param(
        ENTRY._replace(decision=Deny(reason=Reason.KEYS_UNAVAILABLE, api="a", route="r")),
        f"15:07:13.062Z  unavailable 503 keys_unavailable     1.234 ms  a r                             GET api.test              {ID}",
        id="unavailable",
    ),
    pytest.param(
        ENTRY._replace(host='evil"\n\x1b[31m'),
        '15:07:13.062Z  allow                                1.234 ms  pets GET /pets/{petId}          GET "evil\\"\\n\\u001b[31m"',
        id="what a client chose is quoted",
    ),
]


@pytest.mark.parametrize(("entry", "text"), TEXTS)
def test_text_is_for_people(entry: Entry, text: str) -> None:
    """A line says when, what, why, how long and where, in columns, and then the rest; nothing of it can move the cursor."""
    assert as_text(entry) == text


@pytest.mark.parametrize(("entry", "text"), TEXTS)
def test_colours_change_nothing_else(entry: Entry, text: str) -> None:
    """Without the escapes of its colours a coloured line is the plain one, trailing spaces apart."""
    assert re.sub("\x1b\\[[0-9;]*m", "", as_coloured_text(entry)) == text


@pytest.mark.parametrize(("decision", "colour"), [(ALLOWED, 32), (DENIED, 33), (Deny(reason=Reason.OVERLOADED), 31)])
def test_each_kind_of_decision_has_its_colour(decision: Allow | Deny, colour: int) -> None:
    """Green, yellow, and red where the fault is ours."""
    assert f"  \x1b[{colour}m{decision.decision}" in as_coloured_text(ENTRY._replace(decision=decision))


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.label)
def test_columns_are_aligned(reason: Reason) -> None:
    """Whatever the reason is, the route stands where it stands in an allow."""
    column = as_text(ENTRY).index("pets GET")

    assert as_text(ENTRY._replace(decision=Deny(reason=reason, api="pets", route="GET /pets"))).index("pets GET") == column


def test_what_is_there_only_sometimes_stands_at_the_end() -> None:
    """Details, headers that were left out, the id as it came and the trace are members of their own, in this order."""
    denied = ENTRY._replace(decision=replace(DENIED, details=(("token_use_wanted", "id"),)), sent_id=ULID, trace_id=TRACE)
    allowed = ENTRY._replace(decision=replace(ALLOWED, logged={"sub": "ada"}, dropped=("x-a", "x-b")), trace_id=TRACE)

    assert list(fields(denied).items())[len(fields(ENTRY)) :] == [
        ("reason", "token_expired"),
        ("status", 401),
        ("details", {"token_use_wanted": "id"}),
        ("x_request_id", ULID),
        ("trace_id", TRACE),
    ]
    assert list(fields(allowed).items())[len(fields(ENTRY)) :] == [
        ("claims", {"sub": "ada"}),
        ("dropped_headers", ["x-a", "x-b"]),
        ("trace_id", TRACE),
    ]


def test_an_id_is_not_told_twice() -> None:
    """A UUID that came is the request id itself."""
    assert fields(ENTRY._replace(sent_id=ENTRY.request_id)) == fields(ENTRY)


def test_what_a_client_chose_is_cut() -> None:
    """Method and host can neither make lines of any length, nor fill the memory of those that wait to be written."""
    assert brief("M" * 100, "h" * 1_000) == ("M" * 16, "h" * 255)


def test_a_user_in_front_of_the_host_is_left_out() -> None:
    """RFC 9110 section 4.2.4: what stands before `@` may be a password."""
    assert brief("GET", "ada:secret@b@api.test") == ("GET", "api.test")
    assert brief("GET", "ada:secret@" + "h" * 1_000) == ("GET", "h" * 255)


@given(method=st.text(), host=st.text())
def test_an_entry_is_one_line(method: str, host: str) -> None:
    """Whatever a client sends, an entry is one line of printable ASCII; as JSON it reads back."""
    entry = ENTRY._replace(method=method, host=host)

    for line in (as_json(entry), as_text(entry)):
        assert line.isascii()
        assert line.isprintable()
    assert json.loads(as_json(entry)) == fields(entry)


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(ALLOWED, id="allow"),
        pytest.param(Allow(api="é\n", route='GET /"{x}"', logged={"sub": 'a"\n', "é": "\ud83d\ude00"}), id="allow with claims"),
        pytest.param(replace(ALLOWED, dropped=("x-é",)), id="allow without a header"),
        pytest.param(replace(DENIED, details=(("é", '"'),)), id="deny with details"),
        *(pytest.param(Deny(reason=reason, api="a", route="r"), id=reason.label) for reason in Reason),
    ],
)
@pytest.mark.parametrize(
    "ids", [{}, {"sent_id": ULID}, {"trace_id": TRACE}, {"sent_id": ENTRY.request_id}, {"sent_id": ULID, "trace_id": TRACE}]
)
def test_json_is_what_the_fields_say(decision: Allow | Deny, ids: dict[str, str]) -> None:
    """A line of JSON is `fields`, in their order and without spaces between them, whatever is logged."""
    entry = ENTRY._replace(decision=decision, method='G"\n', host="\ud800é", seconds=0.012345, **ids)

    assert as_json(entry) == json.dumps(fields(entry), separators=(",", ":"))


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "0.000"), (0.0000001, "0.000"), (0.00001, "0.010"), (1e6, "1000000000.000")])
def test_durations_are_numbers(seconds: float, told: str) -> None:
    """A duration is a JSON number of milliseconds with three decimals, however short or long it was."""
    assert f'"duration_ms":{told}}}' in as_json(ENTRY._replace(seconds=seconds))


@pytest.mark.parametrize(
    ("time", "told"), [(0.0, "1970-01-01T00:00:00.000"), (1_757_430_433.999, "2025-09-09T15:07:13.999"), (1e9, "2001-09-09T01:46:40.000")]
)
def test_times_have_milliseconds(time: float, told: str) -> None:
    """A time is ISO 8601 in UTC; a second is not taken for the one before it."""
    assert fields(ENTRY._replace(time=time))["time"] == told + "+00:00"
