"""What there is to try: lines for a POSIX shell with curl and sed.

Comments are plain words: zsh, unless it is told otherwise, reads a pasted comment as a command, whose quotes and brackets would swallow what follows.
"""

import urllib.request
from dataclasses import dataclass
from typing import Final

from authz_server.demo.playground import Playground

MEMBER: Final = r"""member() { sed "s/.*\"$1\":\"\([^\"]*\).*/\1/"; }"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to paste.

    Args:
        command: one line, or a few that belong together.
        meaning: what happens.
        status: the HTTP status that it is answered with; None where it only sets a variable.
    """

    command: str
    meaning: str
    status: int | None = None

    def __str__(self) -> str:
        return f"# {self.status or ''}{': ' if self.status else ''}{self.meaning}\n{self.command}"


def steps(parts: Playground) -> list[Step]:
    """List what to try, in order."""
    user, web, machine = parts.user, parts.web, parts.machine
    return [
        *([_without_proxy()] if _proxied() else []),
        Step(
            command=f"API={parts.url}/prod COGNITO={parts.cognito.url}\n{MEMBER}",
            meaning="where to ask, and how to read one member of a JSON object",
        ),
        Step(command="curl -i $API/pets", status=401, meaning="no token"),
        Step(
            command=(
                "ID=$(curl -s $COGNITO -H 'X-Amz-Target: AWSCognitoIdentityProviderService.InitiateAuth' -d '{\n"
                f'  "AuthFlow": "USER_PASSWORD_AUTH", "ClientId": "{web.id}",\n'
                f'  "AuthParameters": {{"USERNAME": "{user.username}", "PASSWORD": "{user.password}"}}}}\' | member IdToken)'
            ),
            meaning=f"{user.username} signs in to the user pool and gets an ID token",
        ),
        Step(
            command='curl -i $API/pets -H "Authorization: $ID"',
            status=200,
            meaning="a route without scopes takes an ID token, and the upstream gets claims as x-auth headers",
        ),
        Step(command='curl -i -X POST $API/pets -H "Authorization: $ID"', status=401, meaning="a route with scopes takes no ID token"),
        _machine_token("READ", "pets/read", machine.id, machine.secret),
        Step(
            command='curl -i -X POST $API/pets -H "Authorization: Bearer $READ"',
            status=401,
            meaning="the route asks for pets/write, and the token has pets/read",
        ),
        _machine_token("WRITE", "pets/write", machine.id, machine.secret),
        Step(
            command='curl -i -X POST $API/pets -H "Authorization: Bearer $WRITE"',
            status=200,
            meaning="an access token with the scope of the route",
        ),
        Step(
            command="curl -i $API/status -H 'x-auth-sub: root'",
            status=200,
            meaning="a public route, and the forged identity header does not reach the upstream",
        ),
        Step(command="curl -i $API/nowhere", status=403, meaning="no such route"),
    ]


def _machine_token(variable: str, scope: str, client: str, secret: str | None) -> Step:
    return Step(
        command=(
            f"{variable}=$(curl -s $COGNITO/oauth2/token -u {client}:{secret} \\\n"
            f"  -d grant_type=client_credentials -d scope={scope} | member access_token)"
        ),
        meaning=f"a machine gets an access token with {scope}",
    )


def _proxied() -> bool:
    return "http" in urllib.request.getproxies() and not urllib.request.proxy_bypass("127.0.0.1")


def _without_proxy() -> Step:
    return Step(command="export no_proxy=127.0.0.1", meaning="curl is not to ask your proxy for addresses of this machine")
