"""A forward proxy in a process of its own: `python forward_proxy.py TARGET_PORT [--password USER:PASSWORD] [--refuse] [--tls PEM]`.

It leads every host to one port of this machine, so that tests need no names. Its first line of output is its port; then it writes the line of
each request, and the credentials that came with it.
"""

import argparse
import asyncio
import base64
import contextlib
import http.server
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self


class Endpoint:
    """Key sets of this machine, over http or https.

    Args:
        document: at `/jwks.json`.
        pem: certificate and key for https, or None.
    """

    def __init__(self, document: bytes, pem: Path | None = None) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/jwks.json" else 404)
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None
        if pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class ForwardProxy:
    """A running proxy.

    Args:
        arguments: see the beginning of this file.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, __file__, *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{self._process.stdout.readline().strip()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._process.stdout.closed:
            self.stop()

    def stop(self) -> list[str]:
        """End it; what it was asked."""
        self._process.kill()
        with self._process:
            return [line.strip() for line in self._process.stdout]


def headers(lines: list[str]) -> dict[str, str]:
    """Read header lines."""
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def say(line: str) -> None:
    """Write a line of output at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on bytes until they end."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def serve(flags: argparse.Namespace) -> None:
    """Serve until the process is killed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *rest = head.rstrip().split("\r\n")
            method, target, _ = line.split(" ")
            shown = base64.b64decode(headers(rest).get("proxy-authorization", "").removeprefix("Basic ")).decode()
            say(f"{line} {shown}")
            if flags.password and shown != flags.password:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            elif flags.refuse:
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            else:
                there = await asyncio.open_connection("127.0.0.1", flags.target)
                if method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = "/" + target.split("/", 3)[3]
                    there[1].write(head.replace(target, path, 1).encode("latin-1"))
                await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
        writer.close()

    context = None
    if flags.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(flags.tls)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    say(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("target", type=int)
    parser.add_argument("--password")
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--tls")
    sys.exit(asyncio.run(serve(parser.parse_args())))
