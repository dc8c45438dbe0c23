"""Servers of TLS, to see whether a client believes them."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from tests.authority import Pair


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Let two contexts agree in memory, or raise what the client makes of it."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=name)
    answering = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (asking, answering):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()


def serving(pair: Pair, folder: Path) -> ssl.SSLContext:
    """Make the context of a server."""
    pair.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


class Believed:
    """Serve one connection on loopback, and note how its handshake ended.

    Args:
        pair: what is shown.
        folder: for its files.
    """

    def __init__(self, pair: Pair, folder: Path) -> None:
        self._context = serving(pair, folder)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.port = self._listening.getsockname()[1]
        self.outcome: str | None = None

    def _serve(self) -> None:
        client, _ = self._listening.accept()
        client.settimeout(60)
        try:
            # With TLS 1.3 the client speaks last, once it has verified what it saw.
            self._context.wrap_socket(client, server_side=True).close()
        except OSError as error:
            self.outcome = str(error)
            client.close()
        else:
            self.outcome = "believed"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listening.close()
