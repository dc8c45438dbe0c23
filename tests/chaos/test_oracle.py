"""The oracle of chaos: who judges must be able to say no."""

import pytest

from authz_server.core.reasons import Reason
from authz_server.core.responses import BUILT_IN
from authz_server.envoy.response import deny
from authz_server.envoy.stubs import CheckResponse
from tests.chaos.figure import HEAD, table
from tests.chaos.load import read
from tests.chaos.oracle import DENIED, NO_ANSWER, REQUEST_ID, Answer, Oracle, Question

TOKEN = Question(kind="token", status=200, claims={"x-auth-sub": "ada"})
GOOD, OTHER = Answer(200, {"x-auth-sub": "ada"}), Answer(200, {"x-auth-sub": "bob"})
UNKNOWN, DOWN, NOTHING = Answer(401), Answer(503), Answer(NO_ANSWER)


@pytest.fixture
def oracle() -> Oracle:
    """An oracle in good times."""
    return Oracle()


def verdict(oracle: Oracle, answer: Answer, question: Question = TOKEN, asked: int | None = None) -> bool:
    """Whether an answer is right."""
    before = len(oracle.wrong)
    oracle.judge(question, oracle.moment() if asked is None else asked, answer)
    return len(oracle.wrong) == before


def test_in_good_times_one_answer_is_right(oracle):
    """Every other status is wrong, and so is an allow with another user's claims."""
    assert verdict(oracle, GOOD)
    assert not any(verdict(oracle, answer) for answer in (OTHER, UNKNOWN, DOWN, NOTHING))
    assert oracle.untrue == 2  # the others may come of a machine that stands still


def test_a_fault_demands_its_own_answers(oracle):
    """While things change old, new and failed answers are right; from then on only the new ones, for the kinds of questions they are for."""
    oracle.turn({"token": {503}}, failures={NO_ANSWER})
    assert all(verdict(oracle, answer) for answer in (GOOD, DOWN, NOTHING))
    assert not verdict(oracle, UNKNOWN)
    oracle.insist()

    assert verdict(oracle, DOWN)
    assert not any(verdict(oracle, answer) for answer in (GOOD, UNKNOWN, NOTHING))
    assert not verdict(oracle, DOWN, Question(kind="public", status=200))


def test_an_answer_may_be_that_of_any_moment_it_was_under_way(oracle):
    """A check that was asked before a change may be answered as before it, and no other may."""
    asked = oracle.moment()
    oracle.turn({"token": DENIED})
    oracle.insist()

    assert verdict(oracle, GOOD, asked=asked)
    assert not verdict(oracle, GOOD)


def test_claims_count_in_every_time(oracle):
    """No fault permits an allow with claims of somebody else."""
    oracle.turn({"token": {200, 503}})

    assert not verdict(oracle, OTHER)


@pytest.mark.parametrize("reason", [Reason.KEY_UNKNOWN, Reason.KEYS_UNAVAILABLE, Reason.OVERLOADED, Reason.INTERNAL_ERROR])
def test_a_denial_as_api_gateway_words_it_has_no_flaw(reason):
    """Those that the server writes are such."""
    answer = read(CheckResponse.FromString(deny(BUILT_IN[reason], REQUEST_ID)))

    assert answer == Answer(BUILT_IN[reason].status)


def without(denied, header):
    """Take a header away."""
    kept = [option for option in denied.headers if option.header.key != header]
    del denied.headers[:]
    denied.headers.extend(kept)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda denied: setattr(denied, "body", ""),
        lambda denied: setattr(denied, "body", "Service Unavailable"),
        lambda denied: setattr(denied, "body", '["message"]'),
        lambda denied: setattr(denied, "body", '{"message":null}'),
        lambda denied: setattr(denied, "body", '{"message":"Service Unavailable","token":"x"}'),
        lambda denied: without(denied, "content-type"),
        lambda denied: without(denied, "x-amzn-errortype"),
        lambda denied: without(denied, "retry-after"),
    ],
    ids=["no body", "text", "a list", "no message", "more than a message", "no type", "no error type", "no time to come again"],
)
def test_a_denial_in_other_words_is_wrong_in_every_time(oracle, spoil):
    """Clients of API Gateway read its body and headers, and come again when a 503 tells them to."""
    response = CheckResponse.FromString(deny(BUILT_IN[Reason.KEYS_UNAVAILABLE], REQUEST_ID))
    oracle.turn({"token": {503}})
    assert verdict(oracle, read(response))
    spoil(response.denied_response)

    assert not verdict(oracle, read(response))


def test_what_is_right_may_still_be_a_failure(oracle):
    """Answers that the fault permits and better times do not are counted."""
    oracle.turn({"token": {503}})
    verdict(oracle, DOWN)
    verdict(oracle, GOOD)

    assert oracle.failed == {"token": 1}
    assert not oracle.wrong


def test_things_have_not_settled_while_a_kind_is_missing(oracle, monkeypatch):
    """Each kind of question must have been answered as demanded, without a deviation for a while."""
    monkeypatch.setattr("tests.chaos.oracle.QUIET_SECONDS", 0.0)
    oracle.turn({"token": {503}})
    verdict(oracle, DOWN)
    assert oracle.settled({"token"})
    assert not oracle.settled({"token", "public"})
    verdict(oracle, GOOD)

    assert not oracle.settled({"token"})


def test_transports_share_a_line_of_the_table():
    """Where their figures differ, both are told."""
    figures = [(1, "asyncio", "keys down", ["200", "3"]), (0, "grpcio", "keys down", ["200", "4"]), (2, "asyncio", "week", ["9", "0"])]

    assert table(figures) == f"{HEAD}\n| keys down | 200 | 4 / 3 |\n| week | 9 | 0 |"
