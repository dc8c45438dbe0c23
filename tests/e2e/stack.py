"""What the end-to-end tests start and talk to."""

import json
import re
import socket
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from threading import Event
from typing import Any, Self

import grpc

from authz_server.demo.process import Process, accepts, free_port
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.testing import LocalCognito, UserPool
from tests.waiting import PATIENCE

LONG = f"{PATIENCE:g}s"
PROGRAM = ("-m", "authz_server")
PATIENT = """
from functools import partialmethod
from authz_server.cli import main
from authz_server.keys.fetch import Fetcher
from authz_server.transport import door

Fetcher.__init__ = partialmethod(Fetcher.__init__, 600.0)
door.MAX_WAIT_SECONDS = 600.0
main(prog_name="authz-server")
"""
PATIENTLY = ("-c", PATIENT)  # a server whose fetches, and whose checks that wait for one, end when the test lets them
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
CONFIGURATION = """\
version: 1
authorizers:
  users: {type: cognito_user_pools, provider_arns: [ARN]}
apis:
  petstore:
    base_path: /prod
    claim_headers: {x-auth-sub: sub, x-auth-email: email, x-auth-groups: cognito:groups, x-auth-scope: scope}
    routes:
      /pets:
        GET: {authorizer: users}
        POST: {authorizer: users, authorization_scopes: [pets/write]}
      /pets/{petId}:
        GET: {authorizer: users}
      /status:
        GET: {authorization_type: NONE}
  grpc:
    claim_headers: {x-user: username}
    routes:
      /pets.v1.Pets/List:
        POST: {authorizer: users, authorization_scopes: [pets/read]}
user_pools:
  POOL: {jwks_uri: JWKS}
"""


def two_ports() -> int:
    """Find two free ports in a row."""
    while accepts((port := free_port()) + 1):
        pass
    return port


def configured(text: str, pool: UserPool, cognito: LocalCognito) -> str:
    """Fill a pool into a configuration."""
    return text.replace("ARN", pool.arn).replace("POOL", pool.id).replace("JWKS", cognito.jwks_uri(pool))


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server of this package."""

    process: Process
    config: Path
    port: int
    admin: int

    @classmethod
    def start(
        cls,
        folder: Path,
        pool: UserPool,
        cognito: LocalCognito,
        *arguments: str,
        configuration: str = CONFIGURATION,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        seconds: float = PATIENCE,
        program: Sequence[str] = PROGRAM,
    ) -> Self:
        config = folder / "authz.yaml"
        config.write_text(configured(configuration, pool, cognito))
        port, admin = port or free_port(), free_port()
        command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0"]
        started = [sys.executable, "-P", *program, *command, *arguments]
        process = Process(started, log=folder / "server.log", environment=environment)
        server = cls(process=process, config=config, port=port, admin=admin)
        process.wait_until(lambda: server.get("/readyz")[0] == 200, seconds)
        return server

    def get(self, path: str) -> tuple[int, str]:
        """Ask the admin port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def log(self) -> str:
        """Everything it has printed."""
        return self.process.log.read_text()

    def check(self, method: str, path: str, headers: Mapping[str, str] | None = None, *, host: str = "api.example.com") -> Any:
        """Ask one check over gRPC."""
        return ask(f"127.0.0.1:{self.port}", method, path, headers, host=host)


class Held:
    """A fault of a key set that is not answered before the test says so.

    Args:
        status: HTTP status of the answer.
    """

    body, headers, hang_up = None, {}, False

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.reached = Event()
        self._go = Event()

    @property
    def delay(self) -> float:
        """Wait here, and no further."""
        self.reached.set()
        self._go.wait(PATIENCE)
        return 0.0

    def release(self) -> None:
        """Let every answer go, those to come included."""
        self._go.set()


def ask(address: str, method: str, path: str, headers: Mapping[str, str] | None = None, *, host: str = "api.example.com") -> Any:
    """Ask one check over gRPC at any address."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = method, path, host
    http.headers.update(headers or {})
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check", response_deserializer=CheckResponse.FromString)
        return call(request.SerializeToString(), timeout=PATIENCE)


def crowd(port: int, token: str, clients: int, going_on: Callable[[], bool]) -> Counter[int]:
    """Let many clients ask at the same moment, again and again; count the statuses."""
    line = f"GET /prod/pets HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    statuses: Counter[int] = Counter()
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(clients)]
        while going_on():
            for each in sockets:
                each.sendall(line)
            for each in sockets:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += each.recv(65_536) or b"\r\n\r\n"
                statuses[int(found.group(1)) if (found := STATUS.match(received)) else 0] += 1
    return statuses


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a client of Envoy got."""

    status: int
    headers: Mapping[str, str]
    body: str
    fields: Sequence[tuple[str, str]] = ()

    def lines(self, name: str) -> list[str]:
        """Each value of a header that may stand several times."""
        return [value for field, value in self.fields if field.lower() == name]

    @property
    def upstream(self) -> dict[str, Any] | None:
        """The request as the upstream saw it, or None when it did not get that far."""
        seen = json.loads(self.body) if self.body.startswith("{") else {}
        return seen if "path" in seen else None


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An Envoy in front of the server."""

    port: int
    variant: str

    def send(self, method: str, target: str, headers: Iterable[tuple[str, str]] = (), *, host: str = "api.example.com") -> Answer:
        """Send a request, every octet as given.

        Raises:
            OSError, HTTPException: no answer, or one that was cut off.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *(f"{name}: {value}" for name, value in headers)]
        if method == "POST":
            lines.append("Content-Length: 0")
        with closing(socket.create_connection(("127.0.0.1", self.port), PATIENCE)) as client:
            client.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            response = HTTPResponse(client, method=method)
            response.begin()
            body = response.read().decode()
            fields = response.getheaders()
        return Answer(status=response.status, headers={name.lower(): value for name, value in fields}, body=body, fields=fields)

    def exchange(self, octets: str, *, quiet_seconds: float) -> str:
        """Send octets, and take what comes until the connection ends or has been quiet for a while."""
        received = b""
        with closing(socket.create_connection(("127.0.0.1", self.port), PATIENCE)) as client, suppress(OSError):
            client.sendall(octets.encode("latin-1"))
            while chunk := client.recv(65_536):
                received += chunk
                client.settimeout(quiet_seconds)
        return received.decode("latin-1")


def manager(configuration: dict[str, Any]) -> dict[str, Any]:
    """Find the HTTP connection manager of a configuration."""
    filters = configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    return filters[0]["typed_config"]


def ext_authz(configuration: dict[str, Any]) -> dict[str, Any]:
    """Find the ext_authz filter of a configuration."""
    return next(entry["typed_config"] for entry in manager(configuration)["http_filters"] if entry["name"].endswith("ext_authz"))


HARDENING = (
    "use_remote_address",
    "normalize_path",
    "merge_slashes",
    "path_with_escaped_slashes_action",
    "strip_any_host_port",
    "strip_trailing_host_dot",
    "common_http_protocol_options",
    "early_header_mutation_extensions",
)


def plain(configuration: dict[str, Any]) -> dict[str, Any]:
    """Take all hardening off, as in an Envoy that somebody set up in a hurry."""
    for name in HARDENING:
        manager(configuration).pop(name, None)
    ext_authz(configuration).pop("allowed_headers", None)
    return configuration


def patient(configuration: dict[str, Any]) -> dict[str, Any]:
    """Let Envoy wait for answers as long as tests do: no check is to fail because the machine stands still."""
    asks = ext_authz(configuration)["grpc_service"]
    asks["timeout"] = LONG
    if "retry_policy" in asks:
        asks["retry_policy"]["retry_back_off"]["max_interval"] = LONG
    (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
    cluster["connect_timeout"] = LONG
    for check in cluster.get("health_checks", ()):
        check["timeout"] = LONG
    return configuration


def raw_headers(configuration: dict[str, Any]) -> dict[str, Any]:
    """Let Envoy send header lines instead of a map."""
    ext_authz(configuration)["encode_raw_headers"] = True
    return configuration
