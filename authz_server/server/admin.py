"""The admin port: liveness, readiness and metrics over HTTP."""

import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from authz_server.observe.exposition import Exposition
from authz_server.observe.registry import CONTENT_TYPE
from authz_server.server.report import READY
from authz_server.transport.door import ListenError
from authz_server.transport.sockets import PRIVATE, bound

MAX_REQUESTS: Final = 16  # at one time, with a thread each; for one more, the oldest is broken off
REQUEST_SECONDS: Final = 10.0  # from its first octet to the last of its answer
ENDING_SECONDS: Final = 1.0  # for the thread of a request that is broken off
MAX_REQUEST_BYTES: Final = 8_192  # that are read, and about as many wait in the kernel
BACKLOG: Final = 128  # or the kernel would keep probes waiting itself
LOOK_SECONDS: Final = 0.05  # between two looks at whether to end; a server that was told to is gone that much later

TEXT: Final = "text/plain; charset=utf-8"

_logger: Final = logging.getLogger(__name__)


def _read(connection: socket.socket) -> bytes:
    """Read a request up to the empty line after its headers, and 8 KiB of it at most.

    Raises:
        TimeoutError: when it does not come in time, however often an octet of it does.
    """
    until = time.monotonic() + REQUEST_SECONDS
    head = b""
    while len(head) < MAX_REQUEST_BYTES and not (b"\n\r\n" in head or b"\n\n" in head):
        connection.settimeout(max(until - time.monotonic(), 0.001))  # which holds for the answer, too
        received = connection.recv(MAX_REQUEST_BYTES - len(head))
        if not received:
            break
        head += received
    return head


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    server_version = "authz-server"
    sys_version = ""
    command = request_version = requestline = ""  # of a request that is not parsed

    def handle(self) -> None:
        """Answer what the first line asks for; headers change nothing."""
        head = _read(self.connection)
        line, end, _ = head.partition(b"\n")
        if end or len(head) < MAX_REQUEST_BYTES:
            self.rfile = io.BytesIO(line + b"\n\n")
            super().handle()
        else:
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)

    def do_GET(self) -> None:
        """Answer one of three paths."""
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self._head()

    def _head(self) -> bytes:
        """Send the head of the answer, and give its body."""
        status, content_type, body = self.server.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        return body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - both may quote the client
        """Refuse a request with what is always said about such a status."""
        super().send_error(code)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Keep probes out of the log."""


class _Requests:
    """The requests that have a thread, at all addresses of the port together."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MAX_REQUESTS)
        self._open: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()

    def enter(self, request: socket.socket) -> bool:
        """Take a place for a request; if there is none left, the oldest request makes room."""
        if not self._places.acquire(blocking=False):
            self._break_off_oldest()
            if not self._places.acquire(timeout=ENDING_SECONDS):
                return False
        with self._lock:
            self._open[request] = None
        return True

    def leave(self, request: socket.socket) -> None:
        """Give the place back."""
        with self._lock:
            self._open.pop(request, None)
        self._places.release()

    def _break_off_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._open), None)
            if oldest is not None:
                del self._open[oldest]
                with contextlib.suppress(OSError):  # it has just ended
                    oldest.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listening: socket.socket, requests: _Requests, ready: Callable[[], bytes], metrics: Callable[[], bytes]) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self._requests = requests
        self._ready = ready
        self._metrics = metrics

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a request a thread."""
        if self._requests.enter(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a request, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._requests.leave(request)

    def answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/healthz":
            return HTTPStatus.OK, TEXT, b"alive\n"
        if path == "/readyz":
            text = self._ready()
            return HTTPStatus.OK if text.startswith(READY) else HTTPStatus.SERVICE_UNAVAILABLE, TEXT, text
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, self._metrics()
        return HTTPStatus.NOT_FOUND, TEXT, b"/healthz /readyz /metrics\n"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class names them
        _logger.debug("a client of the admin port went away")


class Admin:
    """Serve the admin port from a thread for each of its addresses.

    Args:
        address: `host:port` to bind; port 0 picks a free one.
        ready: tells whether checks can be answered, see `report.Report`.
        metrics: makes the text of all metrics.
        clock: seconds of a clock that never jumps; metrics are made once for all who ask within one.

    Raises:
        ListenError: when the address is taken or none of this machine.
    """

    def __init__(
        self, address: str, *, ready: Callable[[], bytes], metrics: Callable[[], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            listening = bound(address, BACKLOG, PRIVATE)
        except ListenError as error:
            raise ListenError(f"--admin: {error}") from error
        for each in listening:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MAX_REQUEST_BYTES)
        requests = _Requests()
        exposition = Exposition(metrics, clock)
        self._servers = [_Server(each, requests, ready, exposition.text) for each in listening]
        self.port: int = listening[0].getsockname()[1]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(LOOK_SECONDS,), name="admin", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
