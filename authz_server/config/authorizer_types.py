"""The types of authorizers that a configuration may name."""

from typing import Annotated, Any, Union

from pydantic import Discriminator, Tag

from authz_server.config.authorizers import AuthorizerModel
from authz_server.config.cognito_user_pools import CognitoUserPools

TYPES: tuple[type[AuthorizerModel], ...] = (CognitoUserPools,)


def type_of(value: Any) -> type[AuthorizerModel]:
    """Find the model for an authorizer.

    Args:
        value: the authorizer as it is written, or a model.

    Returns:
        The one that its `type` names; else the one that has most of its keys, so that all its other mistakes are told, too.
    """
    if isinstance(value, AuthorizerModel):
        return type(value)
    keys = value if isinstance(value, dict) else {}
    named = next((each for each in TYPES if keys.get("type") in each.NAMES), None)
    return named or max(TYPES, key=lambda each: len(each.model_fields.keys() & keys.keys()))


def type_names() -> list[str]:
    """List what may stand for `type`, as we write it."""
    return [each.NAMES[0] for each in TYPES]


def any_type() -> Any:
    """Make what the schema takes for an authorizer: any of the types, told apart by `type_of`."""
    choices = tuple(Annotated[each, Tag(each.NAMES[0])] for each in TYPES)
    return Annotated[Union[choices], Discriminator(lambda value: type_of(value).NAMES[0])]  # noqa: UP007 - a list of types
