"""A small upstream that answers with the request as it arrived."""

from email.message import Message

from authz_server.testing.loopback import LoopbackServer
from authz_server.testing.reply import Reply, json_reply


class Upstream:
    """Serve from the moment of construction until `close`.

    Args:
        port: TCP port, 0 for any free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._server = LoopbackServer(_show, port=port)
        self.port = int(self._server.url.rpartition(":")[2])

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


def _show(method: str, path: str, headers: Message, _: bytes) -> Reply:
    lines: dict[str, list[str]] = {}
    for name, value in headers.items():
        lines.setdefault(name.lower(), []).append(value)
    return json_reply({"method": method, "path": path, "headers": {name: ", ".join(values) for name, values in lines.items()}})
