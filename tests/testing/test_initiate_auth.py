"""Users sign in at a local Cognito with the real AWS SDK, and get Cognito's answers."""

import json
import os

import boto3
import jwt
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from authz_server.testing import LocalCognito, UserPool

PASSWORD = "Correct-Horse-1"
TARGET = {"X_Amz_Target": "AWSCognitoIdentityProviderService.InitiateAuth", "Content_Type": "application/x-amz-json-1.1"}


@pytest.fixture(autouse=True)
def user(pool):
    """Ada, whose password is `PASSWORD`."""
    return pool.add_user("ada", password=PASSWORD, groups=["admin"], attributes={"email": "ada@example.com"})


@pytest.fixture
def public(pool):
    """A client without a secret."""
    return pool.add_client("web")


@pytest.fixture
def confidential(pool):
    """A client with a secret."""
    return pool.add_client("backend", secret=True)


@pytest.fixture(scope="session")
def connect():
    """The SDK's client for a local Cognito, as an application makes it; what this machine configures for AWS is not asked."""
    clients = []

    def connect(cognito: LocalCognito):
        config = Config(signature_version=UNSIGNED, retries={"max_attempts": 0}, proxies={})
        clients.append(boto3.client("cognito-idp", region_name="eu-west-1", endpoint_url=cognito.url, config=config))
        return clients[-1]

    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("AWS_PROFILE", raising=False)
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        yield connect
    for client in clients:
        client.close()


@pytest.fixture
def sdk(connect, cognito):
    """The SDK's client for the local Cognito of the test."""
    return connect(cognito)


def password_auth(client, username="ada", password=PASSWORD, **more):
    """Write the arguments of a sign-in with a password."""
    return {
        "ClientId": client.id,
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": {"USERNAME": username, "PASSWORD": password, **more},
    }


def test_user_signs_in_with_a_password(sdk, pool, public):
    """The SDK gets an ID token, an access token and a refresh token that belong to one sign-in."""
    answer = sdk.initiate_auth(**password_auth(public))

    result = answer["AuthenticationResult"]
    assert answer["ChallengeParameters"] == {}
    assert (result["ExpiresIn"], result["TokenType"]) == (3_600, "Bearer")
    id_claims = jwt.decode(result["IdToken"], pool.id_key.public, algorithms=["RS256"], audience=public.id, issuer=pool.issuer)
    access_claims = jwt.decode(result["AccessToken"], pool.access_key.public, algorithms=["RS256"], issuer=pool.issuer)
    assert id_claims["cognito:username"] == access_claims["username"] == "ada"
    assert id_claims["origin_jti"] == access_claims["origin_jti"]


def test_refresh_token_goes_on_with_the_sign_in(sdk, public):
    """New tokens keep the time of the sign-in, and no new refresh token comes with them."""
    first = sdk.initiate_auth(**password_auth(public))["AuthenticationResult"]
    for flow in ("REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"):
        second = sdk.initiate_auth(ClientId=public.id, AuthFlow=flow, AuthParameters={"REFRESH_TOKEN": first["RefreshToken"]})

        tokens = second["AuthenticationResult"]
        assert "RefreshToken" not in tokens
        before, after = (jwt.decode(t["IdToken"], options={"verify_signature": False}) for t in (first, tokens))
        assert (before["auth_time"], before["origin_jti"]) == (after["auth_time"], after["origin_jti"])
        assert before["jti"] != after["jti"]


def test_client_with_a_secret_needs_its_hash(sdk, confidential):
    """The right SECRET_HASH signs the user in, and refreshes."""
    secret_hash = confidential.secret_hash("ada")
    result = sdk.initiate_auth(**password_auth(confidential, SECRET_HASH=secret_hash))["AuthenticationResult"]
    parameters = {"REFRESH_TOKEN": result["RefreshToken"], "SECRET_HASH": secret_hash}

    assert sdk.initiate_auth(ClientId=confidential.id, AuthFlow="REFRESH_TOKEN_AUTH", AuthParameters=parameters)["AuthenticationResult"]


@pytest.mark.parametrize(
    ("request_of", "exception", "message"),
    [
        (lambda p, _: password_auth(p, password="wrong"), "NotAuthorizedException", "Incorrect username or password."),
        (lambda p, _: password_auth(p, username="nobody"), "NotAuthorizedException", "Incorrect username or password."),
        (
            lambda p, _: password_auth(p, username="nobody", password="\ud83d\ude00"),
            "NotAuthorizedException",
            "Incorrect username or password.",
        ),
        (lambda p, _: password_auth(p, password=""), "InvalidParameterException", "Missing required parameter PASSWORD"),
        (lambda p, _: password_auth(p) | {"AuthParameters": {}}, "InvalidParameterException", "Missing required parameter USERNAME"),
        (lambda p, _: password_auth(p) | {"ClientId": "unknown"}, "ResourceNotFoundException", "User pool client unknown does not exist."),
        (
            lambda p, _: password_auth(p) | {"AuthFlow": "USER_SRP_AUTH"},
            "InvalidParameterException",
            "USER_SRP_AUTH flow not enabled for this client",
        ),
        (
            lambda _, c: password_auth(c),
            "NotAuthorizedException",
            "Client {confidential} is configured with secret but SECRET_HASH was not received",
        ),
        (
            lambda _, c: password_auth(c, SECRET_HASH="wrong"),
            "NotAuthorizedException",
            "Unable to verify secret hash for client {confidential}",
        ),
        (
            lambda p, _: password_auth(p, SECRET_HASH="needless"),
            "NotAuthorizedException",
            "Unable to verify secret hash for client {public}",
        ),
        (
            lambda p, _: {"ClientId": p.id, "AuthFlow": "REFRESH_TOKEN_AUTH", "AuthParameters": {"REFRESH_TOKEN": "unknown"}},
            "NotAuthorizedException",
            "Invalid Refresh Token",
        ),
    ],
)
def test_sdk_raises_cognitos_exceptions(sdk, public, confidential, request_of, exception, message):
    """A refusal is the modelled exception with Cognito's message; an unknown user is not told from a wrong password."""
    with pytest.raises(getattr(sdk.exceptions, exception)) as raised:
        sdk.initiate_auth(**request_of(public, confidential))

    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert raised.value.response["Error"]["Message"] == message.format(public=public.id, confidential=confidential.id)


def test_refresh_token_belongs_to_its_client(sdk, public, confidential):
    """Another client of the same pool cannot use it."""
    token = sdk.initiate_auth(**password_auth(public))["AuthenticationResult"]["RefreshToken"]
    parameters = {"REFRESH_TOKEN": token, "SECRET_HASH": confidential.secret_hash("ada")}

    with pytest.raises(sdk.exceptions.NotAuthorizedException, match="Invalid Refresh Token"):
        sdk.initiate_auth(ClientId=confidential.id, AuthFlow="REFRESH_TOKEN_AUTH", AuthParameters=parameters)


def test_client_id_finds_its_pool(pool, new_key, connect):
    """One endpoint serves the sign-in of all pools."""
    other = UserPool("us-east-1_Other0001", new_key=new_key)
    other.add_user("bob", password="Correct-Horse-2")
    client = other.add_client("web")
    with LocalCognito(pool, other) as cognito:
        result = connect(cognito).initiate_auth(**password_auth(client, "bob", "Correct-Horse-2"))["AuthenticationResult"]

    assert jwt.decode(result["IdToken"], options={"verify_signature": False})["iss"] == other.issuer


@pytest.mark.parametrize(
    ("body", "exception"),
    [
        (b"", "SerializationException"),
        (b"{", "SerializationException"),
        (b"[]", "SerializationException"),
        (b"\xff", "SerializationException"),
        (b"[" * 60_000, "SerializationException"),
        (b"{}", "InvalidParameterException"),
        (b'{"AuthFlow":1,"ClientId":"x"}', "InvalidParameterException"),
        (b'{"AuthFlow":"USER_PASSWORD_AUTH","ClientId":"x","AuthParameters":[]}', "SerializationException"),
    ],
)
def test_malformed_sign_in_is_refused(ask, cognito, body, exception):
    """What is no request of the protocol gets status 400 and an exception's name."""
    answer = ask(f"{cognito.url}/", body, **TARGET)

    assert (answer.status, answer.json()["__type"]) == (400, exception)
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"


def test_half_a_surrogate_pair_is_a_wrong_password(ask, cognito, public):
    """Text that UTF-8 cannot hold is compared like any other."""
    body = json.dumps(password_auth(public, password="\ud83d")).encode()

    assert ask(f"{cognito.url}/", body, **TARGET).json()["message"] == "Incorrect username or password."


def test_other_operations_are_unknown(ask, cognito):
    """Only InitiateAuth is served."""
    answer = ask(f"{cognito.url}/", b"{}", X_Amz_Target="AWSCognitoIdentityProviderService.SignUp")

    assert (answer.status, answer.json()["__type"]) == (400, "UnknownOperationException")
