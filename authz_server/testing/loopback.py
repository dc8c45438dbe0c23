"""A loopback server: HTTP/1.1 for this machine only, one request on each connection, without a word of output."""

import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final

from authz_server.testing.reply import Reply, json_reply

MAX_BODY_SIZE: Final = 65_536

_HOST: Final = "127.0.0.1"
_IDLE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
_DRAIN_SIZE: Final = 1_048_576  # read and thrown away, so that a client still sees why its request was refused
_MAX_DIGITS: Final = 9

Answer = Callable[[str, str, Message, bytes], Reply | None]


class LoopbackServer:
    """Serve from the moment of construction until `close`.

    Args:
        answer: from method (GET or POST), path without query, headers and body to the reply; None hangs up. Called in any thread.
        port: TCP port, 0 for any free one.

    Raises:
        OSError: when the port is taken.
    """

    def __init__(self, answer: Answer, *, port: int = 0) -> None:
        self._server = _Server(answer, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), name="loopback", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Scheme, address and port."""
        return f"http://{_HOST}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving; requests under way are answered first."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingTCPServer):
    """A thread for each connection; closing waits for all of them."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, answer: Answer, port: int) -> None:
        self.answer = answer
        super().__init__((_HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no concern of a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # refuse a wrong version with a status line, which HTTP/0.9 would not have
    timeout = _IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer a POST request, if the size of its body is told and bounded."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) <= _MAX_DIGITS):
            self._send(json_reply({"message": "Content-Length is absent or wrong"}, status=400))
        elif int(length) > MAX_BODY_SIZE:
            self.rfile.read(min(int(length), _DRAIN_SIZE))
            self._send(json_reply({"message": f"the body exceeds {MAX_BODY_SIZE} bytes"}, status=413))
        else:
            self._answer(self.rfile.read(int(length)))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse in JSON what is no request, or has another method."""
        self._send(json_reply({"message": message or explain or "Bad Request"}, status=code))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        self._send(self.server.answer(self.command, self.path.partition("?")[0], self.headers, body))

    def _send(self, reply: Reply | None) -> None:
        self.close_connection = True
        if reply is None:
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), "Connection": "close", **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
