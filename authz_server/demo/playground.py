"""The parts of the demo, started in order and ended together."""

import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from authz_server.demo import envoy
from authz_server.demo.process import accepts, authz_server, free_port
from authz_server.demo.upstream import Upstream
from authz_server.testing import AppClient, LocalCognito, User, UserPool

CONFIGURATION: Final = """\
version: 1

authorizers:
  users:
    type: cognito_user_pools
    provider_arns: [{arn}]

apis:
  petstore:
    base_path: /prod
    claim_headers:
      x-auth-sub: sub
      x-auth-email: email
      x-auth-groups: cognito:groups
      x-auth-scope: scope
    routes:
      /pets:
        GET: {{authorizer: users}}                                       # no scopes: an ID token
        POST: {{authorizer: users, authorization_scopes: [pets/write]}}    # scopes: an access token with one of them
      /pets/{{petId}}:
        GET: {{authorizer: users}}
      /status:
        GET: {{authorization_type: NONE}}

user_pools:
  {pool}: {{jwks_uri: "{jwks}"}}
"""


ROUTES: Final = (
    ("GET", "/prod/pets", "an ID token"),
    ("POST", "/prod/pets", "an access token with the scope pets/write"),
    ("GET", "/prod/pets/{petId}", "an ID token"),
    ("GET", "/prod/status", "anybody"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line to paste.

    Args:
        command: for a POSIX shell with curl.
        status: the HTTP status it answers, or None for a line that only sets a variable.
        meaning: why.
    """

    command: str
    status: int | None
    meaning: str


class Playground:
    """A user pool with a user and two app clients, and an API behind Envoy.

    Args:
        port: of Envoy's listener.
        ended: whether nobody wants it any more.

    Raises:
        StartError: when a part does not come up, or is not wanted; none is left behind.
    """

    routes = ROUTES

    def __init__(self, port: int, ended: Callable[[], bool] = lambda: False) -> None:
        self._parts = ExitStack()
        with ExitStack() as starting:
            self.folder = Path(starting.enter_context(tempfile.TemporaryDirectory(prefix="authz-demo-")))
            self.pool = UserPool("eu-west-1_Local0001")
            self.user: User = self.pool.add_user("ada", groups=["admins"], attributes={"email": "ada@example.com", "email_verified": True})
            self.web: AppClient = self.pool.add_client("web")
            self.machine: AppClient = self.pool.add_client("machine", secret=True, scopes=["pets/read", "pets/write"])
            self.cognito = starting.enter_context(LocalCognito(self.pool))
            upstream = Upstream()
            starting.callback(upstream.close)
            self.config = self.folder / "authz.yaml"
            self.config.write_text(CONFIGURATION.format(arn=self.pool.arn, pool=self.pool.id, jwks=self.cognito.jwks_uri(self.pool)))
            grpc, admin = free_port(), free_port()
            self.admin_url = f"http://127.0.0.1:{admin}"
            server = authz_server(
                *("serve", "--config", str(self.config), "--listen", f"127.0.0.1:{grpc}"),
                *("--admin", str(admin), "--decision-log", "text", "--drain-seconds", "0"),
                log=self.folder / "authz-server.log",
            )
            starting.enter_context(server).wait_until(lambda: _answers(f"{self.admin_url}/readyz"), ended=ended)
            configuration = envoy.moved(envoy.template(), listener=port, authz=grpc, upstream=upstream.port)
            starting.enter_context(envoy.start(configuration, port=port, folder=self.folder, ended=ended))
            self.url = f"http://127.0.0.1:{port}"
            self._parts = starting.pop_all()

    def steps(self) -> list[Step]:
        """List what to try, in order."""
        sign_in = (
            f'{{"AuthFlow":"USER_PASSWORD_AUTH","ClientId":"{self.web.id}",'
            f'"AuthParameters":{{"USERNAME":"{self.user.username}","PASSWORD":"{self.user.password}"}}}}'
        )
        answer = (
            f"ANSWER=$(curl -s {self.cognito.url}/ -H 'X-Amz-Target: AWSCognitoIdentityProviderService.InitiateAuth' "
            f"-H 'Content-Type: application/x-amz-json-1.1' -d '{sign_in}')"
        )
        machine = f"curl -s -u {self.machine.id}:{self.machine.secret} -d grant_type=client_credentials"
        token_url = f"{self.cognito.url}/oauth2/token"
        pets = f"{self.url}/prod/pets"
        return [
            Step(command=f"curl -i {pets}", status=401, meaning="no token"),
            Step(command=answer, status=None, meaning="ada signs in to the user pool"),
            Step(command=f'ID=$(echo "$ANSWER" | {_member("IdToken")})', status=None, meaning="her ID token"),
            Step(
                command=f'curl -i {pets} -H "Authorization: $ID"', status=200, meaning="ID token: see the x-auth-* headers at the upstream"
            ),
            Step(command=f'curl -i -X POST {pets} -H "Authorization: $ID"', status=401, meaning="the route declares scopes: no ID token"),
            Step(command=f"READ=$({machine} -d scope=pets/read {token_url} | {_member('access_token')})", status=None, meaning="a machine"),
            Step(command=f"WRITE=$({machine} -d scope=pets/write {token_url} | {_member('access_token')})", status=None, meaning="again"),
            Step(command=f'curl -i -X POST {pets} -H "Authorization: Bearer $READ"', status=401, meaning="access token without the scope"),
            Step(command=f'curl -i -X POST {pets} -H "Authorization: Bearer $WRITE"', status=200, meaning="access token with the scope"),
            Step(command=f"curl -i {self.url}/prod/status -H 'x-auth-sub: root'", status=200, meaning="public; the forged header is gone"),
            Step(command=f"curl -i {self.url}/prod/nowhere", status=403, meaning="no such route"),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._parts.close()


def _member(name: str) -> str:
    """Write a shell filter that takes one text member out of a JSON object."""
    return f'sed -E \'s/.*"{name}":"([^"]+)".*/\\1/\''


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - loopback
            return True
    except (OSError, urllib.error.URLError):
        return False


def port(wanted: int) -> int:
    """Choose the port of Envoy's listener: the one wanted, or a free one where that is taken."""
    return free_port() if not wanted or accepts(wanted) else wanted
