"""Every reason of a denial stands once in a closed table, and decisions are values."""

import dataclasses
import re

import pytest

from authz_server.core.decisions import Allow, Denied, Deny
from authz_server.core.reasons import Reason
from authz_server.core.responses import BUILT_IN, Response

every_reason = pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.label)


def test_no_two_reasons_are_one() -> None:
    """Members with equal values would silently become one: each name, label and explanation is unique."""
    assert len(list(Reason)) == len(Reason.__members__)
    assert len({reason.label for reason in Reason}) == len(Reason.__members__)
    assert len({reason.value.explanation for reason in Reason}) == len(Reason.__members__)


@every_reason
def test_labels_suit_metrics(reason: Reason) -> None:
    """A label is the member's name in small letters."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.label)
    assert Reason[reason.label.upper()] is reason


@every_reason
def test_faults_of_ours_are_no_denials_in_the_log(reason: Reason) -> None:
    """A denial is `unavailable` where the server is at fault, and `deny` where the caller is."""
    assert Deny(reason=reason).decision == ("unavailable" if BUILT_IN[reason].status in {500, 503} else "deny")


def test_an_allow_is_an_allow() -> None:
    """The word for metrics and logs."""
    assert Allow(api="a", route="r").decision == "allow"


def test_a_decision_is_made_of_few_words() -> None:
    """A denial names an api and route only when they were found; an allow has nothing to set, strip or tell unless it says so."""
    deny, allow = Deny(reason=Reason.NO_API), Allow(api="a", route="r")

    assert (deny.api, deny.route, deny.evaluation) == ("", "", None)
    assert (allow.headers, allow.remove, allow.metadata, allow.logged, allow.dropped) == ((), (), {}, {}, ())
    assert allow.evaluation is None


def test_denied_names_its_reason() -> None:
    """The exception carries the reason, and shows it without further words."""
    denied = Denied(Reason.TOKEN_EXPIRED)

    assert denied.reason is Reason.TOKEN_EXPIRED
    assert str(denied) == "token_expired"


@pytest.mark.parametrize(
    "value", [BUILT_IN[Reason.TOKEN_EXPIRED], Deny(reason=Reason.NO_API), Allow(api="a", route="r")], ids=lambda value: type(value).__name__
)
def test_decisions_are_values(value: Response | Deny | Allow) -> None:
    """Nobody can change a decision or a response."""
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
