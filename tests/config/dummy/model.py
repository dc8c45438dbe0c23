"""A type of authorizer that tests add: the other of two files, its configuration."""

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from authz_server.config import arns
from authz_server.config.authorizers import AuthorizerModel, Issuers
from authz_server.config.fields import ArnText, Text
from authz_server.config.variables import fill
from tests.config.dummy.rules import machines


class Machines(AuthorizerModel):
    """An authorizer that takes the tokens of machines."""

    NAMES = ("machines",)

    type: Literal["machines"] = Field(description="Ours.", examples=["machines"])
    user_pool: ArnText = Field(description="ARN of the user pool.", examples=["arn"])
    prefix: Text = Field(description="How the app clients begin.", examples=["machine-"])

    def issuers(self, loaded, stage_variables: Mapping[str, str]) -> Issuers:
        """List the one issuer."""
        arn = arns.parse(fill(self.user_pool, stage_variables))
        return ((arn.issuers[0], loaded.user_pool(arn)),)

    def mistakes(self, stage_variables: Mapping[str, str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Look at the ARN."""
        try:
            arns.parse(fill(self.user_pool, stage_variables))
        except ValueError as error:
            yield ("user_pool",), str(error)

    def maker(self):
        """Give what makes the authorizer."""
        return machines, (("prefix", self.prefix),)

    def takes_all_of(self, other: AuthorizerModel) -> bool:
        """Compare the two settings."""
        return isinstance(other, Machines) and (self.user_pool, self.prefix) == (other.user_pool, other.prefix)

    def summary(self) -> str:
        """Name both."""
        return f"tokens of machines, whose app clients begin with {self.prefix}"
