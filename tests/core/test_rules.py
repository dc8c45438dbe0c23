"""An authorizer's rules decide and report: both read one tuple."""

from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.decisions import Allow, Deny
from authz_server.core.gateway import Api, Claims, Gateway, Route
from authz_server.core.hosts import Hosts
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.revocations import Revocation, Revocations
from authz_server.core.routes import Routes
from authz_server.core.rules import report
from authz_server.testing import AppClient, StaticKeys, UserPool, compact
from tests.judging import judged

CLIENT = AppClient(name="app", id="1h57kf5cpq17m0eml12EXAMPLE")
NOW = 1_800_000_000
READ = frozenset({"pets/read"})
POOL, OTHER = UserPool("eu-west-1_Rules0001"), UserPool("eu-west-1_Rules0002")
REVOKED = "revoked"


def strict(revocations: Revocations | None):
    """Make an authorizer with every rule there is."""
    return cognito_user_pools(
        name="users",
        identity_source="authorization",
        issuers={POOL.issuer: StaticKeys(POOL)},
        expression=re2.compile(".*EXAMPLE"),
        app_clients=frozenset({CLIENT.id}),
        revocations=revocations,
    )


def a_list(*, known: bool = True) -> Revocations:
    """Make a list that names one token."""
    revocations = Revocations(known=known)
    if known:
        revocations.replace([Revocation("jti", REVOKED)])
    return revocations


AUTHORIZERS = (strict(a_list()), strict(a_list(known=False)), strict(None))

anything = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2))
claims = st.fixed_dictionaries(
    {},
    optional={
        "iss": st.sampled_from([POOL.issuer, OTHER.issuer, "x"]) | anything,
        "exp": st.sampled_from([NOW, NOW + 1]) | anything,
        "nbf": st.sampled_from([NOW, NOW + 1]) | anything,
        "iat": anything,
        "sub": anything,
        "jti": st.sampled_from([REVOKED, "other"]) | anything,
        "token_use": st.sampled_from(["id", "access"]) | anything,
        "aud": st.sampled_from([CLIENT.id, "other"]) | anything,
        "client_id": st.sampled_from([CLIENT.id, "other"]) | anything,
        "scope": st.sampled_from(["pets/read", "a pets/read", "other"]) | anything,
    },
)
good = st.sampled_from([POOL.id_claims(client=CLIENT, exp=NOW + 9), POOL.access_claims(client=CLIENT, scope="pets/read", exp=NOW + 9)])
signers = st.sampled_from([POOL.id_key, POOL.access_key, OTHER.id_key])
headers = st.sampled_from([{}, {"kid": POOL.id_key.kid}, {"kid": "unheard of"}, {"alg": "none"}, {"crit": ["x"]}])
tokens = st.one_of(
    st.builds(lambda base, changes, key, header: key.sign({**base, **changes}, header=header), good, claims, signers, headers),
    st.builds(lambda changes, key: key.sign(changes), claims, signers),
    st.builds(lambda octets: compact({"alg": "RS256", "kid": POOL.id_key.kid}, octets, lambda _: b"x"), st.binary(min_size=1, max_size=20)),
    st.builds(POOL.id_key.sign, st.binary(min_size=1, max_size=20)),
    st.text(max_size=20),
    st.just("a" * 17_000),
    st.none(),
)


@given(tokens, st.sampled_from(AUTHORIZERS), st.sampled_from([frozenset(), READ]))
def test_the_first_unmet_rule_of_a_report_is_the_reason(token: str | None, authorizer: Any, scopes: frozenset[str]) -> None:
    """For every token there is, forged and random, decision and report name the same rule, and each rule before it is met."""
    evaluation = judged(authorizer, token, scopes, NOW)
    steps = report(authorizer.rules, evaluation)
    routes: Routes[Route] = Routes()
    routes.add("/", {"GET": Route(label="GET /", authorizer=authorizer, scopes=scopes)})
    api = Api(name="a", base_path=(), routes=routes, authorizers={}, claims=Claims(), identity_headers=())
    request = Request("GET", "a.test", "/", {} if token is None else {"authorization": token})
    decision = Gateway(apis={"a": api}, hosts=Hosts([("", (), api)])).decide(request, NOW)

    unmet = [step for step in steps if step.met is False]
    if isinstance(decision, Deny):
        assert [step.rule.reason for step in unmet] == [decision.reason]
        assert unmet[0].details == decision.details
    else:
        assert isinstance(decision, Allow)
        assert unmet == []
    assert [step.rule for step in steps] == list(authorizer.rules)
    met = [step.met for step in steps]
    assert met == sorted(met, key=[True, False, None].index), "what was not reached comes last"


@pytest.mark.parametrize("authorizer", AUTHORIZERS, ids=["list", "unknown list", "no list"])
def test_each_rule_has_a_name_of_its_own(authorizer: Any) -> None:
    """A report and a page of reasons can point at one rule."""
    names = [rule.name for rule in authorizer.rules]

    assert len(set(names)) == len(names)


def test_a_good_token_meets_every_rule() -> None:
    """A report without an unmet rule belongs to an allow."""
    token = POOL.id_token(client=CLIENT, exp=NOW + 9)
    steps = report(AUTHORIZERS[0].rules, judged(AUTHORIZERS[0], token, frozenset(), NOW))

    assert {step.met for step in steps} == {True}


def test_a_report_tells_what_was_not_reached() -> None:
    """Nothing is said about rules behind the one that is not met."""
    steps = report(AUTHORIZERS[0].rules, judged(AUTHORIZERS[0], OTHER.id_token(), frozenset(), NOW))
    by_name = {step.rule.name: step for step in steps}

    assert by_name["issuer"].rule.reason is Reason.ISSUER_UNKNOWN
    assert (by_name["form"].met, by_name["issuer"].met, by_name["signature"].met) == (True, False, None)
    assert by_name["issuer"].details == (("issuers_known", POOL.issuer),)
    assert by_name["signature"].details == ()
