"""Fields: the texts that a configuration is made of, each checked once, with the pattern that editors get to see."""

import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from authz_server.config import arns, patterns
from authz_server.config.expressions import expression
from authz_server.config.problems import show
from authz_server.config.scalars import resolve
from authz_server.config.variables import Substituted, has_stage_variables
from authz_server.core.routes import parse

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_OTHER_IDENTITY_SOURCE: Final = re.compile(r"(?:\$?request\.header\.)?([A-Za-z0-9_-]+)")  # of an HTTP API, or the bare header
_HEADER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"

# Headers that route a request, frame it, authenticate it or trace it: a claim in their place breaks more than it tells.
TAKEN_HEADERS: Final = frozenset(
    {
        *("host", "authorization", "cookie", "expect", "x-request-id"),
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
        *("content-length", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_TAKEN_PREFIXES: Final = ("x-envoy-", "x-forwarded-")
# What oauth2-proxy calls the identity that it hands on; of all that begins like this they alone say nothing about the way of a request.
_IDENTITY_HEADERS: Final = frozenset({f"x-forwarded-{name}" for name in ("user", "email", "groups", "preferred-username")})


def identity_header(identity_source: str) -> str:
    """Name the header that an identity source means, in lower case."""
    return identity_source.removeprefix("method.request.header.").lower()


def _version(value: int) -> int:
    if value != 1:
        raise ValueError(f"version {value} is not known, expected 1")
    return value


def _text(value: str) -> str:
    if not value:
        raise ValueError("empty text, expected at least one character")
    if _CONTROL.search(value):
        raise ValueError(f"{show(value)} holds a line break or another control character")
    return value


def _arn(value: str) -> str:
    if not has_stage_variables(value):
        arns.parse(value)
    return value


def _identity_source(value: str) -> str:
    if re.fullmatch(patterns.IDENTITY_SOURCE, value):
        return value
    other = _OTHER_IDENTITY_SOURCE.fullmatch(value)
    if other:
        raise ValueError(f"write method.request.header.{other[1]} here, not {show(value)}")
    raise ValueError(
        f"{show(value)} is no identity source, expected one header, method.request.header.NAME; "
        "this type of authorizer reads no query string and no second source"
    )


def _expression(value: str) -> str:
    expression(value)
    return value


def _scope(value: str) -> str:
    if not re.fullmatch(patterns.SCOPE, value):
        raise ValueError(f"{show(value)} is no scope, expected 1 to 256 characters without space, quote and backslash")
    return value


def _host(value: str) -> str:
    if value == "*":
        raise ValueError("'*' is no host; leave `hosts` out to serve every host that no other api names")
    if not re.fullmatch(patterns.HOST, value):
        raise ValueError(f"{show(value)} is no host, expected a name such as api.example.com or *.example.com, without scheme and port")
    return value.lower()


def _base_path(value: str) -> str:
    try:
        literal = not any(segment.parameter for segment in parse(value or "/"))
    except ValueError:
        literal = False
    if not literal:
        raise ValueError(f"{show(value)} is no base path, expected literal segments such as /prod or /a/b, without a slash at the end")
    return value


def _claim_header(value: str) -> str:
    name = value.lower()
    if not re.fullmatch(_HEADER, value):
        raise ValueError(f"{show(value)} is no header name, expected letters, digits and - as in x-auth-sub")
    if name in TAKEN_HEADERS or (name.startswith(_TAKEN_PREFIXES) and name not in _IDENTITY_HEADERS):
        raise ValueError(
            f"header {value!r} can not carry a claim, HTTP or Envoy gives it another meaning; expected a name such as x-auth-sub"
        )
    return value


def _stage_variable(value: str) -> str:
    if not re.fullmatch(patterns.STAGE_VARIABLE_NAME, value):
        raise ValueError(f"{show(value)} is no name of a stage variable, expected letters, digits and _")
    return value


def _resolved(value: Any) -> Any:
    """Read what a variable of the environment gave as a plain scalar; text that was written as text stays text."""
    return resolve(str(value)) if isinstance(value, Substituted) else value


def _whole(value: Any) -> Any:
    """Take 300.0 for 300, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _between(low: int, high: int) -> WithJsonSchema:
    return patterns.or_variable({"type": "integer", "minimum": low, "maximum": high})


_CLAIM_HEADER: Final = (
    rf"(?!{patterns.one_of(sorted(TAKEN_HEADERS))}$)"
    rf"(?!(?!{patterns.one_of(sorted(_IDENTITY_HEADERS))}$){patterns.one_of(_TAKEN_PREFIXES)}){_HEADER}"
)

Version = Annotated[int, Strict(), BeforeValidator(_whole), AfterValidator(_version), WithJsonSchema({"type": "integer", "const": 1})]
Text = Annotated[str, AfterValidator(_text), patterns.text()]
Name = Annotated[str, AfterValidator(_text), patterns.key()]
ArnText = Annotated[Text, AfterValidator(_arn), patterns.text(patterns.ARN, staged=True)]
IdentitySource = Annotated[Text, AfterValidator(_identity_source), patterns.text(patterns.IDENTITY_SOURCE)]
ExpressionText = Annotated[Text, AfterValidator(_expression)]
Scope = Annotated[str, AfterValidator(_scope), patterns.text(patterns.SCOPE)]
Host = Annotated[str, AfterValidator(_host), patterns.text(patterns.HOST)]
BasePath = Annotated[str, AfterValidator(_base_path), patterns.text(patterns.BASE_PATH)]
Template = Annotated[str, AfterValidator(_text), patterns.key(patterns.TEMPLATE)]
ClaimHeader = Annotated[str, AfterValidator(_claim_header), patterns.key(_CLAIM_HEADER)]
StageVariable = Annotated[str, AfterValidator(_stage_variable), patterns.key(patterns.STAGE_VARIABLE_NAME)]
Url = Annotated[Text, patterns.text(patterns.URL)]
AuthorizationType = Annotated[Literal["NONE", "COGNITO_USER_POOLS"], patterns.words("NONE", "COGNITO_USER_POOLS")]
Overflow = Annotated[Literal["drop", "deny"], patterns.words("drop", "deny")]
WarningName = Literal[
    "region_differs",
    "unknown_region",
    "expression_matches_nothing",
    "expression_with_scopes",
    "unused_authorizer",
    "any_app_client",
    "updated_issuer",
    "unusable_identity_source",
    "no_apis",
    "api_without_routes",
    "public_under_protected",
    "less_guarded_method",
    "plaintext_keys",
    "claim_headers_collide",
]
IgnoreWarnings = tuple[Annotated[WarningName, patterns.words(*get_args(WarningName))], ...]
Boolean = Annotated[bool, Strict(), BeforeValidator(_resolved), patterns.or_variable({"type": "boolean"})]
Whole = Annotated[int, Strict(), BeforeValidator(_whole), BeforeValidator(_resolved)]
StaleCeiling = Annotated[Whole, Field(ge=60, le=604_800), _between(60, 604_800)]
Seconds = Annotated[Whole, Field(ge=0, le=3_600), _between(0, 3_600)]
