"""The schema: what a configuration may say, as frozen models. The JSON Schema for editors is made from them."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

from authz_server.config.authorizer_types import any_type
from authz_server.config.authorizers import IGNORE_WARNINGS, AuthorizerModel
from authz_server.config.fields import (
    AuthorizationType,
    BasePath,
    Boolean,
    ClaimHeader,
    Host,
    IgnoreWarnings,
    Name,
    Overflow,
    Scope,
    StageVariable,
    StaleCeiling,
    Template,
    Text,
    Url,
    Version,
)
from authz_server.config.model import Model
from authz_server.config.patterns import OPEN_URL, words
from authz_server.config.urls import check_url
from authz_server.core.routes import HttpMethod, parse

NONE: Final = "NONE"

if TYPE_CHECKING:
    AnyAuthorizer = AuthorizerModel
else:
    AnyAuthorizer = any_type()

_GUARDED_OR_PUBLIC: Final[JsonDict] = {
    "anyOf": [
        {"required": ["authorizer"], "properties": {"authorization_type": {"not": {"const": NONE}}}},
        {
            "required": ["authorization_type"],
            "properties": {
                "authorization_type": {"not": {"const": "COGNITO_USER_POOLS"}},
                "authorizer": False,
                "authorization_scopes": {"maxItems": 0},
            },
        },
    ]
}


class Method(Model):
    """What one method of a resource asks for."""

    model_config = ConfigDict(json_schema_extra=_GUARDED_OR_PUBLIC)

    authorizer: Text | None = Field(default=None, description="Name of an authorizer.")
    authorization_scopes: tuple[Scope, ...] = Field(
        default=(), description="An access token must have any one of these. Without them, the method takes ID tokens only."
    )
    authorization_type: AuthorizationType | None = Field(
        default=None, description="NONE makes the method public. COGNITO_USER_POOLS needs an authorizer, and may be left out beside one."
    )
    ignore_warnings: IgnoreWarnings = Field(default=(), description=IGNORE_WARNINGS)

    @model_validator(mode="after")
    def _is_decided(self) -> "Method":
        if self.authorization_type == NONE and (self.authorizer is not None or self.authorization_scopes):
            raise ValueError("authorization_type NONE makes a method public, it can not have an authorizer or scopes")
        if self.authorization_type != NONE and self.authorizer is None:
            raise ValueError("this method has no authorizer; only `authorization_type: NONE` makes a method public")
        return self


def _metadata_kind(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return "list"
    return "word" if value in ("off", "all") else None


DynamicMetadata = Annotated[
    Annotated[Literal["off", "all"], Tag("word"), words("off", "all")] | Annotated[tuple[Text, ...], Field(min_length=1), Tag("list")],
    Discriminator(_metadata_kind, custom_error_type="dynamic_metadata", custom_error_message="expected off, all or a list of claims"),
]


class Api(Model):
    """An api as it is deployed to one stage, with its resources and their methods."""

    hosts: Annotated[tuple[Host, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Exact host names, or *.example.com for every name below it. Any host that no other api names, if left out.",
    )
    base_path: BasePath = Field(default="", description="Literal path that is stripped before routes are matched, such as /prod.")
    stage_variables: dict[StageVariable, Text] = Field(default={}, description="Values for ${stageVariables.NAME} in provider_arns.")
    claim_headers: dict[ClaimHeader, Text] = Field(
        default={},
        description="Request header for the upstream: claim that it carries. A client's own copies of these headers are removed.",
    )
    claim_headers_overflow: Overflow = Field(
        default="drop",
        description="Beyond 8 KiB of claim headers: drop leaves out each header that does not fit any more, deny denies the request.",
    )
    forward_token: Boolean = Field(default=True, description="Whether the token goes on to the upstream, as on API Gateway.")
    dynamic_metadata: DynamicMetadata = Field(default="off", description="Claims for Envoy's dynamic metadata: off, all, or a list.")
    log_claims: tuple[Text, ...] = Field(default=(), description="Claims that may appear in the decision log.")
    routes: dict[Template, dict[Literal[HttpMethod, "ANY"], Method]] = Field(
        default={}, description="Resource template, such as /pets/{petId} or /files/{proxy+}: method: what it asks for."
    )
    ignore_warnings: IgnoreWarnings = Field(default=(), description=IGNORE_WARNINGS)

    @property
    def base_segments(self) -> tuple[str, ...]:
        """The segments of the base path, none for the root."""
        return tuple(segment.text for segment in parse(self.base_path or "/"))


_CA_FILE: Final = "File of certificates (PEM) to trust for key sets instead of the system's, relative to the configuration file."
_STALE_CEILING: Final = "How long keys are used after their last good fetch, 60 to 604800: an outage of their endpoint may take as long."


class Keys(Model):
    """How the keys of all user pools are kept."""

    ca_file: Text | None = Field(default=None, description=_CA_FILE)
    stale_ceiling_in_seconds: StaleCeiling = Field(default=86_400, description=_STALE_CEILING)


_ONE_TRUSTWORTHY_PLACE: Final[JsonDict] = {
    "not": {"required": ["jwks_uri", "jwks_file"]},
    "anyOf": [
        {"properties": {"jwks_uri": {"not": {"pattern": f"^{OPEN_URL}"}}}},
        {"required": ["allow_http"], "properties": {"allow_http": {"not": {"const": False}}}},
    ],
}


class UserPool(Model):
    """Where the keys of a user pool are, when they are not at AWS, and how they are kept, when it is not as `keys` says."""

    model_config = ConfigDict(json_schema_extra=_ONE_TRUSTWORTHY_PLACE)

    allow_http: Boolean = Field(default=False, description="Whether jwks_uri may be http to a host that is not this one. For tests only.")
    jwks_uri: Url | None = Field(default=None, description="URL of the key set: https, or http to a loopback address.")
    jwks_file: Text | None = Field(default=None, description="File that holds the key set, relative to the configuration file.")
    issuer: Text | None = Field(
        default=None, description="The `iss` of the pool's tokens, where it is not the one that follows from the ARN."
    )
    ca_file: Text | None = Field(default=None, description=_CA_FILE)
    stale_ceiling_in_seconds: StaleCeiling | None = Field(default=None, description=_STALE_CEILING)
    ignore_warnings: IgnoreWarnings = Field(default=(), description=IGNORE_WARNINGS)

    @field_validator("jwks_uri")
    @classmethod
    def _is_trustworthy(cls, value: str, info: ValidationInfo) -> str:
        return check_url(value, allow_http=info.data.get("allow_http", True))

    @model_validator(mode="after")
    def _has_one_place(self) -> "UserPool":
        if self.jwks_uri is not None and self.jwks_file is not None:
            raise ValueError("jwks_uri and jwks_file exclude each other, expected one of them")
        return self


class Configuration(Model):
    """Configuration of authz-server."""

    version: Version = Field(description="Version of this format.", examples=[1])
    authorizers: dict[Name, AnyAuthorizer] = Field(default={}, description="Authorizers by name.")
    apis: dict[Name, Api] = Field(default={}, description="Apis by name.")
    user_pools: dict[Name, UserPool] = Field(default={}, description="By pool id: where keys come from when it is not AWS.")
    keys: Keys = Field(default_factory=Keys, description="How keys are kept, where `user_pools` does not say otherwise.")
    ignore_warnings: IgnoreWarnings = Field(default=(), description=IGNORE_WARNINGS)


class _WithoutNull(GenerateJsonSchema):
    """Leaves out null, which can not be written: what is absent by default is simply absent."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def json_schema() -> dict[str, Any]:
    """Describe the configuration format to editors and other tools.

    Returns:
        A JSON Schema, as JSON values.

    Source: JSON Schema, draft 2020-12.
    """
    return {"$schema": GenerateJsonSchema.schema_dialect, **Configuration.model_json_schema(schema_generator=_WithoutNull)}
