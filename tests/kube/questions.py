"""What a client may ask an Envoy in front of the samples, and what it has to answer: `python -m tests.kube.questions PORT FOLDER`."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.kube.proof import HOST, PETS, tokens

Headers = list[tuple[str, str]]
STATUS = "/prod/status"
FORGED = [
    ("x-auth-sub", "root"),
    ("X-Auth-Email", "root@example.com"),
    ("x-auth-groups", "admins"),
    ("x-auth-other", "root"),
    ("x.auth.sub", "root"),
]
ENVOYS_OWN = [("x-envoy-auth-failure-mode-allowed", "true"), ("X-Envoy-Auth-Partial-Body", "true")]


@dataclass(frozen=True)
class Answer:
    """What came back, and what the upstream saw of the request."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def upstream(self) -> dict[str, Any]:
        """The headers that reached the upstream; {} when the request did not."""
        try:
            return json.loads(self.body).get("headers", {})
        except ValueError:
            return {}


@dataclass(frozen=True)
class Question:
    """A request, and whether an answer is the right one."""

    name: str
    right: Callable[[Answer], bool]
    path: str = PETS
    method: str = "GET"
    headers: Headers = ()


def denial(status: int, message: str, kind: str) -> Callable[[Answer], bool]:
    """Expect API Gateway's own response."""

    def right(answer: Answer) -> bool:
        said = {name: answer.headers.get(name) for name in ("x-amzn-errortype", "content-type")}
        return (
            answer.status == status
            and json.loads(answer.body) == {"message": message}
            and said == {"x-amzn-errortype": kind, "content-type": "application/json"}
            and bool(answer.headers.get("x-amzn-requestid"))
        )

    return right


UNAUTHORIZED = denial(401, "Unauthorized", "UnauthorizedException")
EXPIRED = denial(401, "The incoming token has expired", "UnauthorizedException")
NO_ROUTE = denial(403, "Missing Authentication Token", "MissingAuthenticationTokenException")


def refused(*statuses: int) -> Callable[[Answer], bool]:
    """Expect one of some statuses, and nothing at the upstream."""
    return lambda answer: answer.status in statuses and not answer.upstream


def passed(answer: Answer) -> bool:
    """Expect that the upstream answers."""
    return answer.status == 200 and bool(answer.upstream)


def clean(answer: Answer) -> bool:
    """Expect that the upstream sees no identity header, in any spelling, and nothing of Envoy's own about checks."""
    names = [re.sub("[^a-z0-9]", "-", name) for name in answer.upstream]
    return passed(answer) and not any(name.startswith(("x-auth-", "x-envoy-auth-")) for name in names)


def questions(folder: Path, *, decodes_slashes: bool) -> Iterator[Question]:
    """List the questions.

    Args:
        folder: the lab's.
        decodes_slashes: whether %2F is a slash, as Istio has it, and not refused.
    """
    token = tokens(folder)
    bearer = [("Authorization", f"Bearer {token['id']}")]

    def authorized(which: str) -> Headers:
        return [("Authorization", token[which])]

    def claims(answer: Answer) -> bool:
        seen = answer.upstream
        own = (seen.get("x-auth-sub"), seen.get("x-auth-email")) == (token["sub"], "ada@example.com")
        return (
            answer.status == 200 and own and "admins" in seen.get("x-auth-groups", "") and not {"x-auth-other", "x.auth.sub"} & seen.keys()
        )

    yield Question("no token", UNAUTHORIZED)
    yield Question("no token, forged headers", UNAUTHORIZED, headers=FORGED)
    yield Question("garbage", UNAUTHORIZED, headers=[("Authorization", "Bearer x.y.z")])
    yield Question("another pool's key", UNAUTHORIZED, headers=authorized("forged"))
    yield Question("expired", EXPIRED, headers=authorized("expired"))
    yield Question("ID token", claims, headers=bearer)
    yield Question("ID token without Bearer", claims, path=f"{PETS}?a=b", headers=authorized("id"))
    yield Question("ID token, template", claims, path=f"{PETS}/7", headers=bearer)
    yield Question("ID token, forged headers", claims, headers=bearer + FORGED)
    yield Question("access token, scope", passed, method="POST", headers=[*authorized("write"), ("Content-Length", "0")])
    yield Question("access token, no scope", UNAUTHORIZED, method="POST", headers=[*authorized("read"), ("Content-Length", "0")])
    yield Question("public", clean, path=STATUS)
    yield Question("public, forged headers", clean, path=STATUS, headers=FORGED)
    yield Question("public, Envoy's own headers", clean, path=STATUS, headers=ENVOYS_OWN)
    yield Question("header with underscores", refused(400), path=STATUS, headers=[("x_auth_sub", "root")])
    yield Question("header with underscores, token", refused(400), headers=[*bearer, ("X_Auth_Sub", "root")])
    yield Question("no such route", NO_ROUTE, path="/prod/nowhere", headers=bearer)
    yield Question("no such method", NO_ROUTE, method="DELETE", headers=bearer)
    yield Question("outside the stage", NO_ROUTE, path="/pets", headers=bearer)
    yield Question("upper case", NO_ROUTE, path="/PROD/pets", headers=bearer)
    yield Question("merged slashes", UNAUTHORIZED, path="//prod///pets")
    yield Question("dot segments", UNAUTHORIZED, path=f"{STATUS}/../pets")
    yield Question("escaped dot segments", refused(400, 401), path=f"{STATUS}/%2e%2e/pets")
    yield Question("escaped slash", UNAUTHORIZED if decodes_slashes else refused(400), path=f"{STATUS}%2f..%2fpets")
    yield Question("cookie stays", lambda it: claims(it) and it.upstream.get("cookie") == "a=b", headers=[*bearer, ("Cookie", "a=b")])


def ask(port: int, question: Question, authority: str) -> Answer:
    """Send a request as it stands."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(question.method, question.path, skip_host=True, skip_accept_encoding=True)
    for name, value in [("Host", authority), *question.headers]:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode())
    connection.close()
    return answer


def all_right(port: int, folder: Path, *, authority: str = HOST, decodes_slashes: bool = False, quiet: bool = False) -> bool:
    """Ask everything, and print what came; with *quiet* what is wrong alone."""
    asked = list(questions(folder, decodes_slashes=decodes_slashes))
    wrong = 0
    for question in asked:
        try:
            answer = ask(port, question, authority)
            right = question.right(answer)
        except Exception as error:  # noqa: BLE001 - an answer that cannot be read is a wrong answer
            answer, right = Answer(0, {}, repr(error)), False
        wrong += not right
        if not right or not quiet:
            seen = {
                name: value[:24]
                for name, value in answer.upstream.items()
                if name.startswith(("x-auth", "x_auth", "x.auth", "x-envoy-auth"))
            }
            print(f"{'ok ' if right else 'BAD'} {answer.status} {question.name:32} {seen or answer.body[:60]}")
    print(f"{len(asked) - wrong} of {len(asked)} as expected", flush=True)
    return not wrong


if __name__ == "__main__":
    sys.exit(not all_right(int(sys.argv[1]), Path(sys.argv[2])))
