"""The JSON Schema and `validate` agree: an editor refuses a value exactly where the server does."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from authz_server.config import json_schema
from authz_server.config.documents import Document
from authz_server.config.expressions import expression
from authz_server.config.patterns import STAGE_VARIABLE, VARIABLE
from authz_server.config.reader import compose
from authz_server.config.schema import Configuration
from authz_server.core.routes import parse

ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home00001"
AUTHORIZER = {"type": "cognito_user_pools", "provider_arns": [ARN]}
SCHEMA = jsonschema.Draft202012Validator(json_schema())

# Values from which others are made by small changes, by the place of the value. A place that ends with "*" is a name in a mapping.
SAMPLES: dict[tuple[str, ...], list[Any]] = {
    ("ignore_warnings",): [["no_apis"], [], "no_apis"],
    ("ignore_warnings", 0): ["any_app_client", "unknown", "Any_app_client"],
    ("authorizers", "a", "ignore_warnings"): [["any_app_client"], ["all"]],
    ("apis", "b", "ignore_warnings"): [["api_without_routes"], 5],
    ("apis", "b", "routes", "/", "GET", "ignore_warnings"): [["public_under_protected"], {}],
    ("user_pools", "c", "ignore_warnings"): [["plaintext_keys"], [True]],
    ("version",): [1, 1.0, 2, "1"],
    ("keys",): [{}],
    ("keys", "ca_file"): ["ca.pem"],
    ("keys", "stale_ceiling_in_seconds"): [59, 60, 604_800, 604_801, "300", 300.0, 300.5],
    ("authorizers",): [{}, {"a": AUTHORIZER}],
    ("authorizers", "*"): ["users", "${x}"],
    ("authorizers", "a", "type"): ["cognito_user_pools", "COGNITO_USER_POOLS", "Cognito_User_Pools"],
    ("authorizers", "a", "provider_arns"): [[ARN], [], [ARN] * 1000, [ARN] * 1001, ARN],
    ("authorizers", "a", "provider_arns", 0): [
        ARN,
        ARN.replace("aws", "aws-cn", 1),
        ARN.replace("Home00001", "H" * 45),
        ARN.replace("Home00001", "H" * 46),
        ARN.replace("111122223333:userpool", "local:userpool"),
        "eu-west-1_Home00001",
    ],
    ("authorizers", "a", "identity_source"): ["method.request.header.Authorization", "Authorization"],
    ("authorizers", "a", "identity_validation_expression"): ["web[0-9]+"],
    ("authorizers", "a", "authorizer_result_ttl_in_seconds"): [0, -1, 3600, 3601, "300", 300.0],
    ("authorizers", "a", "app_clients"): [["web"], [], "web"],
    ("authorizers", "a", "app_clients", 0): ["web", "60"],
    ("authorizers", "a", "accept_updated_issuer"): [True, "true", 1],
    ("apis",): [{}, {"b": {}}],
    ("apis", "*"): ["shop"],
    ("apis", "b", "hosts"): [["a.example.com"], [], "a.example.com"],
    ("apis", "b", "hosts", 0): ["api.example.com", "*.example.com", "[::1]", "*", "a:443"],
    ("apis", "b", "base_path"): ["", "/", "/prod", "/prod/", "/a/..", "/a/...", "/a" * 64, "/a" * 65],
    ("apis", "b", "stage_variables"): [{"a": "b"}],
    ("apis", "b", "stage_variables", "*"): ["Pool_1", "a-b"],
    ("apis", "b", "stage_variables", "a"): ["eu-west-1_Home00001"],
    ("apis", "b", "claim_headers"): [{"x-a": "sub"}],
    ("apis", "b", "claim_headers", "*"): [
        *("x-auth-sub", "Host", "hosts", "X-Envoy-A", "x-envoy", "X-Forwarded-User", "x-forwarded-users", "x-forwarded-for", "TE", "tee"),
    ],
    ("apis", "b", "claim_headers", "x-a"): ["sub", "cognito:groups"],
    ("apis", "b", "claim_headers_overflow"): ["drop", "deny", "Drop"],
    ("apis", "b", "forward_token"): [False, "false", 0],
    ("apis", "b", "dynamic_metadata"): ["off", "all", ["sub"], [], "on", ["sub", 5]],
    ("apis", "b", "log_claims"): [["sub"], [], "sub"],
    ("apis", "b", "log_claims", 0): ["sub"],
    ("apis", "b", "routes"): [{}, {"/": {}}],
    ("apis", "b", "routes", "*"): [
        *("/", "/pets", "/pets/", "/pets/{petId}", "/{proxy+}", "/{proxy+}/a", "/a/{p+}", "/./a", "/a/..", "/.../a", "pets", "//", "/a{b}"),
        *("/a" * 64, "/a" * 65, "/a" * 63 + "/{p+}"),
    ],
    ("apis", "b", "routes", "/"): [{}, {"GET": {"authorizer": "a"}}],
    ("apis", "b", "routes", "/", "*"): ["GET", "ANY", "get", "TRACE"],
    ("apis", "b", "routes", "/", "GET"): [{"authorizer": "a"}, {}],
    ("apis", "b", "routes", "/", "GET", "authorizer"): ["a"],
    ("apis", "b", "routes", "/", "GET", "authorization_scopes"): [["pets/read"], [], "pets/read"],
    ("apis", "b", "routes", "/", "GET", "authorization_scopes", 0): ["pets/read", "a b", "a" * 256, "a" * 257],
    ("apis", "b", "routes", "/", "GET", "authorization_type"): ["COGNITO_USER_POOLS", "NONE", "none"],
    ("user_pools",): [{}, {"c": {}}],
    ("user_pools", "*"): ["eu-west-1_Home00001"],
    ("user_pools", "c", "allow_http"): [True, False, "true"],
    ("user_pools", "c", "jwks_uri"): [
        *("https://keys.example.com/jwks.json", "HTTPS://a:65535?x", "https://a:65536/", "https://a:0/", "https://a:/", "https://a:00443/"),
        *("https://[::1]:80/", "https://[::1", "https://u@a/", "https://a/#x", "https://a\\@b/", "http://localhost", "http://LOCALHOST:1/"),
        *("http://127.0.0.1/x", "http://127.0.0.256/", "http://[::1]/", "http://[::2]/", "http://localhost.a/", "http://a/", "ftp://a/"),
    ],
    ("user_pools", "c", "jwks_file"): ["keys.json"],
    ("user_pools", "c", "issuer"): ["https://idp.example.com"],
    ("user_pools", "c", "ca_file"): ["ca.pem"],
    ("user_pools", "c", "stale_ceiling_in_seconds"): [60, 59, 604_801],
}
WHERE = {"authorizers": "CognitoUserPools", "apis": "Api", "user_pools": "UserPool", "keys": "Keys"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=5)
JSON = st.recursive(
    st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=3,
)


def near(samples: list[Any]) -> st.SearchStrategy[Any]:
    """Samples, and what becomes of their text when a piece of it is replaced."""
    texts = st.sampled_from([sample for sample in samples if isinstance(sample, str)] or [""])
    pieces = TEXTS | st.sampled_from(["\n", "\t", "\x7f", "${", "$${", "${a}", "/", ".", "{", "A", "0"])

    def changed(text: str, piece: str, start: int, length: int) -> str:
        return text[:start] + piece + text[start + length :]

    return st.sampled_from(samples) | st.builds(changed, texts, pieces, st.integers(0, 80), st.integers(0, 2))


def base() -> dict[str, Any]:
    """A small configuration in which each place of the samples is there."""
    return {
        "version": 1,
        "authorizers": {"a": {**AUTHORIZER, "provider_arns": [ARN], "app_clients": ["web"]}},
        "apis": {
            "b": {
                "hosts": ["a"],
                "stage_variables": {},
                "claim_headers": {},
                "log_claims": ["sub"],
                "routes": {"/": {"GET": {"authorizer": "a", "authorization_scopes": ["b"]}}},
            }
        },
        "user_pools": {"c": {}},
        "keys": {},
        "ignore_warnings": ["no_apis"],
    }


def put(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Write a value at a place; a name in a mapping takes the value that its mapping has, and its place."""
    document = base()
    *path, last = place
    part: Any = document
    for step in path:
        part = part[step]
    if last == "*":
        entry = next(iter(part.values()), "sub")
        part.clear()
        part[value] = entry
    else:
        part[last] = value
    return document


def yaml(value: Any) -> str:
    """Write a value in JSON that is YAML, too."""
    return re.sub("[\x7f-\x9f\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def validates(document: dict[str, Any]) -> bool:
    """Whether `validate` finds each value right in itself."""
    source = compose(Document("authz.yaml", yaml(document), Path("authz.yaml")), {})
    if source.problems:
        return False
    try:
        configuration = Configuration.model_validate(source.data)
        for api in configuration.apis.values():
            for template in api.routes:
                parse(template)
    except (ValidationError, ValueError):
        return False
    return True


def has_variable(value: Any) -> bool:
    """Whether a value waits for the environment or a stage: what will stand there can not be known."""
    return re.search(f"{VARIABLE}|{STAGE_VARIABLE}", yaml(value)) is not None


def is_no_expression(document: dict[str, Any]) -> bool:
    """Whether the document has a text that is no regular expression: no pattern tells those."""
    text = document.get("authorizers", {})
    text = text.get("a", {}) if isinstance(text, dict) else {}
    text = text.get("identity_validation_expression", "") if isinstance(text, dict) else ""
    try:
        expression(text)
    except ValueError:
        return True
    except TypeError:
        return False
    return False


@pytest.mark.parametrize("place", SAMPLES, ids=lambda place: ".".join(map(str, place)))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_value_that_one_takes_the_other_takes(place: tuple[str, ...], data: st.DataObject) -> None:
    """Whatever stands at a place of the file, the JSON Schema takes it if and only if `validate` does."""
    value = data.draw(near(SAMPLES[place]) if place[-1] == "*" else near(SAMPLES[place]) | JSON)
    document = put(place, value)
    assume(not has_variable(document) and not is_no_expression(document))

    assert SCHEMA.is_valid(document) == validates(document), document


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, samples in SAMPLES.items() for value in samples])
def test_every_sample(place: tuple[str, ...], value: Any) -> None:
    """The samples themselves, among them the edges of each range, are judged alike."""
    document = put(place, value)

    assert SCHEMA.is_valid(document) == validates(document)


METHODS = {
    "authorizer": [None, "a", 5],
    "authorization_type": [None, "NONE", "COGNITO_USER_POOLS"],
    "authorization_scopes": [None, [], ["b"]],
}
POOLS = {
    "jwks_uri": [None, "https://a/", "http://a/", "http://localhost/"],
    "jwks_file": [None, "keys.json"],
    "allow_http": [None, True, False, 1],
}


@pytest.mark.parametrize(("path", "keys"), [(("apis", "b", "routes", "/", "GET"), METHODS), (("user_pools", "c"), POOLS)])
def test_keys_that_exclude_or_want_each_other(path: tuple[str, ...], keys: dict[str, list[Any]]) -> None:
    """Of each combination of keys in a method or a user pool both say the same."""
    for values in itertools.product(*keys.values()):
        document = put(path, {key: value for key, value in zip(keys, values, strict=True) if value is not None})

        assert SCHEMA.is_valid(document) == validates(document), document


def test_every_key_is_compared() -> None:
    """Each key of the format has its samples above, so that a new one is held, too."""
    schema = json_schema()
    compared = {(WHERE.get(place[0], "") if len(place) > 1 else "", place[-1]) for place in SAMPLES}
    compared |= {("Method", place[-1]) for place in SAMPLES if "GET" in place}
    models = {"": schema, **schema["$defs"]}

    assert {(model, key) for model in models for key in models[model]["properties"]} <= compared


@given(JSON)
@example([])
@example("text")
@settings(deadline=None)
def test_the_whole_document(value: Any) -> None:
    """What is no mapping, or the wrong one, is refused by both."""
    assume(not has_variable(value))

    assert SCHEMA.is_valid(value) == validates(value)
