"""Loaded: a configuration together with what its file's place and the environment say about it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from authz_server.config import schema
from authz_server.config.authorizers import Issuers
from authz_server.config.problems import ConfigurationWarning
from authz_server.core.user_pools import Arn, KeySettings, UserPool

_AT_AWS: Final = schema.UserPool()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that was read.

    Args:
        path: of its file; key set and certificate files are found beside it.
        configuration: what it says.
        endpoint: URL of the Cognito service, without a slash at the end, or "" for AWS's own.
        warnings: what is valid and probably a mistake, in the order of the file.
    """

    path: Path
    configuration: schema.Configuration
    endpoint: str = ""
    warnings: tuple[ConfigurationWarning, ...] = ()
    _pools: dict[Arn, UserPool] = field(default_factory=dict, init=False, compare=False, repr=False)

    def authorizers(self, api: schema.Api) -> dict[str, Issuers]:
        """Find the authorizers that an api can use.

        Args:
            api: whose stage variables are filled in.

        Returns:
            The issuers of each authorizer by name, without those that want a stage variable which the api lacks.
        """
        found = {}
        for name, authorizer in self.configuration.authorizers.items():
            try:
                found[name] = authorizer.issuers(self, api.stage_variables)
            except ValueError:  # no route of the api uses it, or the configuration would not have loaded
                continue
        return found

    @property
    def asks_the_service(self) -> bool:
        """Whether the keys of some user pool come from the Cognito service, and not from a place of the file's."""
        apis = self.configuration.apis.values()
        pools = (pool for api in apis for issuers in self.authorizers(api).values() for _, pool in issuers)
        overrides = (self.configuration.user_pools.get(pool.id, _AT_AWS) for pool in pools)
        return any(override.jwks_uri is None and override.jwks_file is None for override in overrides)

    def user_pool(self, arn: Arn) -> UserPool:
        """Find the issuer of a user pool and the place of its keys.

        Args:
            arn: of the pool.

        Returns:
            The pool: `user_pools` decides, then the endpoint of the environment, then AWS.

        Source: Cognito guide, "Verifying JSON web tokens" (`/.well-known/jwks.json` below the issuer).
        """
        pool = self._pools.get(arn)
        if pool is None:
            override = self.configuration.user_pools.get(arn.pool_id, _AT_AWS)
            issuer, settings = override.issuer or arn.issuers[0], self._key_settings(override)
            pool = self._pools[arn] = UserPool(id=arn.pool_id, issuer=issuer, jwks=self._jwks(arn, override), settings=settings)
        return pool

    def _key_settings(self, override: schema.UserPool) -> KeySettings:
        keys = self.configuration.keys
        ca_file = override.ca_file or keys.ca_file
        return KeySettings(
            stale_ceiling=override.stale_ceiling_in_seconds or keys.stale_ceiling_in_seconds,
            ca_file=None if ca_file is None else str(self.path.parent.absolute() / ca_file),
        )

    def _jwks(self, arn: Arn, override: schema.UserPool) -> str:
        if override.jwks_uri is not None:
            return override.jwks_uri
        if override.jwks_file is not None:
            return str(self.path.parent.absolute() / override.jwks_file)
        return f"{self.endpoint}/{arn.pool_id}/.well-known/jwks.json" if self.endpoint else arn.jwks

    def issuers(self, arn: Arn) -> tuple[str, ...]:
        """List the issuers that the tokens of a user pool name, without the updated one."""
        override = self.configuration.user_pools.get(arn.pool_id, _AT_AWS)
        return (override.issuer,) if override.issuer else arn.issuers
