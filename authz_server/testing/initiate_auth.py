"""InitiateAuth: how users sign in at the local Cognito, in the AWS JSON 1.1 protocol."""

import hmac
import json
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import Any, Final

from authz_server.testing.app_client import AppClient
from authz_server.testing.reply import Reply, json_reply
from authz_server.testing.session import Session
from authz_server.testing.user_pool import UserPool

TARGET: Final = "AWSCognitoIdentityProviderService.InitiateAuth"

_MEDIA_TYPE: Final = "application/x-amz-json-1.1"


class _Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """End a sign-in with one of Cognito's exceptions."""

    def __init__(self, exception: str, message: str) -> None:
        super().__init__(message)
        self.reply = json_reply({"__type": exception, "message": message}, status=400, media_type=_MEDIA_TYPE)


def initiate_auth(pools: Iterable[UserPool], headers: Message, body: bytes) -> Reply:
    """Sign a user in, or refresh the tokens of a sign-in.

    Args:
        pools: searched for the app client.
        headers: with `X-Amz-Target`.
        body: the request of `USER_PASSWORD_AUTH`, `REFRESH_TOKEN_AUTH` or `REFRESH_TOKEN`.

    Returns:
        The tokens, or status 400 with Cognito's exception.

    Source: Cognito API reference, `InitiateAuth`; the messages as recorded from it.
    """
    try:
        return _initiate_auth(pools, headers, body)
    except _Refused as refused:
        return refused.reply


def _initiate_auth(pools: Iterable[UserPool], headers: Message, body: bytes) -> Reply:
    if headers.get("X-Amz-Target") != TARGET:
        raise _Refused("UnknownOperationException", f"the local Cognito knows {TARGET} only")
    request = _request(body)
    flow, client_id, parameters = _text(request, "AuthFlow"), _text(request, "ClientId"), request.get("AuthParameters", {})
    if not isinstance(parameters, dict):
        raise _Refused("SerializationException", "AuthParameters is no structure")
    pool, client = _app_client(pools, client_id)
    match flow:
        case "USER_PASSWORD_AUTH":
            session = _sign_in(pool, client, parameters)
            return _tokens(pool, session, {"RefreshToken": session.refresh_token})
        case "REFRESH_TOKEN_AUTH" | "REFRESH_TOKEN":
            return _tokens(pool, _refresh(pool, client, parameters), {})
        case _:
            raise _Refused("InvalidParameterException", f"{flow} flow not enabled for this client")


def _request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise _Refused("SerializationException", "the body is no JSON object")
    return request


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise _Refused("InvalidParameterException", f"Missing required parameter {name}")
    return value


def _app_client(pools: Iterable[UserPool], client_id: str) -> tuple[UserPool, AppClient]:
    for pool in pools:
        client = pool.clients.get(client_id)
        if client is not None:
            return pool, client
    raise _Refused("ResourceNotFoundException", f"User pool client {client_id} does not exist.")


def _sign_in(pool: UserPool, client: AppClient, parameters: Mapping[str, Any]) -> Session:
    username, password = _text(parameters, "USERNAME"), _text(parameters, "PASSWORD")
    _check_secret_hash(client, username, parameters)
    user = pool.users.get(username)
    expected = user.password if user else ""
    if not hmac.compare_digest(_octets(password), _octets(expected)) or user is None:
        raise _Refused("NotAuthorizedException", "Incorrect username or password.")
    return pool.sign_in(user, client)


def _refresh(pool: UserPool, client: AppClient, parameters: Mapping[str, Any]) -> Session:
    session = pool.session(_text(parameters, "REFRESH_TOKEN"))
    if session is None or session.client != client:
        raise _Refused("NotAuthorizedException", "Invalid Refresh Token")
    _check_secret_hash(client, session.user.username, parameters)
    return session


def _check_secret_hash(client: AppClient, username: str, parameters: Mapping[str, Any]) -> None:
    given = parameters.get("SECRET_HASH")
    if client.secret is None and given is None:
        return
    if given is None:
        raise _Refused("NotAuthorizedException", f"Client {client.id} is configured with secret but SECRET_HASH was not received")
    if client.secret is None or not hmac.compare_digest(_octets(str(given)), client.secret_hash(username).encode()):
        raise _Refused("NotAuthorizedException", f"Unable to verify secret hash for client {client.id}")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _tokens(pool: UserPool, session: Session, more: Mapping[str, str]) -> Reply:
    result = {
        "AccessToken": pool.access_token(session=session),
        "ExpiresIn": session.client.lifetime,
        "TokenType": "Bearer",
        "IdToken": pool.id_token(session=session),
        **more,
    }
    return json_reply({"ChallengeParameters": {}, "AuthenticationResult": result}, media_type=_MEDIA_TYPE)
