"""What real upstreams read as an identity header is known here as one, or as an alias of one."""

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from authz_server.core.aliases import Aliases
from authz_server.demo.process import Process, accepts, free_port

SEPARATORS = "!#$%&'*+.^_`|~-"  # RFC 9110 section 5.6.2: what a name may hold beside letters and digits
NAMES = [f"x{separator}auth{separator}sub" for separator in SEPARATORS]
ALIASES = Aliases(["x-auth-sub"])


def is_known(name: str) -> bool:
    """Tell whether a name is the identity header, which is always stripped, or an alias that is."""
    return name == "x-auth-sub" or bool(ALIASES.among([name]))


@pytest.fixture(scope="module")
def php(tmp_path_factory) -> Iterator[Callable[[str], dict[str, str]]]:
    """Ask a PHP behind FastCGI, as web servers run it, for its variables beside that of one header."""
    script = tmp_path_factory.mktemp("php") / "variables.php"
    script.write_text("<?php echo json_encode($_SERVER);")
    port = free_port()
    process = Process(["php-cgi", "-b", f"127.0.0.1:{port}"], log=script.with_suffix(".log"))
    process.wait_until(lambda: accepts(port))

    def variables(header: str) -> dict[str, str]:
        name = "HTTP_" + header.upper().replace("-", "_")  # RFC 3875 section 4.1.18
        parameters = {"SCRIPT_FILENAME": str(script), "REQUEST_METHOD": "GET", name: "root"}
        with closing(socket.create_connection(("127.0.0.1", port), 60)) as client:
            client.sendall(fastcgi_request(parameters))
            answer = b""
            while chunk := client.recv(65_536):
                answer += chunk
        body = answer.partition(b"\r\n\r\n")[2]
        read: dict[str, str] = json.JSONDecoder().raw_decode(body.decode("latin-1"))[0]
        return read

    yield variables
    process.stop()


def fastcgi_request(parameters: dict[str, str]) -> bytes:
    """Write a request to a responder: its begin, its parameters, and an empty body.

    Source: FastCGI specification 1.0, sections 3.3, 3.4 and 5.
    """

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content

    pairs = b"".join(bytes([len(name), len(value)]) + name.encode() + value.encode() for name, value in parameters.items())
    return record(1, struct.pack("!HB5x", 1, 0)) + record(4, pairs) + record(4, b"") + record(5, b"")


@pytest.mark.php
@pytest.mark.parametrize("name", NAMES)
def test_php_reads_no_other_name_as_the_identity_header(name: str, php: Callable[[str], dict[str, str]]) -> None:
    """PHP makes `_` of a dot in the name of a variable, after the web server has made one of each hyphen."""
    read = php(name)

    assert is_known(name) or "HTTP_X_AUTH_SUB" not in read
    assert ("HTTP_X_AUTH_SUB" in read) == (name in {"x-auth-sub", "x_auth_sub", "x.auth.sub"})


class Silent(WSGIRequestHandler):
    """A handler that logs nothing."""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def wsgi() -> Iterator[int]:
    """A WSGI server that answers with the names of its header variables."""

    def application(environ, start_response):
        start_response("200 OK", [("content-type", "application/json")])
        return [json.dumps([name for name in environ if name.startswith("HTTP_")]).encode()]

    with make_server("127.0.0.1", 0, application, handler_class=Silent) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_a_wsgi_server_reads_no_other_name_as_the_identity_header(name: str, wsgi: int) -> None:
    """A WSGI server makes `_` of each hyphen, so that a name with underscores is the same variable."""
    connection = HTTPConnection("127.0.0.1", wsgi, timeout=60)
    connection.request("GET", "/", headers={name: "root"})
    read = json.loads(connection.getresponse().read())
    connection.close()

    assert is_known(name) or "HTTP_X_AUTH_SUB" not in read
    assert "HTTP_X_AUTH_SUB" in read or name not in {"x-auth-sub", "x_auth_sub"}
