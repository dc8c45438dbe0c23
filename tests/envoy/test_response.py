"""A decision becomes a CheckResponse that every client reads alike, and that is an ALLOW for an allow only."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.decisions import Allow
from authz_server.core.reasons import Reason
from authz_server.core.responses import BUILT_IN
from authz_server.envoy.response import allow, deny
from authz_server.envoy.stubs import CheckResponse

REQUEST_ID = "11111111-2222-4333-8444-555555555555"
OVERWRITE_IF_EXISTS_OR_ADD = 2

every_reason = pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.label)


def read(data: bytes) -> CheckResponse:
    """Read what was written."""
    return CheckResponse.FromString(data)


def pairs(options) -> list[tuple[str, str]]:
    """List the headers, all of which must overwrite, by either of the two fields that clients read."""
    for option in options:
        assert option.HasField("append")
        assert option.append.value is False
        assert option.append_action == OVERWRITE_IF_EXISTS_OR_ADD
        assert option.header.raw_value == b""
    return [(option.header.key, option.header.value) for option in options]


@every_reason
def test_a_denial_is_api_gateways_answer(reason: Reason) -> None:
    """Status, JSON body and headers are those of the reason, and the code is never OK."""
    sent = BUILT_IN[reason]
    response = read(deny(sent, REQUEST_ID))

    assert response.status.code == (16 if sent.status == 401 else 7)
    assert response.status.message == ""
    assert response.WhichOneof("http_response") == "denied_response"
    assert response.denied_response.status.code == sent.status
    assert response.denied_response.body == sent.body
    headers = pairs(response.denied_response.headers)
    assert headers == [(name, REQUEST_ID if name == "x-amzn-requestid" else value) for name, value in sent.headers]
    assert not response.HasField("dynamic_metadata")


@given(st.sampled_from(list(Reason)), st.uuids())
def test_a_denial_carries_the_request_id_that_it_is_given(reason: Reason, request_id: UUID) -> None:
    """And not one of before."""
    denied = read(deny(BUILT_IN[reason], str(request_id))).denied_response

    assert dict(pairs(denied.headers))["x-amzn-requestid"] == str(request_id)


@pytest.mark.parametrize("request_id", ["", REQUEST_ID[1:], REQUEST_ID + "1", "é" + REQUEST_ID[1:]])
def test_a_denial_takes_nothing_else_for_a_request_id(request_id: str) -> None:
    """What is of another length would make bytes that say something else."""
    with pytest.raises(ValueError, match="a request id is a UUID"):
        deny(BUILT_IN[Reason.TOKEN_MISSING], request_id)


@every_reason
def test_a_denial_does_not_explain_itself(reason: Reason) -> None:
    """What the operator is told does not reach the caller."""
    assert reason.value.explanation.encode() not in deny(BUILT_IN[reason], REQUEST_ID)


def test_an_allow_sets_and_strips_headers() -> None:
    """Claim headers overwrite, the other identity headers are removed, and nothing goes to the client."""
    response = read(allow(Allow(api="a", route="r", headers=(("x-auth-sub", "ada"), ("x-auth-name", "%C3%A9")), remove=("x-auth-email",))))

    assert response.status.code == 0
    assert response.WhichOneof("http_response") == "ok_response"
    assert pairs(response.ok_response.headers) == [("x-auth-sub", "ada"), ("x-auth-name", "%C3%A9")]
    assert list(response.ok_response.headers_to_remove) == ["x-auth-email"]
    assert not response.HasField("dynamic_metadata")
    rest = read(allow(Allow(api="a", route="r", headers=(("x", "y"),))))
    rest.ok_response.ClearField("headers")
    assert rest.ok_response.ByteSize() == 0


def test_a_bare_allow_is_an_allow() -> None:
    """Without headers to set or strip the response still says OK."""
    response = read(allow(Allow(api="a", route="r")))

    assert response.HasField("status")
    assert response.status.code == 0
    assert response.WhichOneof("http_response") in {None, "ok_response"}


def test_metadata_is_nested_as_on_api_gateway() -> None:
    """Claims are strings or lists of strings below `authorizer` and `claims`, in the top-level field, whatever their names."""
    claims = {"sub": "ada", "name": "é\n", "custom:x": ""}
    response = read(allow(Allow(api="a", route="r", metadata={**claims, "cognito:groups": ("a,b", "é", "")})))

    (authorizer,) = response.dynamic_metadata.fields.values()
    (inner,) = authorizer.struct_value.fields.values()
    assert list(response.dynamic_metadata.fields) == ["authorizer"]
    assert list(authorizer.struct_value.fields) == ["claims"]
    fields = inner.struct_value.fields
    assert {name: fields[name].string_value for name in claims} == claims
    assert {fields[name].WhichOneof("kind") for name in claims} == {"string_value"}
    assert [value.string_value for value in fields["cognito:groups"].list_value.values] == ["a,b", "é", ""]
    assert {value.WhichOneof("kind") for value in fields["cognito:groups"].list_value.values} == {"string_value"}
    assert len(fields) == len(claims) + 1


names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=10)


@given(
    st.lists(st.tuples(names, st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)), max_size=5),
    st.lists(names, max_size=5),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_what_is_written_is_what_is_read(headers: list[tuple[str, str]], remove: list[str], metadata: dict[str, str]) -> None:
    """Every header, removal and claim arrives, in order."""
    response = read(allow(Allow(api="a", route="r", headers=tuple(headers), remove=tuple(remove), metadata=metadata)))

    assert response.status.code == 0
    assert pairs(response.ok_response.headers) == headers
    assert list(response.ok_response.headers_to_remove) == remove
    claims = response.dynamic_metadata.fields["authorizer"].struct_value.fields["claims"].struct_value.fields
    assert {name: value.string_value for name, value in claims.items()} == metadata
