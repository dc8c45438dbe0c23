"""Whatever a configuration file says, it opens no route that it does not call public. An input is the file."""

import random
import tempfile
from pathlib import Path

from authz_server.config import ConfigurationError, compile_gateway, load
from authz_server.core.decisions import Allow, Deny
from authz_server.core.request import Request
from authz_server.core.routes import METHODS
from authz_server.testing import StaticKeys, UserPool
from fuzz.mutation import Mutate, lines

FULL = Path(__file__).parents[1] / "tests/config/full.yaml"
KEYS = StaticKeys(UserPool("eu-west-1_Fuzzed001"))
ENVIRONMENT = {"A": "a", "ARN": "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_Fuzzed001", "DEEP": "${A}"}
FILE = Path(tempfile.mkdtemp(prefix="authz-fuzz-")) / "authz.yaml"
SMALL = b"""\
version: 1
authorizers:
  users: {type: cognito_user_pools, provider_arns: ["${ARN}"]}
apis:
  shop:
    hosts: [a.test, "*.b.test"]
    base_path: /prod
    claim_headers: {x-sub: sub}
    routes:
      /pets/{id}:
        GET: {authorizer: users}
      /open/{rest+}:
        ANY: {authorization_type: NONE}
"""
WORDS = tuple(
    word.encode()
    for word in (
        *(
            "",
            "null",
            "~",
            "true",
            "no",
            "0",
            "1",
            "-1",
            "1.5",
            "1e9",
            ".nan",
            "0x1F",
            "[]",
            "{}",
            "[a, b]",
            "{a: 1}",
            '""',
            "'x'",
            "|",
            ">-",
        ),
        *("&a", "*a", "<<", "!!str 1", "!!binary AA==", "---", "...", "%YAML 1.2", "? a", "- a", "# x", "\t", "\u00e4", "\u2028"),
        *("${A}", "${B}", "$${A}", "${ARN}", "${DEEP}", "${stageVariables.x}", "NONE", "AWS_IAM", "cognito_user_pools", "http", "rest"),
        *(
            "/",
            "/{p+}",
            "/{p}",
            "/a//b",
            "/../a",
            "/%2e",
            "*",
            "*.test",
            "a.test:80",
            "x-sub",
            "authorization",
            "users",
            "shop",
            "GET",
            "ANY",
        ),
        *("authorizer", "authorization_type", "authorization_scopes", "routes", "apis", "authorizers", "user_pools", "identity_source"),
        *("identity_validation_expression", "(a*)*b", "(?=a)", "a{1000}{1000}", "base_path", "hosts", "jwks_uri", "http://a", "jwks_file"),
    )
)


def run(octets: bytes) -> None:
    """Hold that a file is a configuration that guards its routes, or problems with their places.

    Raises:
        AssertionError: when it does not hold.
    """
    FILE.write_bytes(octets)
    try:
        loaded = load(FILE, ENVIRONMENT)
    except ConfigurationError as error:
        _are_placed(error, octets)
        return
    gateway = compile_gateway(loaded, lambda _: KEYS)
    for name, api in loaded.configuration.apis.items():
        for template, methods in api.routes.items():
            path = "".join(f"/{segment}" for segment in [*api.base_segments, *_sample(template)]) or "/"
            for method, settings in methods.items():
                sent = min(METHODS - set(methods), default="") if method == "ANY" else method
                asked = Request(sent, "any", path, {"authorization": "x"}, {"api": name})
                decision = gateway.decide(asked, 0.0)
                assert isinstance(decision, Allow if settings.authorizer is None else Deny) or _is_hidden(decision), (template, method)


def _are_placed(error: ConfigurationError, octets: bytes) -> None:
    assert error.problems
    last = len(octets.decode("utf-8", "replace").splitlines()) + 1
    for problem in error.problems:
        assert 1 <= problem.line <= last
        assert problem.column >= 1
        assert problem.message


def _sample(template: str) -> list[str]:
    """Fill a template's parameters."""
    return ["x" if segment.startswith("{") else segment for segment in template.split("/")[1:] if segment]


def _is_hidden(decision: object) -> bool:
    """Whether a better template took the path, or the path is one that is refused anyway."""
    return isinstance(decision, Deny) and decision.response.status in {400, 403}


def mutate(octets: bytes, chance: random.Random, anyhow: Mutate) -> bytes:
    """Change lines, their depth, keys and values."""
    return lines(octets, chance, anyhow, WORDS)


def seeds() -> dict[str, bytes]:
    """Make inputs to begin with: the full example, a small one, and none."""
    return {"full": FULL.read_bytes(), "small": SMALL, "empty": b""}
