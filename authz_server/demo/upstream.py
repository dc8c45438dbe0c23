"""A small upstream that answers with the request as it arrived."""

import json
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Final

from authz_server.testing.loopback import LoopbackServer
from authz_server.testing.reply import Reply, json_reply

Show = Callable[[str, str, Mapping[str, str]], Reply]

_SHOWN: Final = 12  # characters of a token
_IDENTITY: Final = "x-auth-"


def exact(method: str, path: str, headers: Mapping[str, str]) -> Reply:
    """Show a request to a program, every octet of its headers as it came."""
    return json_reply({"method": method, "path": path, "headers": headers})


def readable(method: str, path: str, headers: Mapping[str, str]) -> Reply:
    """Show a request to a person: the identity headers first, the token cut short."""
    told = {name: _brief(value) if name == "authorization" else value for name, value in headers.items()}
    first = sorted(told, key=lambda name: not name.startswith(_IDENTITY))
    text = json.dumps({"method": method, "path": path, "headers": {name: told[name] for name in first}}, indent=2)
    return Reply(body=f"{text}\n".encode(), headers={"Content-Type": "application/json"})


class Upstream:
    """Serve from the moment of construction until `close`.

    Args:
        port: TCP port, 0 for any free one.
        show: from method, path and headers, by names in small letters, to the reply.
    """

    def __init__(self, port: int = 0, show: Show = exact) -> None:
        self._show = show
        self._server = LoopbackServer(self._answer, port=port)
        self.port = int(self._server.url.rpartition(":")[2])

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _answer(self, method: str, path: str, headers: Message, _: bytes) -> Reply:
        lines: dict[str, list[str]] = {}
        for name, value in headers.items():
            lines.setdefault(name.lower(), []).append(value)
        return self._show(method, path, {name: ", ".join(values) for name, values in lines.items()})


def _brief(credentials: str) -> str:
    scheme, space, token = credentials.rpartition(" ")
    return credentials if len(token) <= _SHOWN else f"{scheme}{space}{token[:_SHOWN]}... ({len(token)} characters)"
