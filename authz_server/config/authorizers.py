"""What each type of authorizer has in its model, and the types that there are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field

from authz_server.config.fields import IdentitySource, IgnoreWarnings, Seconds
from authz_server.config.model import Model
from authz_server.core.authorizers import Authorizer
from authz_server.core.user_pools import UserPool

if TYPE_CHECKING:
    from authz_server.config.loaded import Loaded
    from authz_server.config.sentences import Location

IGNORE_WARNINGS: Final = "Warnings of `validate` that are meant to be so, by name; at the top for the whole file."

Issuers = tuple[tuple[str, UserPool], ...]


class AuthorizerModel(Model, ABC):
    """An authorizer: where the token is, and which tokens it accepts.

    A type of authorizer is a subclass with a field `type`, a module in `core` that makes its rules, and an entry in `config/authorizer_types.py`.
    """

    NAMES: ClassVar[tuple[str, ...]]
    """What `type` may say: our word first, then API Gateway's."""

    type: str
    identity_source: IdentitySource = Field(
        default="method.request.header.Authorization", description="The one header that holds the token: method.request.header.NAME."
    )
    authorizer_result_ttl_in_seconds: Seconds = Field(
        default=300, description="How long a verified token may be answered from the cache, 0 to 3600; never longer than the token is good."
    )
    ignore_warnings: IgnoreWarnings = Field(default=(), description=IGNORE_WARNINGS)

    @abstractmethod
    def issuers(self, loaded: "Loaded", stage_variables: Mapping[str, str]) -> Issuers:
        """List the issuers whose tokens are accepted, each with the place of its keys.

        Args:
            loaded: the configuration, whose `user_pools` may name other places.
            stage_variables: of the api that uses the authorizer.

        Raises:
            ValueError: for a stage variable that the api lacks.
        """

    @abstractmethod
    def mistakes(self, stage_variables: Mapping[str, str]) -> "Iterator[tuple[Location, str]]":
        """Find what is wrong with the authorizer in an api that uses it: the place below the authorizer, and why."""

    @abstractmethod
    def maker(self) -> tuple[Callable[..., Authorizer], tuple[tuple[str, Any], ...]]:
        """Give what makes the authorizer, and what it takes beside the arguments of `core.authorizers.Authorizer`; both can be pickled and hashed."""

    @abstractmethod
    def takes_all_of(self, other: "AuthorizerModel") -> bool:
        """Whether it takes every token that *other* takes, as far as that is known."""

    @abstractmethod
    def summary(self) -> str:
        """Say which tokens it takes."""
