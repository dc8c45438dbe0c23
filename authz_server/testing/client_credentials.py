"""Client credentials: how machines get tokens at the local Cognito, by OAuth 2.0."""

import base64
from collections.abc import Mapping
from email.message import Message
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from authz_server.testing.app_client import AppClient
from authz_server.testing.reply import Reply, json_reply
from authz_server.testing.user_pool import UserPool

_MAX_FIELDS: Final = 20
_MEDIA_TYPE: Final = "application/json;charset=UTF-8"


class _Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """End a request with one of OAuth's error codes; Cognito's status is 400 for all of them."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.reply = json_reply({"error": error}, status=400, media_type=_MEDIA_TYPE)


def token(pool: UserPool, headers: Message, body: bytes) -> Reply:
    """Give a machine an access token.

    Args:
        pool: the machine's user pool.
        headers: with `Authorization: Basic …`, unless the form has `client_id` and `client_secret`.
        body: a form with `grant_type=client_credentials` and perhaps `scope`.

    Returns:
        The token, or status 400 with an error code.

    Source: Cognito guide, "The token issuer endpoint"; RFC 6749 sections 2.3.1, 4.4 and 5.2.
    """
    try:
        return _token(pool, headers, body)
    except _Refused as refused:
        return refused.reply


def _token(pool: UserPool, headers: Message, body: bytes) -> Reply:
    form = _form(headers, body)
    if "grant_type" not in form:
        raise _Refused("invalid_request")
    if form["grant_type"] != "client_credentials":
        raise _Refused("unsupported_grant_type")
    client = _authenticate(pool, headers.get("Authorization"), form)
    access_token = pool.client_token(client, _scope(client, form.get("scope")))
    return json_reply({"access_token": access_token, "expires_in": client.lifetime, "token_type": "Bearer"}, media_type=_MEDIA_TYPE)


def _form(headers: Message, body: bytes) -> Mapping[str, str]:
    if headers.get_content_type() != "application/x-www-form-urlencoded":
        raise _Refused("invalid_request")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise _Refused("invalid_request") from None
    form = dict(fields)
    if len(form) != len(fields):
        raise _Refused("invalid_request")
    return form


def _authenticate(pool: UserPool, authorization: str | None, form: Mapping[str, str]) -> AppClient:
    client_id, secret = _basic(authorization) if authorization is not None else (form.get("client_id", ""), form.get("client_secret", ""))
    client = pool.clients.get(client_id)
    if client is None or form.get("client_id", client_id) != client_id:
        raise _Refused("invalid_client")
    if client.secret is None:
        raise _Refused("unauthorized_client")
    if not client.authenticates(secret):
        raise _Refused("invalid_client")
    return client


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, credentials = authorization.partition(" ")
    try:
        client_id, colon, secret = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        raise _Refused("invalid_client") from None
    if scheme.lower() != "basic" or not colon:
        raise _Refused("invalid_client")
    return unquote_plus(client_id), unquote_plus(secret)


def _scope(client: AppClient, asked: str | None) -> str:
    scopes = asked.split() if asked else client.scopes
    if not scopes or not set(scopes) <= set(client.scopes):
        raise _Refused("invalid_scope")
    return " ".join(scopes)
