"""Load: questions at a fixed rate, whatever becomes of the answers."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from types import TracebackType
from typing import Self

import grpc

from authz_server.envoy.stubs import CheckResponse
from authz_server.testing import UserPool
from tests.chaos.oracle import NO_ANSWER, Answer, Oracle, Question
from tests.e2e.stack import Edge

CHECK = "/envoy.service.auth.v3.Authorization/Check"
ASKING = 96  # at once; those that wait for a fetch take a second each
PATIENCE_SECONDS = 5.0
CLAIMS = "x-auth-"

Ask = Callable[[Question], Answer]
Judge = Callable[[Question, int, Answer], None]


class Load:
    """Ask again and again, at a rate that does not depend on the answers.

    Args:
        ask: asks one question.
        questions: in turn; may be replaced at any time.
        rate: per second.
        oracle: judges.
    """

    def __init__(self, ask: Ask, questions: Sequence[Question], rate: float, oracle: Oracle) -> None:
        self.questions = questions
        self._ask, self._rate, self._oracle = ask, rate, oracle
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(ASKING)
        self._began = time.monotonic()
        self._clock = threading.Thread(target=self._run)
        self._clock.start()

    @property
    def kinds(self) -> set[str]:
        """What is asked now."""
        return {question.kind for question in self.questions}

    def seconds(self) -> float:
        """Tell for how long it has been asking."""
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        self._clock.join()
        self._threads.shutdown()

    def _run(self) -> None:
        for number in itertools.count():
            questions = self.questions
            if self._over.wait(max(0.0, self._began + number / self._rate - time.monotonic())):
                return
            self._threads.submit(self._one, questions[number % len(questions)])

    def _one(self, question: Question) -> None:
        asked = self._oracle.moment()
        self._oracle.judge(question, asked, self._ask(question))


def over_grpc(*addresses: str, open_channel: Callable[[str], grpc.Channel] = grpc.insecure_channel) -> Ask:
    """Ask servers in turn, over a connection each."""
    calls = itertools.cycle([_call(open_channel(address)) for address in addresses])
    return lambda question: _answer(next(calls), question)


def over_new_connections(address: str, open_channel: Callable[[str], grpc.Channel]) -> Ask:
    """Ask over a new connection each time."""

    def ask(question: Question) -> Answer:
        with open_channel(address) as channel:
            return _answer(_call(channel), question)

    return ask


def through_envoy(edge: Edge) -> Ask:
    """Send requests through Envoy, a connection each, and look at what the upstream sees."""

    def ask(question: Question) -> Answer:
        headers = [] if question.token is None else [("authorization", question.token)]
        try:
            answer = edge.send(question.method, question.path, headers, host=question.host)
        except (OSError, HTTPException) as error:  # no connection, or one that was cut in the middle of an answer
            return Answer(NO_ANSWER, detail=repr(error))
        seen = (answer.upstream or {}).get("headers", {})
        return Answer(answer.status, {name: value for name, value in seen.items() if name.startswith(CLAIMS)})

    return ask


def _call(channel: grpc.Channel) -> Callable[..., object]:
    return channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)


def _answer(call: Callable[..., object], question: Question) -> Answer:
    try:
        answer = call(question.octets, timeout=PATIENCE_SECONDS)
    except grpc.RpcError as error:
        return Answer(NO_ANSWER, detail=repr(error))
    return read(answer)


def read(response: CheckResponse) -> Answer:
    """Read what a server has answered itself."""
    if response.status.code:
        denied = response.denied_response
        headers = {option.header.key: option.header.value for option in denied.headers}
        return Answer(denied.status.code, flaw=_flaw(denied.status.code, headers, denied.body))
    return Answer(200, {option.header.key: option.header.value for option in response.ok_response.headers})


def _flaw(status: int, headers: Mapping[str, str], body: str) -> str:
    """Say what makes a denial none of API Gateway's, if anything."""
    try:
        members = json.loads(body)
    except ValueError:
        members = None
    if not isinstance(members, dict) or members.keys() != {"message"} or not isinstance(members["message"], str):
        return f"the body {body!r}"
    if headers.get("content-type") != "application/json" or not headers.get("x-amzn-errortype"):
        return f"the headers {headers}"
    if status == 503 and not headers.get("retry-after", "").isdecimal():
        return "no time to come again"
    return ""


def id_tokens(pool: UserPool, count: int, kind: str = "ID token", *, lives: int = 3_600) -> list[Question]:
    """Ask with ID tokens of several users that expire after so many seconds, or have done so already."""
    made = []
    for number in range(count):
        claims = pool.id_claims(pool.add_user(f"user{number}"))
        claims["exp"] = claims["iat"] + lives
        status = 200 if lives > 0 else 401
        made.append(Question(kind=kind, status=status, token=pool.id_key.sign(claims), claims={"x-auth-sub": claims["sub"]}))
    return made


def questions(pool: UserPool, other: UserPool) -> list[Question]:
    """Ask everything that a server can answer without a fetch, good tokens most often.

    Args:
        pool: that the server trusts.
        other: that it does not.
    """
    good = id_tokens(pool, 40)
    header, _, signature = good[0].token.split(".")
    payload = good[1].token.split(".")[1]
    access = pool.access_claims(scope="pets/write")
    writer = {"x-auth-sub": access["sub"], "x-auth-scope": access["scope"]}
    special = [
        Question(kind="access token", status=200, method="POST", token=pool.access_key.sign(access), claims=writer),
        Question(kind="public", status=200, path="/prod/status"),
        Question(kind="no token", status=401),
        *id_tokens(pool, 1, "expired", lives=-60),
        Question(kind="changed", status=401, token=f"{header}.{payload}.{signature}"),
        Question(kind="without scope", status=401, method="POST", token=pool.access_token(scope="pets/read")),
        Question(kind="other pool's", status=401, token=other.id_token()),
        Question(kind="no route", status=403, path="/prod/nothing"),
    ]
    return [each for number, question in enumerate(special * 5) for each in (good[number], question)]
