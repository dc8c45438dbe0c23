"""The walk of AWS's page "Integrate a REST API with an Amazon Cognito user pool", against moto instead of AWS."""

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from authz_server.demo import envoy
from authz_server.demo.process import Process, accepts, authz_server, free_port
from authz_server.demo.upstream import Upstream
from tests.e2e.stack import Edge

PASSWORD = "Correct-horse-7"
CONFIGURATION = """\
version: 1
authorizers:
  CognitoAuthorizer: {{type: cognito_user_pools, provider_arns: ["{arn}"]}}
apis:
  petstore:
    claim_headers: {{x-auth-sub: sub, x-auth-username: "cognito:username"}}
    routes:
      /pets:
        GET: {{authorizer: CognitoAuthorizer}}
        POST: {{authorizer: CognitoAuthorizer, authorization_scopes: [aws.cognito.signin.user.admin]}}
"""


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    """Start a moto server and give its URL."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "moto.log"
    with Process(["moto_server", "-H", "127.0.0.1", "-p", str(port)], log=log) as process:
        process.wait_until(lambda: accepts(port), 60)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def cognito(moto):
    """Make a client of moto's Cognito."""
    return boto3.client("cognito-idp", "us-east-1", endpoint_url=moto, aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture(scope="module")
def tokens(cognito):
    """Create a pool, an app client and a user, and sign in: ARN, ID token and access token."""
    pool = cognito.create_user_pool(PoolName="petstore")["UserPool"]
    flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    client = cognito.create_user_pool_client(UserPoolId=pool["Id"], ClientName="web", ExplicitAuthFlows=flows)["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool["Id"], Username="ada", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool["Id"], Username="ada", Password=PASSWORD, Permanent=True)
    anonymous = boto3.client(
        "cognito-idp", "us-east-1", endpoint_url=cognito.meta.endpoint_url, config=Config(signature_version=UNSIGNED)
    )  # as an app signs in
    secrets = {"USERNAME": "ada", "PASSWORD": PASSWORD}
    answer = anonymous.initiate_auth(ClientId=client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=secrets)["AuthenticationResult"]
    return pool["Arn"], answer["IdToken"], answer["AccessToken"]


@pytest.fixture(scope="module")
def api(tmp_path_factory, moto, tokens):
    """Put the API behind Envoy; the keys come from where the AWS SDKs' own variable points."""
    folder = tmp_path_factory.mktemp("walk")
    config = folder / "authz.yaml"
    config.write_text(CONFIGURATION.format(arn=tokens[0]))
    port, grpc = free_port(), free_port()
    upstream = Upstream()
    command = ("serve", "--config", str(config), "--listen", f"127.0.0.1:{grpc}", "--drain-seconds", "0")
    server = authz_server(*command, log=folder / "server.log", environment={"AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": moto})
    server.wait_until(lambda: accepts(grpc))
    proxy = envoy.start(envoy.moved(envoy.template(), listener=port, authz=grpc, upstream=upstream.port), port=port, folder=folder)
    yield Edge(port=port, variant="hardened")
    proxy.stop()
    server.stop()
    upstream.close()


def test_the_walk_of_the_aws_page(api, tokens):
    """Signed in, the ID token opens the route without scopes and the access token the one with; never the other way round."""
    _, id_token, access_token = tokens

    assert api.send("GET", "/pets").status == 401
    assert api.send("GET", "/pets", [("authorization", id_token)]).upstream["headers"]["x-auth-username"] == "ada"
    assert api.send("GET", "/pets", [("authorization", f"Bearer {id_token}")]).status == 200
    assert api.send("GET", "/pets", [("authorization", access_token)]).status == 401
    assert api.send("POST", "/pets", [("authorization", access_token)]).status == 200
    assert api.send("POST", "/pets", [("authorization", id_token)]).status == 401


def test_the_401_is_api_gateways_own(api):
    """Status, body and headers are those that were recorded from API Gateway."""
    answer = api.send("GET", "/pets")

    assert answer.body == '{"message":"Unauthorized"}'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amzn-errortype"] == "UnauthorizedException"
    assert len(answer.headers["x-amzn-requestid"]) == 36
    assert "www-authenticate" not in answer.headers
