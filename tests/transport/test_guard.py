"""The list of clients that may ask."""

import pytest

from authz_server.transport import guard
from authz_server.transport.guard import AllowList

NAMES = ["envoy.test", "spiffe://test/envoy"]


@pytest.mark.parametrize(
    ("dns", "uris", "admitted"),
    [
        (["envoy.test"], [], True),
        (["ENVOY.test"], [], True),
        (["other.test", "envoy.test"], [], True),
        (["sub.envoy.test"], [], False),
        (["*.test"], [], False),
        (["envoy.test\0.evil"], [], False),
        (["spiffe://test/envoy"], [], False),
        ([], ["spiffe://test/envoy"], True),
        ([], ["spiffe://test/ENVOY"], False),
        ([], ["spiffe://test/envoy/"], False),
        ([], ["spiffe://other/envoy"], False),
        ([], ["envoy.test"], False),
        ([], ["spiffe://test/envoy", "spiffe://test/other"], False),
        ([], [], False),
    ],
)
def test_one_name_must_be_on_the_list(dns, uris, admitted):
    """DNS names compare without case and SPIFFE ids whole; each only with its own kind, and several URIs are no id."""
    assert AllowList(NAMES).admits(dns=dns, uris=uris) is admitted


def test_an_empty_list_admits_nobody():
    """No name, no entry."""
    assert not AllowList([]).admits(dns=[""], uris=[""])


def test_a_refused_client_is_told_once(caplog, monkeypatch):
    """The operator learns who was refused, and a client that tries again and again, or under many names, fills no log."""
    monkeypatch.setattr(guard, "MAX_TOLD", 3)
    allowed = AllowList(NAMES)
    for _ in range(5):
        for number in range(5):
            allowed.admits(dns=[f"client{number}.test"], uris=[])

    assert [record.getMessage().count(f"client{number}.test") for number, record in enumerate(caplog.records)] == [1, 1, 1]
