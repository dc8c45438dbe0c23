"""User pools: what an ARN says about the issuer of a pool's tokens and the place of its keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Partition and the suffix of its issuers. aws-cn and aws-eusc are unconfirmed; `user_pools.<id>.issuer` overrides them.
SUFFIXES: Final = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}

_ARN: Final = re.compile(r"arn:([a-z0-9-]+):cognito-idp:([a-z0-9-]+):(\d{12}):userpool/([\w-]+_[0-9A-Za-z]+)", re.ASCII)
_MAX_ID_LENGTH: Final = 55

SERVICE_ENDPOINT: Final = "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"
ANY_ENDPOINT: Final = "AWS_ENDPOINT_URL"
IGNORE_ENDPOINTS: Final = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """How the keys of a user pool are kept.

    Args:
        stale_ceiling: seconds for which keys are used after their last good fetch.
        ca_file: path of the certificates that the place of the keys is checked against, or None for the system's.
    """

    stale_ceiling: float = 86_400.0
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPool:
    """A user pool whose tokens are accepted.

    Args:
        id: such as `eu-west-1_Ab1Cd2Ef3`.
        issuer: the exact `iss` of its tokens.
        jwks: where its keys are: an absolute URL, or the path of a file.
        settings: how they are kept; a pool that differs in these alone is the same pool.
    """

    id: str
    issuer: str
    jwks: str
    settings: KeySettings = field(default=KeySettings(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arn:
    """The ARN of a user pool.

    Args:
        partition: such as `aws`.
        region: of the pool, or of the replica that the ARN names.
        pool_id: begins with the primary region, also in a replica's ARN.
    """

    partition: str
    region: str
    pool_id: str

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers of the pool's tokens: in the primary region, and in the ARN's where that is a replica's.

        Source: aws-jwt-verify #282, an owner of a replicated pool: since 28 July 2026 a replica's tokens name the primary region; before,
            they named the replica's.
        """
        return tuple(dict.fromkeys(self._issuer(region) for region in (self._primary_region, self.region)))

    @property
    def jwks(self) -> str:
        """The URL of the pool's keys: at the ARN's region, which may be the only one in reach.

        Source: Cognito guide, "Verifying JSON web tokens" (`/.well-known/jwks.json` below the issuer).
        """
        return f"{self._issuer(self.region)}/.well-known/jwks.json"

    @property
    def _primary_region(self) -> str:
        return self.pool_id.partition("_")[0]

    def _issuer(self, region: str) -> str:
        return f"https://cognito-idp.{region}.{SUFFIXES[self.partition]}/{self.pool_id}"

    @property
    def updated_issuer(self) -> str:
        """The issuer of a pool that was switched to `IssuerConfiguration.Type = UPDATED`; the region is the primary one.

        Source: Cognito guide, "Federation endpoints"; API Gateway does not accept it.
        """
        return f"https://issuer-cognito-idp.{self._primary_region}.{SUFFIXES[self.partition]}/{self.pool_id}"


def parse_arn(text: str) -> Arn:
    """Read the ARN of a user pool.

    Args:
        text: `arn:{partition}:cognito-idp:{region}:{account}:userpool/{poolId}`.

    Returns:
        Its parts.

    Raises:
        ValueError: with what is wrong about it.

    Source: Cognito API reference, `UserPoolIdType`; service authorization reference, Cognito user pools.
    """
    found = _ARN.fullmatch(text)
    if found is None or len(found[4]) > _MAX_ID_LENGTH:
        raise ValueError(f"{text!r} is no user pool ARN, expected arn:{{partition}}:cognito-idp:{{region}}:{{account}}:userpool/{{poolId}}")
    if found[1] not in SUFFIXES:
        raise ValueError(f"{text!r}: partition {found[1]!r} has no user pools, expected one of {', '.join(SUFFIXES)}")
    return Arn(partition=found[1], region=found[2], pool_id=found[4])


def configured_endpoint(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Find the endpoint that stands for the Cognito service.

    Args:
        environment: value by name.

    Returns:
        The variable that names it, the service's own before the one for all services, and its value; None where AWS's own is meant.

    Source: AWS SDKs and tools reference guide, "Service-specific endpoints".
    """
    if environment.get(IGNORE_ENDPOINTS, "").lower() == "true":
        return None
    return next(((name, url) for name in (SERVICE_ENDPOINT, ANY_ENDPOINT) if (url := environment.get(name))), None)
