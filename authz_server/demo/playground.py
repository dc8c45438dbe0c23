"""The parts of the demo, started in order and ended together."""

import errno
import os
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from authz_server.demo import envoy
from authz_server.demo.folder import Folder
from authz_server.demo.process import Process, StartError, authz_server, free_port
from authz_server.demo.upstream import Upstream, readable
from authz_server.testing import AppClient, LocalCognito, User, UserPool

CONFIGURATION: Final = """\
version: 1

authorizers:
  users:
    type: cognito_user_pools
    provider_arns: [{arn}]
    app_clients: [web, machine] # without: every app client of the pool, as on API Gateway

apis:
  petstore:
    base_path: /prod
    claim_headers: # header for the upstream: claim
      x-auth-sub: sub
      x-auth-email: email
      x-auth-groups: cognito:groups
      x-auth-scope: scope
    routes:
      /pets:
        GET: {{authorizer: users}} # no scopes: an ID token
        POST: {{authorizer: users, authorization_scopes: [pets/write]}} # an access token with this scope
      /pets/{{petId}}:
        GET: {{authorizer: users}}
      /status:
        GET: {{authorization_type: NONE}} # public

user_pools:
  {pool}: {{jwks_uri: "{jwks}"}} # the demo's own Cognito
"""


ROUTES: Final = (
    ("GET", "/prod/pets", "an ID token"),
    ("POST", "/prod/pets", "an access token with the scope pets/write"),
    ("GET", "/prod/pets/{petId}", "an ID token"),
    ("GET", "/prod/status", "no token"),
)


class Playground:
    """A user pool with a user and two app clients, and an API behind Envoy.

    Names, ids and secrets are the same each time, and so are the ports that are free. The keys that sign tokens are new each time.

    Args:
        folder: for the configuration, which is used if it is there, and Envoy's files.
        port: of Envoy's listener; the next two are those of Cognito and of the admin port. 0 takes any free ones.
        ended: polled while it starts; true gives the start up.

    Raises:
        StartError: when a part does not start, or the start is given up; no part is left behind.
    """

    routes = ROUTES

    def __init__(self, folder: Folder, port: int, ended: Callable[[], bool] = lambda: False) -> None:
        self._parts = ExitStack()
        self.folder = folder
        self.pool = UserPool("eu-west-1_Local0001")
        self.user: User = self.pool.add_user(
            "ada",
            password="lovelace",  # noqa: S106 - of a pool that this machine alone can reach, while the demo runs
            sub="ada10e1a-ce00-4815-9c52-181512100000",
            groups=["admins"],
            attributes={"email": "ada@example.com", "email_verified": True},
        )
        self.web: AppClient = self.pool.add_client("web", client_id="web")
        self.machine: AppClient = self.pool.add_client("machine", client_id="machine", secret="secret", scopes=["pets/read", "pets/write"])  # noqa: S106 - as above
        envoy.binary()  # before anything is started
        listener, cognito, admin = ports(port)
        with ExitStack() as starting:
            self.cognito = starting.enter_context(LocalCognito(self.pool, port=cognito))
            upstream = Upstream(show=readable)
            starting.callback(upstream.close)
            self._configure()
            self.admin_url = f"http://127.0.0.1:{admin}"
            grpc = free_port()
            server = authz_server(
                *("serve", "--config", str(folder.configuration), "--listen", f"127.0.0.1:{grpc}"),
                *("--admin", str(admin), "--decision-log", "text", "--drain-seconds", "0"),
                log=None,  # decisions are to be seen as they are made
                environment={name: None for name in os.environ if name.startswith("AUTHZ_")},  # meant for another server
            )
            self._wait(starting.enter_context(server), ended)
            configuration = envoy.moved(envoy.template(), listener=listener, authz=grpc, upstream=upstream.port)
            starting.enter_context(envoy.start(configuration, port=listener, folder=folder.path, ended=ended))
            self.url = f"http://127.0.0.1:{listener}"
            self.moved = port not in (0, listener)
            self._parts = starting.pop_all()

    def _configure(self) -> None:
        """Write the configuration, or have one that was kept name the Cognito of this start."""
        if not self.folder.resumed:
            jwks = self.cognito.jwks_uri(self.pool)
            self.folder.write(CONFIGURATION.format(arn=self.pool.arn, pool=self.pool.id, jwks=jwks))
            return
        try:
            text = self.folder.configuration.read_text()
        except (OSError, ValueError) as error:
            raise StartError(f"{self.folder.configuration} cannot be read; delete it to begin with a new one") from error
        self.folder.write(re.sub(rf"http://127\.0\.0\.1:\d+(?=/{self.pool.id}/)", self.cognito.url, text))

    def _wait(self, server: Process, ended: Callable[[], bool]) -> None:
        try:
            server.wait_until(lambda: _answers(f"{self.admin_url}/readyz"), ended=ended)
        except StartError as error:
            if not self.folder.resumed:
                raise
            raise StartError(f"{error}; mend {self.folder.configuration}, or delete it to begin with a new one") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._parts.close()


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of this machine's user knows no loopback port of ours
    try:
        with direct.open(url, timeout=1):
            return True
    except (OSError, urllib.error.URLError):
        return False


def ports(first: int) -> list[int]:
    """Choose three ports of the loopback interface.

    Args:
        first: the first one wanted, which those after it follow; 0 wants none in particular.

    Returns:
        The ports wanted, and a free one in the place of each that is taken.

    Raises:
        StartError: when the system does not let this user have one of them.
    """
    return [port if first and _free(port) else free_port() for port in range(first, first + 3)]


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have just ended are not in the way
        try:
            probe.bind(("127.0.0.1", port))
        except OverflowError:  # beyond 65535
            return False
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise StartError(f"port {port}: {error.strerror}; choose another one with --port") from error
        return True
