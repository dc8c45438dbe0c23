"""Answer each request with the headers that it came with: python -m tests.kube.echo ADDRESS PORT."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """An upstream that shows what reaches it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"headers": {name.lower(): ", ".join(self.headers.get_all(name)) for name in self.headers}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET  # noqa: N815 - names of the base class

    def log_message(self, *_: object) -> None:
        """Log nothing."""


ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Echo).serve_forever()
