"""Machines get tokens at a local Cognito by OAuth 2.0 client credentials."""

import base64
from urllib.parse import urlencode

import jwt
import pytest

from authz_server.testing import LocalCognito, UserPool

FORM = {"Content_Type": "application/x-www-form-urlencoded"}
SCOPES = ("pets/read", "https://api.example.com/write")


@pytest.fixture
def machine(pool):
    """A confidential client with two custom scopes."""
    return pool.add_client("batch", secret=True, scopes=SCOPES, lifetime=900)


@pytest.fixture
def request_token(ask, cognito):
    """A token request; *basic* is id and secret for the Authorization header."""

    def request_token(basic: tuple[str, str] | None = None, **form: str):
        credentials = {"Authorization": "Basic " + base64.b64encode(":".join(basic).encode()).decode()} if basic else {}
        return ask(f"{cognito.url}/oauth2/token", urlencode(form).encode(), **FORM, **credentials)

    return request_token


def test_machine_gets_a_token_with_basic_credentials(request_token, pool, machine):
    """The answer has an access token and no other, and nobody may cache it."""
    answer = request_token((machine.id, machine.secret), grant_type="client_credentials", scope="pets/read")

    assert answer.status == 200
    assert {**answer.json(), "access_token": ""} == {"access_token": "", "expires_in": 900, "token_type": "Bearer"}
    assert answer.headers["cache-control"] == "no-store"
    claims = jwt.decode(answer.json()["access_token"], pool.access_key.public, algorithms=["RS256"], issuer=pool.issuer)
    assert (claims["sub"], claims["scope"]) == (machine.id, "pets/read")


def test_machine_gets_a_token_with_credentials_in_the_form(request_token, machine):
    """`client_id` and `client_secret` may stand in the body."""
    answer = request_token(grant_type="client_credentials", client_id=machine.id, client_secret=machine.secret)

    assert answer.status == 200


def test_request_without_scope_gets_all_scopes(request_token, machine):
    """The default is every custom scope of the client."""
    answer = request_token((machine.id, machine.secret), grant_type="client_credentials")

    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["scope"] == " ".join(SCOPES)


@pytest.mark.parametrize(
    ("basic", "form", "error"),
    [
        (None, {}, "invalid_request"),
        (None, {"scope": "pets/read"}, "invalid_request"),
        (("{id}", "{secret}"), {"grant_type": "authorization_code"}, "unsupported_grant_type"),
        (None, {"grant_type": "client_credentials"}, "invalid_client"),
        (("{id}", "wrong"), {"grant_type": "client_credentials"}, "invalid_client"),
        (("{id}", "ü"), {"grant_type": "client_credentials"}, "invalid_client"),
        (("unknown", "{secret}"), {"grant_type": "client_credentials"}, "invalid_client"),
        (("{id}", "{secret}"), {"grant_type": "client_credentials", "client_id": "another"}, "invalid_client"),
        (None, {"grant_type": "client_credentials", "client_id": "{id}", "client_secret": ""}, "invalid_client"),
        (None, {"grant_type": "client_credentials", "client_id": "{public}"}, "unauthorized_client"),
        (("{id}", "{secret}"), {"grant_type": "client_credentials", "scope": "pets"}, "invalid_scope"),
        (("{id}", "{secret}"), {"grant_type": "client_credentials", "scope": "pets/read openid"}, "invalid_scope"),
        (("{id}", "{secret}"), {"grant_type": "client_credentials", "scope": " "}, "invalid_scope"),
    ],
)
def test_refusals_are_cognitos(request_token, pool, machine, basic, form, error):
    """Every refusal is status 400 with OAuth's code: unknown and wrong credentials alike, and scopes are whole strings."""
    names = {"id": machine.id, "secret": machine.secret, "public": pool.add_client("web").id}
    basic = tuple(part.format(**names) for part in basic) if basic else None
    answer = request_token(basic, **{name: value.format(**names) for name, value in form.items()})

    assert (answer.status, answer.json()) == (400, {"error": error})


def test_client_without_scopes_gets_no_token(request_token, pool):
    """Client credentials are about custom scopes; there must be one."""
    client = pool.add_client("bare", secret=True)
    answer = request_token((client.id, client.secret), grant_type="client_credentials")

    assert (answer.status, answer.json()) == (400, {"error": "invalid_scope"})


@pytest.mark.parametrize("authorization", ["Basic", "Basic ???", "Basic bm9jb2xvbg==", "Basic /w==", "Basic \xfc", "Bearer YTpi", ""])
def test_malformed_credentials_are_refused(ask, cognito, authorization):
    """What is not Basic with a colon is no client."""
    answer = ask(f"{cognito.url}/oauth2/token", b"grant_type=client_credentials", Authorization=authorization, **FORM)

    assert (answer.status, answer.json()) == (400, {"error": "invalid_client"})


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"grant_type=client_credentials", "application/json"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "application/x-www-form-urlencoded"),
        (b"grant_type", "application/x-www-form-urlencoded"),
        (b"grant_type=%ff", "application/x-www-form-urlencoded"),
        (b"\xff=1", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % i for i in range(100)), "application/x-www-form-urlencoded"),
    ],
)
def test_malformed_forms_are_refused(ask, cognito, body, content_type):
    """Another media type, a field twice, no field at all, bad UTF-8 and too many fields are no request."""
    answer = ask(f"{cognito.url}/oauth2/token", body, Content_Type=content_type)

    assert (answer.status, answer.json()) == (400, {"error": "invalid_request"})


def test_each_pool_has_its_own_endpoint(ask, pool, machine, new_key):
    """Among several pools the path names one, and a client of another pool is unknown there."""
    other = UserPool("us-east-1_Other0001", new_key=new_key)
    form = urlencode({"grant_type": "client_credentials", "client_id": machine.id, "client_secret": machine.secret}).encode()
    with LocalCognito(pool, other) as cognito:
        statuses = [
            ask(url, form, **FORM).status for url in (cognito.token_url(pool), cognito.token_url(other), f"{cognito.url}/oauth2/token")
        ]

    assert statuses == [200, 400, 404]
