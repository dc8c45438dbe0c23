"""Replies: what the local Cognito answers over HTTP."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP response.

    Args:
        status: HTTP status.
        body: octets.
        headers: all but the length of the body.
    """

    status: int = 200
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(value: Mapping[str, Any], *, status: int = 200, media_type: str = "application/json") -> Reply:
    """Write a reply of compact JSON.

    Args:
        value: a JSON object.
        status: HTTP status.
        media_type: of the body.

    Returns:
        The reply; nobody may cache it, since it may hold a token.
    """
    body = json.dumps(value, separators=(",", ":")).encode()
    return Reply(status=status, body=body, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
