"""A record of a good fetch is read by nobody but the pool, issuer and place that it was written for, and only while it is young."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.user_pools import KeySettings
from authz_server.core.user_pools import UserPool as Place
from authz_server.keys import record
from authz_server.keys.jwks import KeySet, parse
from authz_server.keys.record import MAX_RECORD_SIZE, RecordError
from authz_server.testing import UserPool

NOW = 1_757_430_433.5
GONE = object()


@pytest.fixture
def good(pool: UserPool) -> KeySet:
    """What a fetch brought."""
    return parse(pool.jwks_document())


@pytest.fixture
def octets(place: Place, good: KeySet) -> bytes:
    """A record of it."""
    return record.write(place, good, '"v1"', NOW)


def refused(octets: bytes, place: Place, now: float = NOW) -> RecordError:
    """Fail to read a record."""
    with pytest.raises(RecordError) as caught:
        record.read(octets, place, now)
    return caught.value


def changed(octets: bytes, **members: Any) -> bytes:
    """Change some members of a record."""
    values = {**json.loads(octets), **members}
    return json.dumps({name: value for name, value in values.items() if value is not GONE}).encode()


@pytest.mark.parametrize("etag", [None, '"v1"', 'W/"v1"'])
def test_a_record_is_read_as_it_was_written(etag: str | None, place: Place, good: KeySet) -> None:
    """Keys and ETag come back, and the age counts from the real fetch."""
    kept = record.read(record.write(place, good, etag, NOW), place, NOW + 3_600.0)

    assert kept == (KeySet(keys=good.keys), etag, 3_600.0)


def test_a_set_with_keys_that_are_not_usable_is_asked_for_whole(pool: UserPool, place: Place) -> None:
    """A record lacks them, so that a 304 would hide them from the next process: it keeps no ETag."""
    skipping = parse(pool.jwks_document().replace(b'{"keys":[', b'{"keys":[{"kid":"x"},'))

    assert record.read(record.write(place, skipping, '"v1"', NOW), place, NOW).etag is None


@pytest.mark.parametrize("change", [{"id": "other"}, {"issuer": "other"}, {"jwks": "https://else.test"}], ids=lambda each: next(iter(each)))
def test_keys_of_another_pool_issuer_or_place_are_never_used(change: dict[str, str], place: Place, octets: bytes) -> None:
    """Who renames a file, or points a pool elsewhere, does not get the old keys with it."""
    assert refused(octets, replace(place, **change)).outcome == "foreign"


@pytest.mark.parametrize("version", [0, 2, "1", True, 1.0, None])
def test_another_version_is_not_read(version: object, place: Place, octets: bytes) -> None:
    """A format that is not known is not guessed at."""
    assert refused(changed(octets, version=version), place).outcome == "foreign"


@pytest.mark.parametrize(("ceiling", "age", "usable"), [(60.0, 60.0, True), (60.0, 60.1, False), (86_400.0, 86_400.0, True)])
def test_the_ceiling_holds_across_restarts(*, ceiling: float, age: float, usable: bool, place: Place, octets: bytes) -> None:
    """Keys that a running process would no longer use are not used by the next one."""
    pool = replace(place, settings=KeySettings(stale_ceiling=ceiling))

    if usable:
        assert record.read(octets, pool, NOW + age).age == age
    else:
        assert refused(octets, pool, NOW + age).outcome == "stale"


def test_a_record_from_the_future_is_not_used(place: Place, octets: bytes) -> None:
    """When the clock has gone back the age can not be told; a minute between the clocks of two machines is no age at all."""
    assert record.read(octets, place, NOW - 60.0).age == 0.0
    error = refused(octets, place, NOW - 61.0)

    assert error.outcome == "future"
    assert "clock" in str(error)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"etag": "v1"}, id="etag without quotes"),
        pytest.param({"etag": 1}, id="etag is a number"),
        pytest.param({"etag": '"a"\r\nx: y'}, id="etag with a line break"),
        pytest.param({"etag": GONE}, id="no etag"),
        pytest.param({"fetched_at": GONE}, id="no time"),
        pytest.param({"fetched_at": "1"}, id="time is text"),
        pytest.param({"fetched_at": True}, id="time is true"),
        pytest.param({"fetched_at": None}, id="time is null"),
        pytest.param({"fetched_at": -1}, id="before 1970"),
        pytest.param({"fetched_at": 10**400}, id="beyond a double"),
        pytest.param({"more": 1}, id="a member too many"),
        pytest.param({"jwks": None}, id="no key set"),
        pytest.param({"jwks": {"keys": []}}, id="no key"),
        pytest.param({"jwks": {"keys": [{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}]}}, id="a weak key"),
        pytest.param({"jwks": "{}"}, id="key set as text"),
    ],
)
def test_what_is_no_record_is_malformed(members: dict[str, Any], place: Place, octets: bytes) -> None:
    """Each member is checked, and the key set is read as strictly as one that was fetched."""
    assert refused(changed(octets, **members), place).outcome == "malformed"


@pytest.mark.parametrize(
    "octets",
    [b"", b"\0" * 100, b"[]", b"null", b"{", b'{"a":1,"a":1}', b"\xff", b"[" * 100_000, b" " * (MAX_RECORD_SIZE + 1)],
    ids=["empty", "zeros", "a list", "null", "cut off", "a member twice", "no UTF-8", "endless lists", "too large"],
)
def test_octets_that_are_no_record_are_malformed(octets: bytes, place: Place) -> None:
    """A file that was cut off, overwritten or blown up is told from a record."""
    assert refused(octets, place).outcome == "malformed"


def test_a_record_that_was_cut_anywhere_is_malformed(place: Place, octets: bytes) -> None:
    """There is no place at which half a record is a record."""
    assert {refused(octets[:end], place).outcome for end in range(len(octets))} == {"malformed"}


def test_a_deep_key_set_is_malformed(place: Place, octets: bytes) -> None:
    """Lists in lists, as deep as a reader can follow or deeper, end as any other nonsense does."""
    head, tail = octets.split(b'"jwks":', 1)[0] + b'"jwks":', b"}"

    for depth in range(100, 3_000, 50):
        assert refused(head + b"[" * depth + b"]" * depth + tail, place).outcome == "malformed"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=2), max_leaves=4
)


@given(members=st.dictionaries(st.sampled_from(["version", "issuer", "fetched_at", "etag", "jwks"]), json_values, min_size=1))
def test_any_members_give_keys_or_an_error(members: dict[str, Any], pool: UserPool) -> None:
    """Whatever stands in a record, the outcome is the pool's own keys, or a RecordError."""
    place = Place(id=pool.id, issuer=pool.issuer, jwks="https://keys.test/jwks.json")
    good = parse(pool.jwks_document())
    octets = record.write(place, good, None, NOW)
    try:
        kept = record.read(changed(octets, **members), place, NOW)
    except RecordError:
        return

    assert kept.key_set.keys == good.keys
    assert kept.age >= 0.0
