"""Fields: the texts that a configuration is made of, each checked once, with the pattern that editors get to see."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from authz_server.config.expressions import expression
from authz_server.config.problems import show
from authz_server.config.scalars import resolve
from authz_server.config.variables import has_stage_variables
from authz_server.core.routes import parse
from authz_server.core.user_pools import parse_arn

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_IDENTITY_SOURCE: Final = r"method\.request\.header\.[A-Za-z0-9._-]+"
_SCOPE: Final = r"[!#-\[\]-~]{1,256}"
_HOST: Final = r"(\*\.)?([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+|\[[0-9A-Fa-f:.]+\]"
_BASE_PATH: Final = r"/?|(/[A-Za-z0-9_.,:~-]+)+"
_HEADER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_STAGE_VARIABLE: Final = r"[A-Za-z0-9_]+"

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
        parse_arn(value)
    return value


def _identity_source(value: str) -> str:
    if not re.fullmatch(_IDENTITY_SOURCE, value):
        raise ValueError(
            f"{show(value)} is no identity source, expected one header, method.request.header.NAME; "
            "this type of authorizer reads no query string and no second source"
        )
    return value


def _expression(value: str) -> str:
    expression(value)
    return value


def _scope(value: str) -> str:
    if not re.fullmatch(_SCOPE, value):
        raise ValueError(f"{show(value)} is no scope, expected 1 to 256 characters without space, quote and backslash")
    return value


def _host(value: str) -> str:
    if value == "*":
        raise ValueError("'*' is no host; leave `hosts` out to serve every host that no other api names")
    if not re.fullmatch(_HOST, value):
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
    if not re.fullmatch(_STAGE_VARIABLE, value):
        raise ValueError(f"{show(value)} is no name of a stage variable, expected letters, digits and _")
    return value


def _resolved(value: Any) -> Any:
    """Read text as a plain scalar: a number or boolean may come out of the environment."""
    return resolve(value) if isinstance(value, str) else value


def _schema(pattern: str) -> WithJsonSchema:
    """Show editors a pattern, which is only sure of texts without variables."""
    return WithJsonSchema({"type": "string", "pattern": rf"^({pattern})$|\$\{{"})


def _key_schema(pattern: str) -> WithJsonSchema:
    """Show editors the pattern of a key, in a form that makes them refuse all others."""
    return WithJsonSchema({"type": "string", "allOf": [{"pattern": f"^({pattern})$"}]})


def _or_variable(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, {"type": "string", "pattern": r"^\$\{[A-Z_][A-Z0-9_]*\}$"}]})


Version = Annotated[int, Strict(), AfterValidator(_version), WithJsonSchema({"type": "integer", "const": 1})]
Text = Annotated[str, AfterValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})]
ArnText = Annotated[Text, AfterValidator(_arn)]
IdentitySource = Annotated[Text, AfterValidator(_identity_source), _schema(_IDENTITY_SOURCE)]
ExpressionText = Annotated[Text, AfterValidator(_expression)]
Scope = Annotated[str, AfterValidator(_scope), _schema(_SCOPE)]
Host = Annotated[str, AfterValidator(_host), _schema(_HOST)]
BasePath = Annotated[str, AfterValidator(_base_path), _schema(_BASE_PATH)]
ClaimHeader = Annotated[str, AfterValidator(_claim_header), _key_schema(_HEADER)]
StageVariable = Annotated[str, AfterValidator(_stage_variable), _key_schema(_STAGE_VARIABLE)]
Boolean = Annotated[bool, Strict(), BeforeValidator(_resolved), _or_variable({"type": "boolean"})]
StaleCeiling = Annotated[
    int,
    Strict(),
    BeforeValidator(_resolved),
    Field(ge=60, le=604_800),
    _or_variable({"type": "integer", "minimum": 60, "maximum": 604_800}),
]
Seconds = Annotated[
    int, Strict(), BeforeValidator(_resolved), Field(ge=0, le=3600), _or_variable({"type": "integer", "minimum": 0, "maximum": 3600})
]
