"""Revocations: which tokens a list refuses, also by decisions that are repeated."""

import sys
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.decisions import Denied
from authz_server.core.proofs import KeyProof, TokenProof
from authz_server.core.reasons import Reason
from authz_server.core.revocations import KINDS, Revocation, Revocations, issued_at, marks, names
from authz_server.testing import StaticKeys
from tests.judging import authorize

NOW = 1_000.0
ISSUER = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1"
ID = {"iss": ISSUER, "token_use": "id", "jti": "j", "origin_jti": "o", "sub": "s", "aud": "c", "iat": 900}
ACCESS = {"iss": ISSUER, "token_use": "access", "jti": "j2", "origin_jti": "o", "sub": "s", "client_id": "c", "aud": "other", "iat": 900}

texts = st.sampled_from(["a", "b"])
moments = st.sampled_from([0.0, 899.0, 900.0, 901.0, 1_000.0, 1_001.0, inf])
entries = st.lists(st.builds(Revocation, st.sampled_from(KINDS), texts, moments, moments), max_size=6)
tokens = st.fixed_dictionaries(
    {"token_use": st.sampled_from(["id", "access"])},
    optional={
        **dict.fromkeys(["jti", "origin_jti", "sub", "aud", "client_id"], st.one_of(texts, st.just(7))),
        "iss": st.sampled_from(["https://x/a", "a", 7]),
        "iat": st.sampled_from([899, 900, 901.5]),
    },
)


def listed(*found):
    """Make a list."""
    made = Revocations()
    made.replace(found)
    return made


@pytest.mark.parametrize("claims", [ID, ACCESS], ids=["ID", "access"])
@pytest.mark.parametrize(("kind", "value"), [("origin_jti", "o"), ("sub", "s"), ("client_id", "c"), ("pool", "eu-west-1_Ab1")])
def test_a_token_is_refused_by_what_it_belongs_to(kind, value, claims):
    """Either kind of token, whichever claim it carries its app client in."""
    assert listed(Revocation(kind, value)).refuse(claims, NOW)
    assert not listed(Revocation(kind, value + "x")).refuse(claims, NOW)


def test_one_token_is_refused_by_its_jti():
    """The other one of the same sign-in is not."""
    revocations = listed(Revocation("jti", "j"))

    assert (revocations.refuse(ID, NOW), revocations.refuse(ACCESS, NOW)) == (True, False)


def test_a_token_that_was_issued_later_is_good():
    """Who signs in again is let in; a token that does not say when it was issued is as old as can be."""
    revocations = listed(Revocation("sub", "s", issued_before=900))

    assert not revocations.refuse(ID, NOW)
    assert revocations.refuse({**ID, "iat": 899}, NOW)
    assert revocations.refuse({name: value for name, value in ID.items() if name != "iat"}, NOW)


def test_an_entry_ends():
    """From its `until` on it refuses nothing."""
    revocations = listed(Revocation("sub", "s", until=NOW))

    assert revocations.refuse(ID, NOW - 0.1)
    assert not revocations.refuse(ID, NOW)


@given(entries, entries, tokens)
def test_a_list_refuses_what_one_of_its_entries_refuses(first, more, claims):
    """And only that, except that of two entries about the same the later moments count; a mark never misses what is refused."""
    revocations = listed(*first)
    revocations.add(more)
    all_of = [*first, *more]
    issued = issued_at(claims)

    def latest(name):
        same = [entry for entry in all_of if (entry.kind, entry.value) == name]
        return max(entry.issued_before for entry in same), max(entry.until for entry in same)

    about = [latest(name) for name in names(claims) if any((entry.kind, entry.value) == name for entry in all_of)]
    refused = any(issued < before and until > NOW for before, until in about)

    assert revocations.refuse(claims, NOW) == refused
    assert revocations.may_refuse(marks(claims), issued) or not refused
    assert len(revocations) == len({(entry.kind, entry.value) for entry in all_of})


def test_what_is_replaced_is_refused_no_more():
    """A list that was read anew holds what was read and no more."""
    revocations = listed(Revocation("sub", "s"))
    revocations.replace([Revocation("jti", "x")])

    assert not revocations.refuse(ID, NOW)
    assert not revocations.may_refuse(marks(ID), 900)


def test_each_change_has_a_version_of_its_own():
    """Whoever repeats a decision sees that there is something to look at."""
    revocations, versions = Revocations(known=False), []
    for change in (lambda: None, lambda: revocations.replace([]), lambda: revocations.add([]), revocations.forget):
        change()
        versions.append((revocations.version, revocations.known))

    assert versions == [(0, False), (1, True), (2, True), (3, False)]


@pytest.fixture
def revocations():
    """A list that refuses nothing yet."""
    return listed()


@pytest.fixture
def authorizer(pool, revocations):
    """An authorizer that looks at the list."""
    keys = {pool.issuer: StaticKeys(pool)}
    return cognito_user_pools(name="users", identity_source="authorization", issuers=keys, revocations=revocations)


def reason(authorizer, token, now):
    """Say why a token is denied, and whether that may be repeated."""
    with pytest.raises(Denied) as denied:
        authorize(authorizer, token, frozenset(), now)
    return denied.value.reason, denied.value.proof is not None


def test_a_good_token_that_is_named_is_denied(pool, now, authorizer, revocations):
    """It was good the moment before, and is again when the entry is taken back; the denial rests on the key."""
    token = pool.id_token()
    claims = authorize(authorizer, token, frozenset(), now).claims
    revocations.add([Revocation("jti", claims["jti"])])

    assert reason(authorizer, token, now) == (Reason.TOKEN_REVOKED, True)
    revocations.replace([])
    assert authorize(authorizer, token, frozenset(), now).claims == claims


def test_other_reasons_come_first(pool, now, authorizer, revocations):
    """Who has an expired token learns that, as ever, and a forged token tells nothing about the list."""
    revocations.add([Revocation("pool", pool.id)])

    assert reason(authorizer, pool.id_token(exp=now - 1), now) == (Reason.TOKEN_EXPIRED, True)
    assert reason(authorizer, pool.id_token()[:-8] + "AAAAAAAA", now) == (Reason.SIGNATURE_INVALID, True)


def test_nothing_is_said_about_good_tokens_while_the_list_is_not_known(pool, now, authorizer, revocations):
    """That is nothing to be repeated; a bad token is as bad as ever."""
    revocations.forget()

    assert reason(authorizer, pool.id_token(), now) == (Reason.REVOCATIONS_UNKNOWN, False)
    assert reason(authorizer, pool.id_token(exp=now - 1), now) == (Reason.TOKEN_EXPIRED, True)


def test_a_proof_falls_with_the_token(pool, now, authorizer, revocations):
    """An allow is repeated through changes that do not concern it, and never after one that does."""
    verified = authorize(authorizer, pool.id_token(), frozenset(), now)
    claims, proof = verified
    revocations.add([Revocation("jti", "another")])
    assert proof.stands()
    revocations.add([Revocation("sub", claims["sub"], issued_before=claims["iat"])])  # a sign-in before this one
    assert proof.stands()
    revocations.forget()
    assert not proof.stands()
    revocations.replace([Revocation("origin_jti", claims["origin_jti"])])
    assert not proof.stands()


def test_a_proof_falls_with_the_key(pool, now, authorizer):
    """As without a list."""
    claims, _ = authorize(authorizer, pool.id_token(), frozenset(), now)
    key = KeyProof(StaticKeys(pool), authorizer.issuers[pool.issuer].find(pool.id_key.kid))

    assert not TokenProof(key, Revocations(), 0, claims).stands()


def test_a_change_during_a_decision_is_seen_by_its_proof(pool, now, authorizer, revocations):
    """What was decided by the old list and kept after the new one came does not outlive it."""
    claims, _ = authorize(authorizer, pool.id_token(), frozenset(), now)
    keys = authorizer.issuers[pool.issuer]
    before = revocations.version
    revocations.add([Revocation("sub", claims["sub"])])

    assert not TokenProof(KeyProof(keys, keys.find(pool.id_key.kid)), revocations, before, claims).stands()


def test_the_proof_counts_what_it_takes(pool, now, authorizer):
    """The budget of what is remembered holds with a list, too."""
    claims, proof = authorize(authorizer, pool.id_token(), frozenset(), now)

    assert sum(map(sys.getsizeof, (proof, marks(claims), issued_at(claims)))) == pytest.approx(proof.size, abs=20)
