"""Verdicts are repeated only while they hold, and never take more memory than they may."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.reasons import Reason
from authz_server.engine import verdicts
from authz_server.engine.verdicts import OVERHEAD, Verdict, Verdicts


@dataclass
class Standing:
    """A proof that stands until it is told otherwise."""

    good: bool = True

    size = 0

    def stands(self):
        """Whether it holds."""
        return self.good


def verdict(proof=None, *, answer=b"", since=100.0, until=200.0):
    """Make a verdict."""
    return Verdict(answer=answer, reason=None, proof=proof or Standing(), since=since, until=until)


@pytest.mark.parametrize(("now", "holds"), [(99.9, False), (100.0, True), (199.9, True), (200.0, False)])
def test_a_verdict_holds_from_its_decision_to_its_end(now, holds):
    """It ends when it says, and a clock that was put back does not revive it."""
    kept = Verdicts(10_000, b"s", len)
    kept.keep(b"n", verdict())

    assert (kept.find(b"n", now) is not None) == holds


def test_a_verdict_falls_with_its_proof():
    """When the key is gone, the verdict is forgotten at once, and does not come back with the key."""
    proof, kept = Standing(), Verdicts(10_000, b"s", len)
    kept.keep(b"n", verdict(proof))
    proof.good = False
    assert kept.find(b"n", 150) is None
    proof.good = True

    assert kept.find(b"n", 150) is None
    assert (len(kept), kept.size) == (0, 0)


def test_names_differ_by_token_by_kind_of_route_and_by_process():
    """A verdict is found for the same token on the same kind of route only, and its name tells nothing about the token."""
    one, other = Verdicts(0, b"1" * 32, len), Verdicts(0, b"2" * 32, len)
    names = {one.digest(b"a", "bc"), one.digest(b"ab", "c"), one.digest(b"a", "bd"), other.digest(b"a", "bc"), one.digest(b"", "abc")}

    assert len(names) == 5
    assert {len(name) for name in names} == {32}
    assert one.digest(b"a", "bc") in names


def test_any_text_has_a_name():
    """A header that is no UTF-8 is looked up like any other."""
    assert Verdicts(0, b"s", len).digest(b"a", "\ud800")


def test_names_stay_the_same_when_seeds_are_forgotten(monkeypatch):
    """A seed is a matter of speed alone."""
    monkeypatch.setattr(verdicts, "MAX_SEEDS", 1)
    kept = Verdicts(0, b"s", len)
    first = kept.digest(b"a", "t")
    kept.digest(b"b", "t")

    assert kept.digest(b"a", "t") == first


def test_verdicts_that_nobody_asks_for_give_way_first():
    """When the budget is spent, a verdict that was repeated stays and its elders go."""
    kept = Verdicts(3 * OVERHEAD, b"s", len)
    for name in (b"1", b"2", b"3"):
        kept.keep(name, verdict())
    kept.find(b"1", 150)
    kept.keep(b"4", verdict())

    assert [name for name in (b"1", b"2", b"3", b"4") if kept.find(name, 150)] == [b"1", b"3", b"4"]
    assert kept.evictions == 1


def test_a_verdict_that_is_too_large_is_not_kept():
    """A budget of nothing keeps nothing."""
    kept = Verdicts(0, b"s", len)
    kept.keep(b"n", verdict())

    assert (len(kept), kept.size) == (0, 0)


def test_a_verdict_replaces_its_former_self():
    """Deciding again under the same name changes the answer, and the size is counted once."""
    kept = Verdicts(10_000, b"s", len)
    kept.keep(b"n", verdict(answer=b"1"))
    kept.keep(b"n", verdict(answer=b"12345"))

    assert kept.find(b"n", 150).answer == b"12345"
    assert kept.size == OVERHEAD + 5


def test_forgotten_verdicts_leave_no_places_behind(monkeypatch):
    """Tokens that come and expire for ever do not let the order grow."""
    monkeypatch.setattr(verdicts, "SLACK", 10)
    kept = Verdicts(10_000, b"s", len)
    for turn in range(1_000):
        kept.keep(b"n", verdict(since=turn, until=turn + 1))
        assert kept.find(b"n", turn + 1) is None

    assert len(kept._order) <= 20


def test_a_verdict_that_was_replaced_meanwhile_is_not_forgotten():
    """Forgetting an old verdict never takes the new one of that name away."""
    proof, kept = Standing(), Verdicts(10_000, b"s", len)
    old, new = verdict(proof), verdict(answer=b"new")
    kept.keep(b"n", old)
    proof.stands = lambda: kept.keep(b"n", new)  # replaced while the old one is being judged, and judged as fallen

    assert kept.find(b"n", 150) is None
    assert kept.find(b"n", 150) is new


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 300), st.booleans()), max_size=200))
def test_the_budget_holds(steps):
    """Whatever is kept and asked for, the size is the sum of what is there and within the budget."""
    kept = Verdicts(5 * OVERHEAD, b"s", len)
    for number, size, asked in steps:
        name = bytes([number])
        if asked:
            kept.find(name, 150)
        else:
            kept.keep(name, Verdict(answer=bytes(size), reason=Reason.SCOPE_UNMET, proof=Standing(), since=0, until=1000))
        assert kept.size == sum(OVERHEAD + len(one.answer) for one in kept._kept.values()) <= 5 * OVERHEAD


def test_places_of_forgotten_verdicts_are_passed_over():
    """A verdict that is gone does not count when others must give way."""
    kept = Verdicts(2 * OVERHEAD, b"s", len)
    kept.keep(b"1", verdict(until=110))
    kept.keep(b"2", verdict())
    assert kept.find(b"1", 120) is None
    kept.keep(b"3", verdict())
    kept.keep(b"4", verdict())

    assert [name for name in (b"1", b"2", b"3", b"4") if kept.find(name, 120)] == [b"3", b"4"]
    assert kept.evictions == 1


def test_claims_for_the_log_count():
    """What an api lets into the log takes memory, too."""
    kept = Verdicts(10_000, b"s", len)
    kept.keep(b"n", Verdict(answer=b"", reason=None, proof=Standing(), since=0, until=1, logged=(("sub", "x" * 1_000),)))

    assert kept.size > OVERHEAD + 1_000


def test_seeds_beyond_the_limit_are_not_kept(monkeypatch):
    """Envoy can not fill the memory by naming ever new routes."""
    monkeypatch.setattr(verdicts, "MAX_SEEDS", 2)
    kept = Verdicts(0, b"s", len)
    for tag in (b"a", b"b", b"c", b"d"):
        kept.digest(tag, "t")

    assert list(kept._seeds) == [b"c", b"d"]


def test_a_verdict_that_stayed_once_gives_way_when_nobody_asks_again():
    """Having been asked for is forgotten with each turn."""
    kept = Verdicts(3 * OVERHEAD, b"s", len)
    for name in (b"1", b"2", b"3"):
        kept.keep(name, verdict())
    kept.find(b"1", 150)
    for name in (b"4", b"5", b"6", b"7"):
        kept.keep(name, verdict())

    assert [name for name in (b"1", b"5", b"6", b"7") if kept.find(name, 150)] == [b"5", b"6", b"7"]


def test_tidying_up_keeps_the_places_of_what_is_still_there(monkeypatch):
    """However many others came and expired, the oldest verdict is there until the budget is spent, and then it goes first."""
    monkeypatch.setattr(verdicts, "SLACK", 10)
    kept = Verdicts(3 * OVERHEAD, b"s", len)
    kept.keep(b"oldest", verdict(since=0, until=10_000))
    for turn in range(1_000):
        kept.keep(b"%d" % turn, verdict(since=turn, until=turn + 1))
        assert kept.find(b"%d" % turn, turn + 1) is None
        assert len(kept._order) <= 20
    assert len(kept) == 1
    for name in (b"x", b"y", b"z"):
        kept.keep(name, verdict())

    assert [name for name in (b"oldest", b"x", b"y", b"z") if kept.find(name, 150)] == [b"x", b"y", b"z"]
