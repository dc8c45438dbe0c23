"""Loading: everything that is wrong, at once, and nothing but a configuration or an error."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from authz_server.config import ConfigurationError, Loaded, compile_gateway, load, loading
from authz_server.config.cognito_user_pools import CognitoUserPools
from authz_server.config.schema import Api, Configuration, Keys, Method, UserPool
from authz_server.core.user_pools import ANY_ENDPOINT, IGNORE_ENDPOINTS
from authz_server.core.user_pools import SERVICE_ENDPOINT as ENDPOINT

FULL = Path(__file__).with_name("full.yaml")
ENVIRONMENT = {"KEYS": "https://keys.example.com", "TTL": "60", "CEILING": "7200"}
ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home00001"


def test_the_full_example_loads():
    """A file with every key becomes a configuration."""
    configuration = load(FULL, ENVIRONMENT).configuration

    assert list(configuration.apis) == ["shop", "partners", "fallback"]
    assert configuration.authorizers["web"].authorizer_result_ttl_in_seconds == 60
    assert configuration.authorizers["web"].provider_arns == configuration.authorizers["staff"].provider_arns
    assert configuration.apis["shop"].routes["/pets"]["POST"] == Method(authorizer="staff", authorization_scopes=("pets/write",))


def test_the_full_example_is_full():
    """The example writes every key that the schema knows, so that no key goes untested."""
    configuration = load(FULL, ENVIRONMENT).configuration
    methods = [method for api in configuration.apis.values() for methods in api.routes.values() for method in methods.values()]
    parts = {
        CognitoUserPools: configuration.authorizers.values(),
        Api: configuration.apis.values(),
        Method: methods,
        UserPool: configuration.user_pools.values(),
        Keys: [configuration.keys],
        Configuration: [configuration],
    }

    for model, written in parts.items():
        assert set().union(*(part.model_fields_set for part in written)) == set(model.model_fields)


def test_every_mistake_is_told_at_once(refuses):
    """Problems of the text, of single values and between parts are told together, in file order."""
    refuses(
        f"""»»versoin: 1
authorizers:
  home-users:
    type: cognito_user_pools
    provider_arns: ['{ARN}']
    »identity_sorce: x
  broken: {{type: cognito_user_pools, provider_arns: [»'${{POOL}}']}}
apis:
  shop:
    hosts: [shop.example.com]
    »hosts: [shop2.example.com]
    routes:
      /pets: {{GET: {{authorizer: »home-user}}, »POST: {{}}, PUT: {{authorizer: broken}}}}
      /{{a}}: {{GET: »!!str x}}
      »/{{b}}: {{GET: {{authorizer: home-users, authorization_scopes: [»a b]}}}}
  store: {{hosts: [»shop.example.com], base_path: ''}}
user_pools:
  eu-west-1_Home00001: {{jwks_uri: »http://example.com}}
""",
        "key 'version' is missing, expected for example `version: 1`",
        "unknown key 'versoin', expected one of version, authorizers, apis, user_pools, keys, ignore_warnings; did you mean 'version'?",
        "unknown key 'identity_sorce', expected one of type, provider_arns, identity_source, authorizer_result_ttl_in_seconds, "
        "ignore_warnings, identity_validation_expression, app_clients, accept_updated_issuer; did you mean 'identity_source'?",
        "environment variable 'POOL' is not set",
        "key 'hosts' stands twice, first on line 10",
        "authorizer 'home-user' is not defined, expected one of home-users, broken; did you mean 'home-users'?",
        "this method has no authorizer; only `authorization_type: NONE` makes a method public",
        "tag 'tag:yaml.org,2002:str' is not supported, leave it out",
        "resource '/{b}': {b} collides with its sibling {a}; a level can have one parameter",
        "'a b' is no scope, expected 1 to 256 characters without space, quote and backslash",
        "api 'shop' has host 'shop.example.com' with this base path already, expected another host or base_path",
        "http is refused: who can change the keys can sign tokens; expected https, a loopback address, or allow_http: true",
    )


def test_a_mistake_behind_an_alias_is_told_once(refuses):
    """What stands once in the file is told once, however often it is used."""
    refuses(
        f"""version: 1
authorizers: {{home: {{type: cognito_user_pools, provider_arns: ['{ARN}']}}}}
apis:
  a: {{routes: {{/a: {{GET: &m {{authorizer: home, authorization_scopes: [»a b]}}, PUT: *m}}, /b: {{ANY: *m}}}}}}
""",
        "'a b' is no scope, expected 1 to 256 characters without space, quote and backslash",
    )


def test_the_error_text_names_the_file(configure, tmp_path):
    """Each line of the error begins with file:line:column, and a hundred are listed."""
    text = "version: 1\n" + "".join(f"x{number}: 1\n" for number in range(250))

    with pytest.raises(ConfigurationError) as error:
        configure(text)

    lines = str(error.value).splitlines()
    assert len(error.value.problems) == 250
    assert lines[0].startswith(f"{tmp_path}/authz.yaml:2:1: unknown key 'x0'")
    assert lines[100:] == ["… and 150 more"]


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, ""),
        ({ENDPOINT: ""}, ""),
        ({ENDPOINT: "https://cognito.example.com/"}, "https://cognito.example.com"),
        ({ENDPOINT: "http://127.0.0.1:9229"}, "http://127.0.0.1:9229"),
        ({ENDPOINT: "https://cognito.example.com", IGNORE_ENDPOINTS: "True"}, ""),
        ({ENDPOINT: "https://cognito.example.com", IGNORE_ENDPOINTS: "false"}, "https://cognito.example.com"),
        ({ENDPOINT: "no URL at all", IGNORE_ENDPOINTS: "true"}, ""),
        ({ANY_ENDPOINT: "https://aws.example.com"}, "https://aws.example.com"),
        ({ANY_ENDPOINT: "http://localhost:4566/"}, "http://localhost:4566"),
        ({ANY_ENDPOINT: "http://aws.example.com", ENDPOINT: "https://cognito.example.com"}, "https://cognito.example.com"),
        ({ANY_ENDPOINT: "https://aws.example.com", ENDPOINT: ""}, "https://aws.example.com"),
        ({ANY_ENDPOINT: "http://aws.example.com", IGNORE_ENDPOINTS: "true"}, ""),
        ({ANY_ENDPOINT: ""}, ""),
    ],
)
def test_the_cognito_service_may_be_elsewhere(configure, environment, endpoint):
    """The endpoint of the environment is read as AWS SDKs read it: the service's own goes before the one of all services."""
    assert configure("version: 1", **environment).endpoint == endpoint


AT_AWS = f"""\
»version: 1
authorizers: {{home: {{type: cognito_user_pools, provider_arns: ['{ARN}']}}}}
apis: {{a: {{routes: {{/: {{GET: {{authorizer: home}}}}}}}}}}
"""
REFUSED = "http is refused: who can change the keys can sign tokens; expected https, a loopback address, or allow_http: true"


def test_the_cognito_service_must_be_trustworthy(refuses):
    """An endpoint over http is refused like a jwks_uri; the problem names the variable."""
    refuses(
        AT_AWS,
        f"environment variable AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: {REFUSED}",
        AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER="http://cognito.example.com",
    )


def test_the_endpoint_of_all_services_must_be_trustworthy_too(refuses):
    """It may have been meant for another service: the problem says how to leave Cognito out."""
    refuses(
        AT_AWS,
        f"environment variable AWS_ENDPOINT_URL: {REFUSED}; where it is not meant for Cognito, set AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER, "
        "or AWS_IGNORE_CONFIGURED_ENDPOINT_URLS to true",
        AWS_ENDPOINT_URL="http://minio:9000",
    )


@pytest.mark.parametrize("place", ["jwks_file: keys.json", "jwks_uri: https://keys.test/jwks.json"])
@pytest.mark.parametrize("variable", [ENDPOINT, ANY_ENDPOINT])
def test_an_endpoint_that_no_keys_come_from_is_no_concern(configure, variable, place):
    """Where every pool's keys have a place of their own, the variable is there for other programs."""
    pool = ARN.rpartition("/")[2]

    assert configure(f"{AT_AWS.replace('»', '')}user_pools: {{{pool}: {{{place}}}}}", **{variable: "http://minio:9000"}).endpoint == ""


def test_ten_thousand_routes_load_in_seconds(tmp_path):
    """A large file is a matter of a second or two, not of a minute."""
    lines = ["version: 1", f"authorizers: {{home: {{type: cognito_user_pools, provider_arns: ['{ARN}']}}}}", "apis:", "  a:", "    routes:"]
    for number in range(10_000):
        lines += [f"      /r{number // 100}/s{number % 100}/{{id}}:", "        GET: {authorizer: home, authorization_scopes: [a/read]}"]
    path = tmp_path / "large.yaml"
    path.write_text("\n".join(lines))
    start = time.process_time()

    gateway = compile_gateway(load(path, {}), lambda _: None)

    assert gateway.apis["a"].route(["r99", "s99", "x"], "GET").label == "GET /r99/s99/{id}"
    assert time.process_time() - start < 20


def attempt(path: Path, content: bytes) -> Loaded | ConfigurationError:
    """Load a file with this content."""
    path.write_bytes(content)
    try:
        return load(path, {"A": "x"})
    except ConfigurationError as error:
        return error


@given(content=st.binary() | st.text().map(str.encode))
@example(content=b"\xef\xbb\xbf\xc3\xa4\xff")
@example(content=b"? ? ? : :\n")
@example(content=b"a: &a\n  <<: *a\n")
def test_any_file_is_a_configuration_or_an_error(tmp_path_factory, content):
    """Whatever the octets of a file, loading ends with a configuration or with problems that have a place."""
    outcome = attempt(tmp_path_factory.getbasetemp() / "any.yaml", content)

    assert isinstance(outcome, Loaded) or all(problem.line > 0 and problem.column > 0 for problem in outcome.problems)


WORDS = (
    *("version", "authorizers", "apis", "user_pools", "type", "provider_arns", "identity_source", "app_clients", "hosts", "base_path"),
    *("stage_variables", "claim_headers", "dynamic_metadata", "log_claims", "routes", "GET", "authorizer", "authorization_scopes"),
    *("authorization_type", "jwks_uri", "jwks_file", "issuer", "allow_http", "a", "b", "/", "/{a}", "/{b+}", "[key]", "list", "<<", ""),
)
VALUES = (
    1,
    0,
    -1,
    1.5,
    True,
    None,
    "",
    "a",
    "b",
    "off",
    "NONE",
    "cognito_user_pools",
    ARN,
    ARN[:-9] + "${stageVariables.a}",
    "${A}",
    "${B}",
)
DOCUMENTS = st.recursive(
    st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=30,
)


@given(
    document=st.fixed_dictionaries(
        {},
        optional={
            "version": st.sampled_from(VALUES),
            "authorizers": DOCUMENTS | st.dictionaries(st.sampled_from("ab"), DOCUMENTS),
            "apis": DOCUMENTS | st.dictionaries(st.sampled_from("ab"), DOCUMENTS | st.fixed_dictionaries({"routes": DOCUMENTS})),
            "user_pools": DOCUMENTS,
            "other": DOCUMENTS,
            "[key]": DOCUMENTS,
        },
    )
)
def test_any_document_is_a_configuration_or_an_error(tmp_path_factory, document):
    """Whatever stands at the places of the format, each mistake is left out and told, and the search for more ends."""
    outcome = attempt(tmp_path_factory.getbasetemp() / "any.yaml", yaml.safe_dump(document).encode())

    assert isinstance(outcome, Loaded) or outcome.problems


def test_a_mistake_that_cannot_be_left_out_ends_the_search(tmp_path, monkeypatch):
    """Where leaving parts out leads nowhere, what was found is told."""
    monkeypatch.setattr(loading, "_part", lambda _: ("nowhere",))
    path = tmp_path / "authz.yaml"
    path.write_text("version: 1\nnonsense: 1\n")
    with pytest.raises(ConfigurationError, match="unknown key 'nonsense'"):
        load(path, {})
