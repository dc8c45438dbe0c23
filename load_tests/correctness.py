"""Correctness: a target that answers wrongly is not measured."""

import http.client
import time
from collections.abc import Callable
from typing import Any

import grpc
import workload

from authz_server.envoy import stubs

METHOD = f"/{stubs.SERVICE}/Check"
PATIENCE_SECONDS = 10.0
REFUSED = (401, 403)

Work = workload.Workload


class WrongAnswerError(Exception):
    """A target does not do the work that it would be measured for."""


def reply_over_grpc(port: int, work: Work, *, judges: bool) -> bytes:
    """Ask a server with a real gRPC client, again and again until it is ready.

    Args:
        port: of the server.
        work: what to ask.
        judges: whether it must set the claim headers and deny what is wrong; otherwise it need only allow.

    Returns:
        The CheckResponse that allows, as bytes.

    Raises:
        WrongAnswerError: when an answer is not as it must be.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)

        def ask(request: bytes) -> bytes:
            return call(request, timeout=5, wait_for_ready=True)

        reply = _until(lambda: ask(work.request), _allows)
        if judges:
            _require_headers(reply, work)
            for what, request in work.denied().items():
                answer = stubs.CheckResponse.FromString(ask(request))
                if answer.status.code == 0 or answer.denied_response.status.code not in REFUSED:
                    raise WrongAnswerError(f"{what}: not denied: {answer}")
        return reply


def check_over_http(port: int, work: Work, *, judges: bool) -> None:
    """Send requests through Envoy, again and again until it is ready.

    Args:
        port: of Envoy's listener, which tells in `x-seen-sub` what the upstream would see.
        work: what to send.
        judges: whether somebody behind Envoy must let the good token pass only.

    Raises:
        WrongAnswerError: when a response is not as it must be.
    """
    _until(lambda: _get(port, work.headers(work.token)), lambda answer: answer[0] == 200)
    if judges:
        status, seen = _get(port, work.headers(work.token) | {"x-auth-sub": "root"})
        if (status, seen) != (200, work.expected["x-auth-sub"]):
            raise WrongAnswerError(f"a good token: status {status}, and the upstream sees {seen!r}")
        for what, token in work.forged.items():
            status, _ = _get(port, work.headers(token))
            if status not in REFUSED:
                raise WrongAnswerError(f"{what}: status {status}")


def _allows(reply: bytes) -> bool:
    return stubs.CheckResponse.FromString(reply).status.code == 0


def _require_headers(reply: bytes, work: Work) -> None:
    headers = {option.header.key: option.header.value for option in stubs.CheckResponse.FromString(reply).ok_response.headers}
    if headers != work.expected:
        raise WrongAnswerError(f"claim headers {headers}, expected {work.expected}")


def _get(port: int, headers: dict[str, str]) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", workload.PATH, headers={"host": workload.HOST, **headers})
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("x-seen-sub")
    finally:
        connection.close()


def _until(ask: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Ask until the answer is good: a server fetches keys first, and Envoy looks for healthy endpoints."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer = ask()
            if good(answer):
                return answer
            problem = f"answered {answer!r}"
        except (grpc.RpcError, OSError, http.client.HTTPException) as error:
            problem = str(error)
        if time.monotonic() > end:
            raise WrongAnswerError(f"the good request is not allowed: {problem}")
        time.sleep(0.1)
