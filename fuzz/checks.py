"""Whatever a check asks, the answer is an allow that a verified token or a public route earns, or a denial.

An input is a CheckRequest. Where its header values say `<id>`, `<access>` and so on, those tokens are put in: no fuzzer
would find a signature.
"""

import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from google.protobuf.message import DecodeError

from authz_server.config import compile_gateway, load
from authz_server.core.responses import BUILT_IN
from authz_server.engine.engine import Engine
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.observe.metrics import Metrics
from authz_server.server.check import Check, CheckResponses
from authz_server.testing import StaticKeys, UserPool
from fuzz.mutation import Mutate

NOW = 1_800_000_000.0
ID = "00000000-0000-4000-8000-000000000000"
POOL, OTHER = UserPool("eu-west-1_Fuzzed001"), UserPool("eu-west-1_Fuzzed002")
IDENTITY = {"x-sub", "x-email"}
CLAIMS: dict[str, Any] = {"exp": NOW + 600, "email": "a\r\nx-admin: yes"}
GOOD = {"<id>": POOL.id_token(**CLAIMS), "<access>": POOL.access_token(scope="pets/read", exp=NOW + 600)}
BAD = {
    "<expired>": POOL.id_token(exp=NOW),
    "<other>": OTHER.id_token(exp=NOW + 600),
    "<forged>": OTHER.id_key.sign(POOL.id_claims(exp=NOW + 600), header={"kid": POOL.id_key.kid}),
    "<cut>": GOOD["<id>"][:-4],
    "<long>": "a" * 20_000,
}
TOKENS = {**GOOD, **BAD}
FILE = f"""\
version: 1
authorizers:
  users: {{type: cognito_user_pools, provider_arns: ["{POOL.arn}"]}}
apis:
  shop:
    claim_headers: {{x-sub: sub, x-email: email}}
    routes:
      /id: {{GET: {{authorizer: users}}}}
      /access: {{GET: {{authorizer: users, authorization_scopes: [pets/read]}}}}
      /deep/{{rest+}}: {{ANY: {{authorizer: users}}}}
      /{{one}}: {{GET: {{authorizer: users}}}}
      /open: {{GET: {{authorization_type: NONE}}}}
"""
LITERALS = {"/id", "/access", "/open"}
VISIBLE = re.compile(r"[\x20-\x7e]+")
STATUSES = {response.status for response in BUILT_IN.values()}
BODIES = {response.body for response in BUILT_IN.values()}
METHODS = ("GET", "POST", "OPTIONS", "get", "GET ", "CONNECT", "")
PATHS = (
    "/id",
    "/access",
    "/open",
    "/deep/a/b",
    "/open/../id",
    "//open",
    "/open#",
    "/open?x=/id",
    "/open;a",
    "/open/",
    "/access/",
    "/%6fpen",
    "/acces%73",
    "/a%3Ab",
    "/deep/%6fpen",
    "open",
    "",
    "*",
    "/OPEN",
)
HOSTS = ("api.test", "a,b", "", "API.test:80", "x@y", "a.test.")
NAMES = (
    "authorization",
    "Authorization",
    "AUTHORIZATION",
    "x-sub",
    "x_sub",
    "X.Sub",
    "x-email",
    "cookie",
    "x-request-id",
    ":path",
    "x-original-url",
    "",
)
VALUES = (*TOKENS, *(f"Bearer {name}" for name in TOKENS), "<id>,<id>", "Bearer <id> ", "<access> <id>", "", "root", "\u00e9", "a\nb")
CONTEXTS = ({"api": "shop"}, {"api": "bank"}, {"authorizer": "users"}, {"authorization_scopes": "pets/read"}, {"authorizer": ""})


def checker(budget: int) -> Check:
    """Make a check that keeps verdicts in so many bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "authz.yaml"
        path.write_text(FILE)
        gateway = compile_gateway(load(path, {}), lambda _: StaticKeys(POOL))
    engine = Engine(CheckResponses(lambda: ID), budget, now=lambda: NOW, timer=lambda: 0.0, counts=Metrics("fuzz"))
    engine.swap(gateway)
    return Check(engine, lambda: 0.0)


REPEATING, ANEW = checker(2_000_000), checker(0)


def run(octets: bytes) -> None:
    """Hold that a check ends with an answer that it deserves, the same whether or not decisions are repeated.

    Raises:
        AssertionError: when it does not hold.
    """
    request, data = completed(octets)
    answer = ANEW(data)
    assert isinstance(answer, bytes), "keys are at hand, so nothing waits"
    assert answer == REPEATING(data) == REPEATING(data)
    response = CheckResponse.FromString(answer)
    if response.status.code:
        _is_denial(response)
    else:
        assert request is not None, "octets that are no request"
        _is_allow(response, _sent(request.attributes.request.http))
        assert deserves(request), "nothing earns this allow"


def completed(octets: bytes) -> tuple[Any, bytes]:
    """Put tokens into a request: the request as protobuf reads it, or None, and its octets."""
    try:
        request = CheckRequest.FromString(octets)
    except DecodeError:
        return None, octets
    http = request.attributes.request.http
    for name in list(http.headers):
        http.headers[name] = _filled(http.headers[name])
    for line in http.header_map.headers:
        line.value = _filled(line.value)
        line.raw_value = _filled(line.raw_value.decode("latin-1")).encode("latin-1")
    return request, request.SerializeToString()


def _filled(value: str) -> str:
    for name, token in TOKENS.items():
        value = value.replace(name, token)
    return value


def deserves(request: Any) -> bool:
    """Whether a request may pass, read as naively as can be."""
    http, context = request.attributes.request.http, request.attributes.context_extensions
    path = http.path.partition("?")[0].removesuffix("/")
    if "authorizer" not in context:
        if path not in LITERALS and unquote(path) in LITERALS:
            return False
        if path == "/open" and http.method == "GET":
            return True
    if http.HasField("header_map"):
        lines = [line.raw_value.decode("latin-1") or line.value for line in http.header_map.headers if line.key.lower() == "authorization"]
        value = ",".join(lines)
    else:
        value = http.headers["authorization"]
    token = value[7:] if value.lower().startswith("bearer ") else value
    named = context.get("authorizer", "")
    asks_for_scopes = bool(context.get("authorization_scopes", "").strip(" ")) if named else path == "/access"
    return token == GOOD["<access>" if asks_for_scopes else "<id>"]


def _is_denial(response: Any) -> None:
    assert response.WhichOneof("http_response") == "denied_response"
    denied = response.denied_response
    assert denied.status.code in STATUSES
    assert denied.body in BODIES
    _are_headers(denied.headers)


def _sent(http: Any) -> set[str]:
    """Name the headers of a request, in lower case."""
    lines = (line.key for line in http.header_map.headers) if http.HasField("header_map") else http.headers
    return {name.lower() for name in lines}


def _is_allow(response: Any, sent: set[str]) -> None:
    """Each identity header is either set or stripped, and a client's other spellings of one are stripped."""
    assert response.WhichOneof("http_response") == "ok_response"
    allowed = response.ok_response
    written = [option.header.key for option in allowed.headers]
    removed = [name.lower() for name in allowed.headers_to_remove]
    other = {name for name in sent - IDENTITY if re.sub("[^a-z0-9]", "-", name) in IDENTITY}
    assert {*written, *removed} == IDENTITY | other
    assert not {*written} & {*removed}
    assert len(written) == len({*written})
    _are_headers(allowed.headers)


def _are_headers(options: Any) -> None:
    for option in options:
        assert VISIBLE.fullmatch(option.header.value)
        assert not option.header.raw_value
        assert option.HasField("append")
        assert not option.append.value
        assert option.append_action == 2, "OVERWRITE_IF_EXISTS_OR_ADD"


def mutate(octets: bytes, chance: random.Random, anyhow: Mutate) -> bytes:
    """Change one field; raw octets now and then."""
    try:
        request = CheckRequest.FromString(octets)
    except DecodeError:
        return anyhow(octets)
    http = request.attributes.request.http
    match chance.randrange(9):
        case 0:
            http.method = chance.choice(METHODS)
        case 1 | 2:
            http.path = chance.choice(PATHS) + chance.choice(("", "", chance.choice(PATHS)))
        case 3:
            http.host = chance.choice(HOSTS)
        case 4 | 5:
            http.headers[chance.choice(NAMES)] = chance.choice(VALUES)
        case 6:
            line = http.header_map.headers.add(key=chance.choice(NAMES))
            setattr(line, *chance.choice((("value", chance.choice(VALUES)), ("raw_value", chance.choice(VALUES).encode()))))
        case 7:
            request.attributes.context_extensions.update(chance.choice(CONTEXTS))
        case _:
            return anyhow(octets)
    return bytes(request.SerializeToString())


def seeds() -> dict[str, bytes]:
    """Make inputs to begin with: a request of each kind."""

    def asked(path: str, value: str = "", *, lines: Sequence[str] = (), **context: str) -> bytes:
        request = CheckRequest()
        http = request.attributes.request.http
        http.method, http.path, http.host = "GET", path, "api.test"
        for line in lines:
            http.header_map.headers.add(key="Authorization", raw_value=line.encode())
        if value:
            http.headers["authorization"] = value
        request.attributes.context_extensions.update(context)
        return bytes(request.SerializeToString())

    return {
        "open": asked("/open", "<forged>"),
        "id": asked("/id?x=1", "Bearer <id>"),
        "access": asked("/access", "<access>"),
        "line": asked("/deep/a/b", lines=["bearer <id>"]),
        "lines": asked("/id", lines=["<expired>", "<id>"]),
        "both": asked("/id", "<id>", lines=["<forged>"]),
        "api": asked("/id", "<id>", api="shop"),
        "named": asked("/any", "<access>", api="shop", authorizer="users", authorization_scopes="pets/read pets/write"),
        "expired": asked("/id", "<expired>"),
        "none": asked("/id"),
    }
