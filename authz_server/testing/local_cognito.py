"""A local Cognito: user pools behind HTTP on the loopback interface."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from types import TracebackType
from typing import Any, Final, Self

from authz_server.testing.client_credentials import token
from authz_server.testing.initiate_auth import initiate_auth
from authz_server.testing.loopback import LoopbackServer
from authz_server.testing.reply import Reply, json_reply
from authz_server.testing.user_pool import UserPool

_NOT_FOUND: Final = json_reply({"message": "Not Found"}, status=404)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How the JWKS of a pool goes wrong.

    Args:
        status: HTTP status.
        delay: seconds before the answer.
        body: octets, or None for the pool's key set.
        headers: more of them, such as `Location`, or other ones, such as a false `Content-Length`.
        hang_up: whether the connection is closed without an answer.
    """

    status: int = 200
    delay: float = 0.0
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False


class LocalCognito:
    """Serve user pools from the moment of construction until `close`, to this machine only.

    Key sets and discovery documents stand below `/{pool id}/` as at Amazon's, the AWS SDKs' InitiateAuth is at `/`, and client
    credentials are at `/{pool id}/oauth2/token` (of a single pool also at `/oauth2/token`). While `faults` has a fault for a
    pool's id, that pool's key set goes wrong.

    Args:
        pools: one or several, of different ids.
        port: TCP port, 0 for any free one.

    Raises:
        ValueError: without a pool, or for two pools of one id.
        OSError: when the port is taken.

    Source: Cognito guide, "Federation endpoints"; Cognito API reference, `InitiateAuth`.
    """

    def __init__(self, *pools: UserPool, port: int = 0) -> None:
        self.pools = {pool.id: pool for pool in pools}
        if not pools or len(self.pools) != len(pools):
            raise ValueError("a local Cognito needs user pools of different ids")
        self.faults: dict[str, Fault] = {}
        self._fetches: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = LoopbackServer(self._answer, port=port)
        self.url = self._server.url

    def jwks_uri(self, pool: UserPool) -> str:
        """Say where the keys of a pool are."""
        return f"{self.url}/{pool.id}/.well-known/jwks.json"

    def token_url(self, pool: UserPool) -> str:
        """Say where machines get their tokens."""
        return f"{self.url}/{pool.id}/oauth2/token"

    def fetches(self, pool: UserPool) -> int:
        """Count how often the keys of a pool were asked for."""
        with self._lock:
            return self._fetches[pool.id]

    def close(self) -> None:
        """Stop serving; delays end, and requests under way are answered first."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _answer(self, method: str, path: str, headers: Message, body: bytes) -> Reply | None:
        if (method, path) == ("POST", "/"):
            return initiate_auth(self.pools.values(), headers, body)
        if path == "/oauth2/token" and len(self.pools) == 1:
            path = f"/{next(iter(self.pools))}{path}"
        pool_id, _, document = path.removeprefix("/").partition("/")
        pool = self.pools.get(pool_id)
        if pool is None:
            return _NOT_FOUND
        match method, document:
            case "GET", ".well-known/jwks.json":
                return self._jwks(pool)
            case "GET", ".well-known/openid-configuration":
                return json_reply(self._discovery(pool))
            case "POST", "oauth2/token":
                return token(pool, headers, body)
        return _NOT_FOUND

    def _jwks(self, pool: UserPool) -> Reply | None:
        with self._lock:
            self._fetches[pool.id] += 1
        fault = self.faults.get(pool.id, Fault())
        self._closing.wait(fault.delay)
        if fault.hang_up:
            return None
        body = pool.jwks_document() if fault.body is None else fault.body
        return Reply(status=fault.status, body=body, headers={"Content-Type": "application/json", **fault.headers})

    def _discovery(self, pool: UserPool) -> Mapping[str, Any]:
        """Write the discovery document: the issuer is the pool's, the addresses are ours.

        Source: OpenID Connect Discovery 1.0 section 3; the members as Cognito publishes them.
        """
        return {
            "authorization_endpoint": f"{self.url}/{pool.id}/oauth2/authorize",
            "id_token_signing_alg_values_supported": ["RS256"],
            "issuer": pool.issuer,
            "jwks_uri": self.jwks_uri(pool),
            "response_types_supported": ["code", "token"],
            "scopes_supported": ["openid", "email", "phone", "profile"],
            "subject_types_supported": ["public"],
            "token_endpoint": self.token_url(pool),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
