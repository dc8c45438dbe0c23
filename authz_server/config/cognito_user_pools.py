"""API Gateway's `COGNITO_USER_POOLS` authorizer, as it is configured."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from authz_server.config import arns
from authz_server.config.authorizers import AuthorizerModel, Issuers
from authz_server.config.expressions import expression
from authz_server.config.fields import ArnText, Boolean, ExpressionText, Text
from authz_server.config.patterns import words
from authz_server.config.variables import fill
from authz_server.core.authorizers import Authorizer
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.user_pools import Arn

if TYPE_CHECKING:
    from authz_server.config.loaded import Loaded
    from authz_server.config.sentences import Location


def _lower(value: Any) -> Any:
    """Take API Gateway's own spelling, which its OpenAPI extension writes in small letters."""
    return "cognito_user_pools" if value == "COGNITO_USER_POOLS" else value


class CognitoUserPools(AuthorizerModel):
    """An API Gateway authorizer: where the token is, and which user pools may have issued it."""

    NAMES = ("cognito_user_pools", "COGNITO_USER_POOLS")

    type: Annotated[Literal["cognito_user_pools"], BeforeValidator(_lower), words(*NAMES)] = Field(
        description="API Gateway's COGNITO_USER_POOLS.", examples=["cognito_user_pools"]
    )
    provider_arns: tuple[ArnText, ...] = Field(
        min_length=1,
        max_length=1000,
        description="ARNs of the user pools, arn:{partition}:cognito-idp:{region}:{account}:userpool/{poolId}; "
        "a part may be ${stageVariables.NAME}, filled in for each api.",
        examples=[["arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Ab1Cd2Ef3"]],
    )
    identity_validation_expression: ExpressionText | None = Field(
        default=None, description="RE2 expression that must match the whole `aud` of a token; access tokens mostly have none."
    )
    app_clients: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="App clients whose tokens are accepted: `aud` of an ID token, `client_id` of an access token. All, if left out.",
    )
    accept_updated_issuer: Boolean = Field(
        default=False, description="Whether the user pools' updated issuer (https://issuer-cognito-idp.…) is accepted as well."
    )

    def arns(self, stage_variables: Mapping[str, str]) -> tuple[Arn, ...]:
        """Read the ARNs of the user pools.

        Args:
            stage_variables: of the api that uses the authorizer.

        Raises:
            ValueError: for a stage variable that the api lacks, or one that makes no ARN.
        """
        return tuple(arns.parse(fill(text, stage_variables)) for text in self.provider_arns)

    def issuers(self, loaded: "Loaded", stage_variables: Mapping[str, str]) -> Issuers:
        """List the issuers of the user pools, see `AuthorizerModel`; one that several pools have stands several times."""
        return tuple((issuer, loaded.user_pool(arn)) for arn in self.arns(stage_variables) for issuer in self._issuers(loaded, arn))

    def _issuers(self, loaded: "Loaded", arn: Arn) -> tuple[str, ...]:
        issuers = loaded.issuers(arn)
        return (*issuers, arn.updated_issuer) if self.accept_updated_issuer else issuers

    def mistakes(self, stage_variables: Mapping[str, str]) -> "Iterator[tuple[Location, str]]":
        """Find the ARNs that the stage variables of an api leave incomplete or make wrong."""
        for index, text in enumerate(self.provider_arns):
            try:
                arns.parse(fill(text, stage_variables))
            except ValueError as error:
                yield ("provider_arns", index), str(error)

    def maker(self) -> tuple[Callable[..., Authorizer], tuple[tuple[str, Any], ...]]:
        """Give what makes the authorizer, see `AuthorizerModel`."""
        text = self.identity_validation_expression
        return cognito_user_pools, (
            ("expression", None if text is None else expression(text)),
            ("app_clients", None if self.app_clients is None else frozenset(self.app_clients)),
        )

    def takes_all_of(self, other: AuthorizerModel) -> bool:
        """Compare user pools, app clients, the expression and the updated issuer."""
        if not isinstance(other, CognitoUserPools):
            return False
        clients = self.app_clients is None or (other.app_clients is not None and set(self.app_clients) >= set(other.app_clients))
        return (
            set(self.provider_arns) >= set(other.provider_arns)
            and clients
            and self.identity_validation_expression in {None, other.identity_validation_expression}
            and self.accept_updated_issuer >= other.accept_updated_issuer
        )

    def summary(self) -> str:
        """Name the user pools, the app clients and the expression."""
        pools = ", ".join(arn.rpartition("/")[2] for arn in self.provider_arns)
        clients = "any app client" if self.app_clients is None else f"app clients {', '.join(self.app_clients)}"
        matching = self.identity_validation_expression
        return f"tokens of {pools}, {clients}{'' if matching is None else f', aud matching {matching}'}"
