"""The schema: what each key takes, and what is said when it takes something else."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from authz_server.config.schema import Configuration, json_schema

FULL = Path(__file__).with_name("full.yaml")
ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home00001"
HEAD = f"version: 1\nauthorizers: {{home: {{type: cognito_user_pools, provider_arns: ['{ARN}']}}}}\n"

EXAMPLE_ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Ab1Cd2Ef3"

TOP = ", expected one of version, authorizers, apis, user_pools, keys, ignore_warnings"
AUTHORIZER = (
    ", expected one of type, provider_arns, identity_source, authorizer_result_ttl_in_seconds, "
    "ignore_warnings, identity_validation_expression, app_clients, accept_updated_issuer"
)
API = (
    ", expected one of hosts, base_path, stage_variables, claim_headers, claim_headers_overflow, "
    "forward_token, dynamic_metadata, log_claims, routes, ignore_warnings"
)
LINEAR = "look-around, back-references and possessive repetition are not supported, so that matching takes linear time"
METHOD = ", expected one of authorizer, authorization_scopes, authorization_type, ignore_warnings"
TYPES = ", expected one of NONE, COGNITO_USER_POOLS"
METHODS = ", expected one of GET, HEAD, OPTIONS, PATCH, POST, PUT, DELETE, ANY"
MISSING_TYPE = "key 'type' is missing, expected for example `type: \"cognito_user_pools\"`"
TEXT = "expected text, not the number 5; quote it"
EMPTY = "empty text, expected at least one character"
HTTP = "http is refused: who can change the keys can sign tokens; expected https, a loopback address, or allow_http: true"
IDENTITY_SOURCE = (
    "is no identity source, expected one header, method.request.header.NAME; "
    "this type of authorizer reads no query string and no second source"
)
HOST = "is no host, expected a name such as api.example.com or *.example.com, without scheme and port"
BASE_PATH = "is no base path, expected literal segments such as /prod or /a/b, without a slash at the end"
TAKEN = "can not carry a claim, HTTP or Envoy gives it another meaning; expected a name such as x-auth-sub"
HEADER = "is no header name, expected letters, digits and - as in x-auth-sub"
UNDECIDED = "this method has no authorizer; only `authorization_type: NONE` makes a method public"
CONTRADICTION = "authorization_type NONE makes a method public, it can not have an authorizer or scopes"
SCOPE = "is no scope, expected 1 to 256 characters without space, quote and backslash"

BAD_HOSTS = ("https://a", "a:443", "a.", "a..b", "*a.b", "a.*", "ä.de", "[::1", "a b", "::1", "")
BAD_BASE_PATHS = ("prod", "/prod/", "//", "/{stage}", "/a//b", "/..", "/a b", "/%61")
TAKEN_HEADERS = (
    *("Host", "authorization", "Cookie", "expect", "X-Request-Id", "x-envoy-original-path"),
    *("X-Forwarded-For", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-client-cert", "x-forwarded-users", "x-forwarded-user-agent"),
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
    *("content-length", "te", "trailer", "transfer-encoding", "Upgrade"),
)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("»[]", ["expected a mapping, not a list"]),
        ("»hello", ["expected a mapping, not 'hello'"]),
        ("»5", ["expected a mapping, not the number 5"]),
        ("»{}", ["key 'version' is missing, expected for example `version: 1`"]),
        ("version: »2", ["version 2 is not known, expected 1"]),
        ("version: »'1'", ["expected a whole number, not '1'"]),
        ("version: »1.5", ["expected a whole number, not the number 1.5"]),
        ("version: 1.0", []),
        ("»Version: 1", ["write `version` here, not 'Version'"]),
        ("version: »true", ["expected a whole number, not true"]),
        ("version: 1\n»authoriser: {}", [f"unknown key 'authoriser'{TOP}; did you mean 'authorizers'?"]),
        ("version: 1\n»'[key]': {}", [f"unknown key '[key]'{TOP}; did you mean 'keys'?"]),
        (
            "version: 1\n»'[key]': {}\napis: {a: {»'[key]': 1}, »'': {}}\nuser_pools: {'[key]': {issuer: »5}}",
            [f"unknown key '[key]'{TOP}; did you mean 'keys'?", f"unknown key '[key]'{API}", EMPTY, TEXT],
        ),
        ("version: 1\n»banana: »${NOT_SET}", [f"unknown key 'banana'{TOP}", "environment variable 'NOT_SET' is not set"]),
        ("version: 1\napis: »text", ["expected a mapping, not 'text'"]),
        ("version: 1\nauthorizers: »[]\nuser_pools: »5", ["expected a mapping, not a list", "expected a mapping, not the number 5"]),
        ("version: 1\nauthorizers: {»'': »5}", ["empty text, expected at least one character", "expected a mapping, not the number 5"]),
        ('version: 1\napis: {»"a\\tb": {}}', ["'a\\tb' holds a line break or another control character"]),
    ],
)
def test_the_top(refuses, text, messages):
    """The top has a version and three sections, all of them mappings from names."""
    refuses(text, *messages)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("»»{}", [f"key 'provider_arns' is missing, expected for example `provider_arns: [\"{EXAMPLE_ARN}\"]`", MISSING_TYPE]),
        (f"»{{provider_arns: ['{ARN}']}}", [MISSING_TYPE]),
        (f"{{provider_arns: ['{ARN}'], type: »jwt}}", ["'jwt' is not possible here, expected cognito_user_pools"]),
        (f"{{provider_arns: ['{ARN}'], type: »[]}}", ["a list is not possible here, expected cognito_user_pools"]),
        (
            f"{{provider_arns: ['{ARN}'], type: »Cognito_User_Pool}}",
            ["'Cognito_User_Pool' is not possible here, expected cognito_user_pools; did you mean 'cognito_user_pools'?"],
        ),
        ("{type: cognito_user_pools, provider_arns: »[]}", ["the list is empty, expected at least one value"]),
        ("{type: cognito_user_pools, provider_arns: »text}", ["expected a list, not 'text'"]),
        (
            f"{{type: cognito_user_pools, provider_arns: »[{', '.join([ARN] * 1_001)}]}}",
            ["the list has 1001 values, expected at most 1000"],
        ),
        (
            "{type: cognito_user_pools, provider_arns: [»5, »x]}",
            [
                "expected text, not the number 5; quote it",
                "'x' is no user pool ARN, expected arn:{partition}:cognito-idp:{region}:{account}:userpool/{poolId}",
            ],
        ),
    ],
)
def test_what_an_authorizer_must_have(refuses, text, messages):
    """An authorizer has the one type there is and one to a thousand user pools."""
    before, _, after = text.partition("{")
    marks = before.count("»")
    refuses(f"version: 1\nauthorizers:\n  {'»' * marks}a: {{{after}", *messages)


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ("identity_source: »method.request.querystring.token", [f"'method.request.querystring.token' {IDENTITY_SOURCE}"]),
        (
            "identity_source: »'method.request.header.A,method.request.header.B'",
            [f"'method.request.header.A,method.request.header.B' {IDENTITY_SOURCE}"],
        ),
        ("identity_source: »'method.request.header.'", [f"'method.request.header.' {IDENTITY_SOURCE}"]),
        ("identity_validation_expression: »5", [TEXT]),
        ("identity_validation_expression: »''", [EMPTY]),
        ("identity_validation_expression: »'('", ["'(' is no regular expression of RE2 (missing ): ()"]),
        (
            "identity_validation_expression: »'(?!a)'",
            [f"'(?!a)' is no regular expression of RE2 (invalid perl operator: (?!); {LINEAR}"],
        ),
        ("authorizer_result_ttl_in_seconds: »3601", ["3601 is too large, expected at most 3600"]),
        ("authorizer_result_ttl_in_seconds: »-1", ["-1 is too small, expected at least 0"]),
        ("authorizer_result_ttl_in_seconds: »1.5", ["expected a whole number, not the number 1.5"]),
        ("authorizer_result_ttl_in_seconds: »true", ["expected a whole number, not true"]),
        ("authorizer_result_ttl_in_seconds: »5m", ["expected a whole number, not '5m'"]),
        ("app_clients: »[]", ["the list is empty, expected at least one value"]),
        ("app_clients:»", ["the value is empty; write one, or leave the key out"]),
        ("app_clients: [a, »5, »'']", [TEXT, EMPTY]),
        ("accept_updated_issuer: »on", ["expected true or false, not 'on'"]),
        ("accept_updated_issuer: »1", ["expected true or false, not the number 1"]),
        ("authorizer_result_ttl_in_seconds: »'300'", ["expected a whole number, not '300'"]),
        ("accept_updated_issuer: »'true'", ["expected true or false, not 'true'"]),
        ("identity_source: »Authorization", ["write method.request.header.Authorization here, not 'Authorization'"]),
        (
            "identity_source: »'$request.header.X-Token'",
            ["write method.request.header.X-Token here, not '$request.header.X-Token'"],
        ),
    ],
)
def test_what_an_authorizer_may_have(refuses, keys, messages):
    """Each other key of an authorizer takes what API Gateway takes."""
    refuses(f"version: 1\nauthorizers:\n  a:\n    type: cognito_user_pools\n    provider_arns: ['{ARN}']\n    {keys}", *messages)


@pytest.mark.parametrize(
    ("foreign", "ours", "value"),
    [
        ("providerARNs", "provider_arns", f"['{ARN}']"),
        ("ProviderARNs", "provider_arns", f"['{ARN}']"),
        ("UserPoolArn", "provider_arns", f"['{ARN}']"),
        ("identitySource", "identity_source", "x"),
        ("identityValidationExpression", "identity_validation_expression", "x"),
        ("ValidationExpression", "identity_validation_expression", "x"),
        ("authorizerResultTtlInSeconds", "authorizer_result_ttl_in_seconds", "300"),
        ("Type", "type", "cognito_user_pools"),
    ],
)
def test_api_gateways_spelling_of_a_key_is_answered_with_ours(refuses, foreign, ours, value):
    """A key that was pasted from API Gateway, CloudFormation or SAM is told with its name here first, and not called missing, too."""
    required = {"type": "cognito_user_pools", "provider_arns": f"['{ARN}']"}
    keys = [f"»{foreign}: {value}", *(f"{key}: {wanted}" for key, wanted in required.items() if key != ours)]

    refuses(f"version: 1\nauthorizers: {{a: {{{', '.join(keys)}}}}}", f"write `{ours}` here, not {foreign!r}")


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [("authorizationScopes", "authorization_scopes"), ("scopes", "authorization_scopes"), ("AuthorizationType", "authorization_type")],
)
def test_api_gateways_spelling_in_a_method_is_answered_with_ours(refuses, foreign, ours):
    """The same holds for what stands in a method."""
    refuses(f"{HEAD}apis: {{a: {{routes: {{/: {{GET: {{authorizer: home, »{foreign}: []}}}}}}}}}}", f"write `{ours}` here, not {foreign!r}")


@pytest.mark.parametrize("spelling", ["cognito_user_pools", "COGNITO_USER_POOLS"])
def test_the_type_of_an_authorizer_may_be_in_capitals(configure, spelling):
    """API Gateway's API writes it so, its OpenAPI extension in small letters; both are one type."""
    home = configure(HEAD.replace("cognito_user_pools", spelling)).configuration.authorizers["home"]

    assert home.type == "cognito_user_pools"


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ("hosts: »[]", ["the list is empty, expected at least one value"]),
        ("hosts: »api.example.com", ["expected a list, not 'api.example.com'"]),
        ("hosts: [»'*']", ["'*' is no host; leave `hosts` out to serve every host that no other api names"]),
        *((f"hosts: [»'{host}']", [f"{host!r} {HOST}"]) for host in BAD_HOSTS),
        ("hosts: [»5]", [TEXT]),
        *((f"base_path: »'{path}'", [f"{path!r} {BASE_PATH}"]) for path in BAD_BASE_PATHS),
        ("base_path: »5", [TEXT]),
        ("stage_variables: {»a-b: x}", ["'a-b' is no name of a stage variable, expected letters, digits and _"]),
        ("stage_variables: {a: »5, b: »true}", [TEXT, "expected text, not true; quote it"]),
        ("stage_variables: {a: »{}}", ["expected text, not a mapping"]),
        ("stage_variables: »[a]", ["expected a mapping, not a list"]),
        *((f"claim_headers: {{»{name}: sub}}", [f"header {name!r} {TAKEN}"]) for name in TAKEN_HEADERS),
        *((f"claim_headers: {{»'{name}': sub}}", [f"{name!r} {HEADER}"]) for name in (":path", "x y", "", "ä", "x:y", "x/y")),
        ("claim_headers: {x-a: »5, x-b: »''}", [TEXT, EMPTY]),
        ("claim_headers_overflow: »truncate", ["'truncate' is not possible here, expected one of drop, deny"]),
        ("forward_token: »no", ["expected true or false, not 'no'"]),
        ("dynamic_metadata: »on", ["expected off, all or a list of claims, not 'on'"]),
        ("dynamic_metadata: »{a: b}", ["expected off, all or a list of claims, not a mapping"]),
        ("dynamic_metadata: »[]", ["the list is empty, expected at least one value"]),
        ("dynamic_metadata: [sub, »5]", [TEXT]),
        ("log_claims: »sub", ["expected a list, not 'sub'"]),
        ("routes: »[]", ["expected a mapping, not a list"]),
        ("routes: {/: »[]}", ["expected a mapping, not a list"]),
        (
            "»route: {}",
            [f"unknown key 'route'{API}; did you mean 'routes'?"],
        ),
    ],
)
def test_an_api(refuses, keys, messages):
    """Each key of an api takes what can be served."""
    refuses(f"version: 1\napis:\n  a:\n    {keys}", *messages)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("»GET: {}", [UNDECIDED]),
        ("»GET: {authorization_scopes: [a]}", [UNDECIDED]),
        ("»GET: {authorization_type: COGNITO_USER_POOLS}", [UNDECIDED]),
        ("»GET: {authorization_type: NONE, authorizer: home}", [CONTRADICTION]),
        ("»GET: {authorization_type: NONE, authorization_scopes: [a]}", [CONTRADICTION]),
        ("GET: {authorization_type: »none}", [f"'none' is not possible here{TYPES}; did you mean 'NONE'?"]),
        ("GET: {authorization_type: »AWS_IAM}", [f"'AWS_IAM' is not possible here{TYPES}"]),
        ("GET: {authorizer: »5}", [TEXT]),
        ("GET: {authorizer: »''}", [EMPTY]),
        ("GET: {authorizer: home, authorization_scopes: »a}", ["expected a list, not 'a'"]),
        ("GET: {authorizer: home, authorization_scopes: [»a b, »'', »5]}", [f"'a b' {SCOPE}", f"'' {SCOPE}", TEXT]),
        (f"GET: {{authorizer: home, authorization_scopes: [»{'a' * 257}]}}", [f"'{'a' * 60}…' {SCOPE}"]),
        ("GET: »home", ["expected a mapping, not 'home'"]),
        ("GET:»", ["the value is empty; write one, or leave the key out"]),
        ("»get: {authorizer: home}", [f"'get' is not possible here{METHODS}; did you mean 'GET'?"]),
        ("»TRACE: {authorizer: home}", [f"'TRACE' is not possible here{METHODS}"]),
        (
            "GET: {authorizer: home, »audience: [a]}",
            [f"unknown key 'audience'{METHOD}"],
        ),
        ("»x-amazon-apigateway-any-method: {authorizer: home}", ["write ANY here, not 'x-amazon-apigateway-any-method'"]),
        ("GET: {authorizer: home, authorization_scopes: []}", []),
        ("GET: {authorizer: home, authorization_type: COGNITO_USER_POOLS}", []),
        ("GET: {authorization_type: NONE, authorization_scopes: []}", []),
    ],
)
def test_a_method(refuses, text, messages):
    """A method names an authorizer or says that it is public; nothing is public by omission."""
    refuses(f"{HEAD}apis:\n  a:\n    routes:\n      /:\n        {text}", *messages)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("jwks_uri: »http://keys.example.com/", [HTTP]),
        ("jwks_uri: »http://keys.example.com/, allow_http: false", [HTTP]),
        ("jwks_uri: »keys.json", ["this is no URL, expected https://HOST/PATH"]),
        ("jwks_uri: »'https://a:b@c/'", ["a URL with a user or password is refused: it would end up in logs"]),
        ("jwks_uri: »'https://a/#b'", ["a URL with a fragment (#…) is refused: it is never sent"]),
        ("jwks_uri: http://keys.example.com/, allow_http: »maybe", ["expected true or false, not 'maybe'"]),
        ("jwks_file: »5", [TEXT]),
        ("issuer: »''", [EMPTY]),
        (
            "»url: https://a/",
            [
                "unknown key 'url', expected one of allow_http, jwks_uri, jwks_file, issuer, ca_file, stale_ceiling_in_seconds, ignore_warnings"
            ],
        ),
        ("ca_file: »''", [EMPTY]),
        ("stale_ceiling_in_seconds: »59", ["59 is too small, expected at least 60"]),
        ("stale_ceiling_in_seconds: 60, ca_file: ca.pem", []),
        ("jwks_uri: http://keys.example.com/, allow_http: true", []),
        ("jwks_uri: http://localhost/", []),
        ("", []),
    ],
)
def test_a_user_pool(refuses, text, messages):
    """A user pool's keys come over https, from this host, or from a file."""
    refuses(f"{HEAD}user_pools:\n  eu-west-1_Home00001: {{{text}}}", *messages)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("»[]", ["expected a mapping, not a list"]),
        ("{ca_file: »5}", [TEXT]),
        ("{stale_ceiling_in_seconds: »604801}", ["604801 is too large, expected at most 604800"]),
        ("{stale_ceiling_in_seconds: »1d}", ["expected a whole number, not '1d'"]),
        ("{»ca_fil: x}", ["unknown key 'ca_fil', expected one of ca_file, stale_ceiling_in_seconds; did you mean 'ca_file'?"]),
        ("{stale_ceiling_in_seconds: 604800}", []),
        ("{}", []),
    ],
)
def test_keys_of_all_pools(refuses, text, messages):
    """What holds for the keys of all pools is checked as it is for one."""
    refuses(f"{HEAD}keys: {text}", *messages)


def test_keys_have_one_place(refuses):
    """A URL and a file of keys exclude each other."""
    refuses(
        f"{HEAD}user_pools:\n  »eu-west-1_Home00001: {{jwks_uri: https://a/, jwks_file: b}}",
        "jwks_uri and jwks_file exclude each other, expected one of them",
    )


def test_numbers_and_booleans_may_come_from_the_environment(configure):
    """The schema and not the environment decides what a variable is: a number where one is due, text where text is due."""
    text = HEAD.replace("}}", ", authorizer_result_ttl_in_seconds: '${N}', accept_updated_issuer: '${B}', app_clients: ['${N}']}}")

    home = configure(text, N="60", B="true").configuration.authorizers["home"]

    assert (home.authorizer_result_ttl_in_seconds, home.accept_updated_issuer, home.app_clients) == (60, True, ("60",))


def test_the_defaults(configure):
    """What is left out is what API Gateway does, and nothing beyond it."""
    configuration = configure(f"{HEAD}apis: {{a: {{}}}}").configuration
    home, api = configuration.authorizers["home"], configuration.apis["a"]

    assert home.identity_source == "method.request.header.Authorization"
    assert home.authorizer_result_ttl_in_seconds == 300
    assert (home.identity_validation_expression, home.app_clients, home.accept_updated_issuer) == (None, None, False)
    assert (api.hosts, api.base_segments, api.claim_headers, api.claim_headers_overflow) == (None, (), {}, "drop")
    assert (api.forward_token, api.dynamic_metadata, api.log_claims, api.routes) == (True, "off", (), {})


@pytest.mark.parametrize(("text", "segments"), [("''", ()), ("/", ()), ("/prod", ("prod",)), ("/a/b~1", ("a", "b~1"))])
def test_base_paths(configure, text, segments):
    """A base path is cut into its segments."""
    assert configure(f"version: 1\napis: {{a: {{base_path: {text}}}}}").configuration.apis["a"].base_segments == segments


@pytest.mark.parametrize("name", ["x-forwarded-user", "X-Forwarded-Email", "x-forwarded-groups", "x-forwarded-preferred-username"])
def test_a_claim_may_stand_where_oauth2_proxy_puts_it(configure, name):
    """Of the headers that begin with x-forwarded-, those that name a user may carry claims."""
    api = configure(f"version: 1\napis: {{a: {{claim_headers: {{{name}: sub}}}}}}").configuration.apis["a"]

    assert api.claim_headers == {name: "sub"}


@pytest.mark.parametrize("host", ["localhost", "API.Example.com", "'*.example.com'", "10.0.0.1", "a_b-c", "'[::1]'"])
def test_hosts_have_no_case(configure, host):
    """A host is kept in lower case."""
    hosts = configure(f"version: 1\napis: {{a: {{hosts: [{host}]}}}}").configuration.apis["a"].hosts

    assert hosts == (host.strip("'").lower(),)


def test_values_can_not_be_changed(configure):
    """A loaded configuration is frozen."""
    with pytest.raises(ValueError, match="frozen"):
        configure(HEAD).configuration.version = 2


def test_editors_get_a_json_schema_that_accepts_the_example():
    """The JSON Schema is valid, takes the full example with its variables, and describes every key."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(FULL.read_text()))
    for model in (schema, *schema["$defs"].values()):
        assert model["description"]
        assert all(field["description"] for field in model["properties"].values())
    assert "null" not in json.dumps(schema)
    assert schema["title"] == Configuration.__name__


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("version",), 2),
        (("banana",), 1),
        (("authorizers", "staff", "identity_source"), "method.request.querystring.a"),
        (("authorizers", "staff", "authorizer_result_ttl_in_seconds"), 3601),
        (("authorizers", "staff", "app_clients"), None),
        (("apis", "shop", "claim_headers", "x y"), "sub"),
        (("apis", "shop", "stage_variables", "a-b"), "x"),
        (("apis", "shop", "hosts"), ["https://a"]),
        (("apis", "shop", "base_path"), "/a/"),
        (("apis", "shop", "routes", "/pets", "get"), {"authorizer": "staff"}),
        (("apis", "shop", "routes", "/pets", "GET"), {}),
        (("apis", "shop", "forward_token"), "no"),
        (("keys", "stale_ceiling_in_seconds"), 59),
    ],
)
def test_editors_see_mistakes(keys, value):
    """The JSON Schema refuses what it can refuse without knowing the rest of the file."""
    document = yaml.safe_load(FULL.read_text())
    *path, last = keys
    part = document
    for key in path:
        part = part[key]
    part[last] = value

    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(document)
