"""Advisories about other servers and proxies: one test for each whose mistake a server like this one could make.

Each is asked of a check that decides anew, and of one that has just let a good token pass and repeats what it decided, also through both doors.
Advisories that are Envoy's own, or about how it is configured, are held in tests/deploy and tests/e2e.
"""

import time
from contextlib import nullcontext
from itertools import product

import pytest

from authz_server.config import compile_gateway, load
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.observe.metrics import Metrics
from authz_server.testing import StaticKeys, UserPool
from tests.checking import ControlledCheck
from tests.server.doors import TRANSPORTS, behind

NOW = 1_800_000_000.0
POOL = UserPool("eu-west-1_Advisory1")
TOKEN = POOL.id_token(exp=NOW + 600, groups="a", email="a\r\nx-sub: root", **{"cognito:groups": ["a", "b\r\nx-sub: root"]})
IDENTITY = {"x-sub", "x-email", "x-groups"}
FILE = f"""\
version: 1
authorizers:
  users: {{type: cognito_user_pools, provider_arns: ["{POOL.arn}"]}}
apis:
  shop:
    hosts: [api.test]
    claim_headers: {{x-sub: sub, x-email: email, x-groups: "cognito:groups"}}
    routes:
      /public: {{GET: {{authorization_type: NONE}}}}
      /public/{{rest+}}: {{GET: {{authorization_type: NONE}}}}
      /admin: {{ANY: {{authorizer: users}}}}
      /admin/{{rest+}}: {{ANY: {{authorizer: users}}}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A public part and a protected one."""
    path = tmp_path_factory.mktemp("advisories") / "authz.yaml"
    path.write_text(FILE)
    return compile_gateway(load(path, {}), lambda _: StaticKeys(POOL))


BUDGETS = {"anew": 0, "repeating": 1_048_576, **dict.fromkeys(TRANSPORTS, 1_048_576)}


@pytest.fixture(scope="module", params=BUDGETS)
def asking(request, gateway):
    """A check that decides anew, one that repeats, and two that repeat behind a door each."""
    made = ControlledCheck(
        BUDGETS[request.param],
        now=lambda: NOW,
        timer=lambda: 0.0,
        new_id=lambda: "11111111-2222-4333-8444-555555555555",
        metrics=Metrics("test"),
        log=None,
    )
    made.swap(gateway)
    with behind(request.param, made) if request.param in TRANSPORTS else nullcontext(made) as ask:
        yield ask


@pytest.fixture
def check(asking):
    """A check that has just answered good requests."""
    for _ in range(2):
        assert asked(asking, path="/admin", authorization=TOKEN).status.code == 0
    return asking


def asked(check, *, method="GET", host="api.test", path="/public", context=None, lines=None, more=None, **headers):
    """Ask a check; headers are given by name with underscores, by name as it is, or as lines where Envoy sends such."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.host, http.path = method, host, path
    http.headers.update({name.replace("_", "-"): value for name, value in headers.items()} | (more or {}))
    for name, value in lines or ():
        http.header_map.headers.add(key=name, raw_value=value.encode())
    request.attributes.context_extensions.update(context or {})
    return CheckResponse.FromString(check(request.SerializeToString()))


def status(response):
    """The status that a client gets: 200 for an allow."""
    return response.denied_response.status.code if response.status.code else 200


@pytest.mark.parametrize(
    "octets", [b"\xff", b"\x0a", b"\x0a\x0b\x22\x09\x0a\x07\x12\x05\x12\x03\x12\x01\xff", b"\x0a\x06\x22\x04\x12\x02\x5a\x00"[:-1]]
)
def test_cve_2023_27488_and_cve_2024_23324_octets_that_are_no_request_are_denied(check, octets):
    """Bad UTF-8 in a header became a gRPC error, and that an allow where the proxy fails open."""
    assert status(CheckResponse.FromString(check(octets))) in {400, 403, 500}


@pytest.mark.parametrize("other", ["Basic dXNlcjpwYXNz", "Bearer a.b.c", TOKEN, f"Bearer {TOKEN}", ""])
@pytest.mark.parametrize("first", [True, False])
def test_cve_2021_32777_two_credentials_are_none(check, other, first):
    """Only the last of two lines was judged, and the upstream took the first."""
    values = [TOKEN, other] if first else [other, TOKEN]

    assert status(asked(check, path="/admin", authorization=",".join(values))) == 401
    assert status(asked(check, path="/admin", lines=[("authorization", values[0]), ("Authorization", values[1])])) == 401


@pytest.mark.parametrize("path", ["/admin#", "/public#/admin", "/admin#/../public", "/public/#", "/public/a#b"])
def test_cve_2021_32779_and_cve_2021_39156_a_fragment_is_refused(check, path):
    """The check and the router cut it off at different places."""
    assert status(asked(check, path=path)) == 403


TRICKS = ["//", "/./", "/../", "/%2e%2e/", "/.%2e/", "%2f", "%2F", "%5c", "\\", "/..\\", "/%00", "/%252e%252e/", "/%c0%ae%c0%ae/", "/..%2f"]


@pytest.mark.parametrize("trick", TRICKS)
def test_cve_2019_9901_cve_2021_29492_and_istio_2021_005_doubtful_paths_are_refused(check, trick):
    """Dot segments, doubled, escaped and backward slashes meant one thing to the check and another to the upstream."""
    assert status(asked(check, path=f"/public{trick}admin")) == 403
    assert status(asked(check, path=f"/admin{trick}public", authorization=TOKEN)) == 403


@pytest.mark.parametrize("path", ["/public/..;/admin", "/public;/../admin", "/public;a=b", "/public/;/admin", "/public/a;jsessionid=1"])
def test_cve_2026_73511_73551_and_73553_parameters_of_segments_are_refused(check, path):
    """`;` hid what an upstream strips before it reads the path."""
    assert status(asked(check, path=path)) == 403


def test_cve_2026_73547_a_connect_without_a_path_is_refused(check):
    """It has no path, and no route."""
    assert status(asked(check, method="CONNECT", path="", authorization=TOKEN)) == 403


def test_envoy_issue_43310_every_header_overwrites(check):
    """Left to a default that changed, claim headers were appended to what the client had sent."""
    for response in (asked(check, path="/admin", authorization=TOKEN), asked(check, path="/admin")):
        options = [*response.ok_response.headers, *response.denied_response.headers]
        assert options
        for option in options:
            assert option.HasField("append")
            assert not option.append.value
            assert option.append_action == 2
            assert not option.header.raw_value


def test_cve_2026_26308_a_claim_of_several_values_is_one_header(check):
    """A rule that saw one line of several let the rest pass; and no value breaks out of its line."""
    headers = [(option.header.key, option.header.value) for option in asked(check, path="/admin", authorization=TOKEN).ok_response.headers]

    assert sorted(name for name, _ in headers) == sorted(IDENTITY)
    assert dict(headers)["x-groups"] == "a,b%0D%0Ax-sub: root"
    assert dict(headers)["x-email"] == "a%0D%0Ax-sub: root"


SPOKEN_FOR = {
    "x-envoy-original-path": "/public",
    "x-envoy-decorator-operation": "public",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "other.test",
    "x-forwarded-proto": "https",
    "x-forwarded-uri": "/public",
    "x-forwarded-method": "OPTIONS",
    "x-original-url": "/public",
    "x-original-uri": "/public",
    "x-rewrite-url": "/public",
    "x-http-method-override": "OPTIONS",
    "x-auth-request-redirect": "/public",
    "forwarded": "for=127.0.0.1;host=other.test;proto=https",
    ":path": "/public",
    ":authority": "other.test",
    "host": "other.test",
}


@pytest.mark.parametrize("name", SPOKEN_FOR)
def test_cve_2023_27487_cve_2024_45806_cve_2026_40575_and_ghsa_vhr5_ggp3_qq85_no_header_speaks_for_the_request(check, name):
    """What a client says about the path, the host or itself was believed."""
    said = {name: SPOKEN_FOR[name]}

    assert asked(check, path="/admin", more=said) == asked(check, path="/admin")
    assert asked(check, path="/admin", authorization=TOKEN, more=said) == asked(check, path="/admin", authorization=TOKEN)


@pytest.mark.parametrize("host", ["API.TEST", "Api.Test:443", "api.test.", "API.test.:8080"])
def test_cve_2023_35944_and_cve_2021_39155_a_host_has_no_case(check, host):
    """A host in capitals missed its rules; whichever way it is written, it is the same api."""
    assert status(asked(check, host=host, path="/admin")) == 401
    assert status(asked(check, host=host, path="/public")) == 200


@pytest.mark.parametrize("scheme", ["http", "HTTPS", "javascript", ""])
def test_cve_2023_35944_the_scheme_does_not_matter(check, scheme):
    """A scheme in capitals slipped past a comparison."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.host, http.path, http.headers[":scheme"] = "GET", "api.test", "/admin", scheme

    assert status(CheckResponse.FromString(check(request.SerializeToString()))) == 401


ROUTES = {
    "public": {"path": "/public"},
    "public, with a token": {"path": "/public", "authorization": TOKEN},
    "public, with a bad token": {"path": "/public", "authorization": "Bearer x"},
    "protected": {"path": "/admin", "authorization": TOKEN},
    "protected, below": {"path": "/admin/a/b", "authorization": f"Bearer {TOKEN}"},
    "named by Envoy": {"path": "/any", "authorization": TOKEN, "context": {"api": "shop", "authorizer": "users"}},
    "api named by Envoy": {"path": "/public", "context": {"api": "shop"}},
}


@pytest.mark.parametrize("kind", ROUTES)
def test_envoy_pull_request_46586_identity_headers_are_ours_on_every_kind_of_route(check, kind):
    """Headers made of claims were not stripped where no token was asked for."""
    forged = {name.replace("-", "_"): "root" for name in IDENTITY}
    response = asked(check, **ROUTES[kind], **forged)
    written = {option.header.key for option in response.ok_response.headers}

    assert status(response) == 200
    assert written | set(response.ok_response.headers_to_remove) == IDENTITY
    assert not written & set(response.ok_response.headers_to_remove)
    assert not any(option.header.value == "root" for option in response.ok_response.headers)


@pytest.mark.parametrize("path", ["//public/admin", "//admin", "//api.test/public", "http://api.test/public", "//public", "///admin"])
def test_ghsa_9f29_v6mm_pw6w_a_path_is_no_authority(check, path):
    """`//host/path` was read as a URL, and its first segment was lost."""
    assert status(asked(check, path=path)) == 403


@pytest.mark.parametrize("path", ["/public/../admin", "/public/x/../../admin", "/public/./../admin", "/public/.."])
def test_ghsa_p224_6x5r_fjpm_a_path_is_not_matched_raw(check, path):
    """A rule for `/public/**` matched what the upstream read as `/admin`."""
    assert status(asked(check, path=path)) == 403


@pytest.mark.parametrize("alias", ["x_sub", "X_Sub", "x-Sub", "x_email", "authorization_", "Proxy-Authorization", "x-authorization"])
def test_cve_2025_64484_cve_2026_39858_and_cve_2026_35051_an_alias_is_not_read(check, alias):
    """A name that only some servers fold into another is no credential, and is stripped where it folds to an identity header."""
    lines = [(alias, TOKEN)]
    expected = asked(check, path="/admin", authorization=TOKEN)
    expected.ok_response.headers_to_remove.extend([alias.lower()] if "_" in alias and alias[0] in "xX" else [])

    assert status(asked(check, path="/admin", lines=lines)) == 401
    assert asked(check, path="/admin", lines=[*lines, ("authorization", TOKEN)]) == expected


@pytest.mark.parametrize(
    "path", ["/admin?/public", "/admin?x=/public", "/admin?a=/../public", "/admin?", "/admin?#", "/admin?%2e%2e/public"]
)
def test_cve_2025_54576_the_query_chooses_no_route(check, path):
    """An expression that was to skip public paths matched the query."""
    assert status(asked(check, path=path)) in {401, 403}


@pytest.mark.parametrize("cookie", ["a", "=", ";", "\u00ff", "a=b; a", "a" * 60_000, f"token={TOKEN}", "id_token=\u0000"])
@pytest.mark.parametrize("authorization", ["Bearer", "\u00e9.\u00e9.\u00e9", "." * 10_000, "\u0000", "{}"])
def test_cve_2026_25748_what_is_malformed_is_denied(check, cookie, authorization):
    """A cookie that could not be read ended in a 200."""
    assert status(asked(check, path="/admin", cookie=cookie, authorization=authorization)) == 401


@pytest.mark.parametrize("path", ["admin", "public", "*", "?", "", " /public", ".", "public/../admin"])
def test_cve_2026_33186_a_path_begins_with_a_slash(check, path):
    """Without one, rules did not match and the call went on."""
    assert status(asked(check, path=path)) == 403


BOMBS = ["(a*)*b", "(a+)+$", "(a|a)*b", "(a|aa)+$", "([a-zA-Z]+)*!", "(.*a){12}", "(?:a?){50}a{50}", "(x+x+)+y"]


@pytest.mark.parametrize(("expression", "ttl"), list(product(BOMBS, [0, 300])))
def test_cwe_1333_an_expression_takes_linear_time(tmp_path, expression, ttl):
    """A hundred checks with the longest `aud` that a token can hold take less than any backtracking would take for one."""
    path = tmp_path / "authz.yaml"
    wanted = f'"{POOL.arn}"], identity_validation_expression: "{expression}", authorizer_result_ttl_in_seconds: {ttl}'
    path.write_text(FILE.replace(f'"{POOL.arn}"]', wanted))
    made = ControlledCheck(
        1_048_576,
        now=lambda: NOW,
        timer=lambda: 0.0,
        new_id=lambda: "11111111-2222-4333-8444-555555555555",
        metrics=Metrics("test"),
        log=None,
    )
    made.swap(compile_gateway(load(path, {}), lambda _: StaticKeys(POOL)))
    long = POOL.id_token(exp=NOW + 600, aud="a" * 11_000 + "-")

    began = time.process_time()
    assert {status(asked(made, path="/admin", authorization=long)) for _ in range(100)} == {401}
    assert time.process_time() - began < 10
