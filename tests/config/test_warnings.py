"""Warnings: each is told at its place, with a reason, unless the file says that it is intended."""

import re
from pathlib import Path
from typing import get_args

import botocore.session
import pytest

from authz_server.config import load
from authz_server.config.fields import WarningName
from authz_server.config.regions import REGIONS
from authz_server.config.warnings import WARNINGS
from authz_server.core.user_pools import SERVICE_ENDPOINT as ENDPOINT

FULL = Path(__file__).with_name("full.yaml")
POOL = "eu-west-1_Home00001"
ARN = f"arn:aws:cognito-idp:eu-west-1:111122223333:userpool/{POOL}"
HOME = f"type: cognito_user_pools, provider_arns: ['{ARN}'], app_clients: [web1]"
PUBLIC = "{authorization_type: NONE}"
IN_HOME = "in authorizer 'home'"
IN_SHOP = "in api 'shop'"


@pytest.fixture
def warned(configure):
    """Load a text, and give its warnings as place, name, part and message."""

    def warned(text, **environment):
        return [(f"{each.line}:{each.column}", each.name, each.where, each.message) for each in configure(text, **environment).warnings]

    return warned


@pytest.fixture
def warns(warned):
    """Require exactly these warnings (name, part, piece of the message) of a text, each at its `»`."""

    def warns(marked, *expected, **environment):
        *before, rest = marked.split("»")
        places = []
        for count in range(1, len(before) + 1):
            lines = "".join(before[:count]).split("\n")
            places.append(f"{len(lines)}:{len(lines[-1]) + 1}")
        found = warned("".join(before) + rest, **environment)
        assert [entry[:3] for entry in found] == [(place, name, where) for place, (name, where, _) in zip(places, expected, strict=True)]
        for (*_, message), (*_, piece) in zip(found, expected, strict=True):
            assert piece in message

    return warns


def home(keys="", arn=ARN, head=HOME):
    """Write an authorizer, some of its keys, and an api that uses it."""
    head = head.replace(ARN, arn)
    return f"version: 1\nauthorizers:\n  home: {{{head}{keys}}}\napis: {{shop: {{routes: {{/: {{GET: {{authorizer: home}}}}}}}}}}\n"


def test_an_ordinary_file_has_none(warned):
    """An authorizer that lists its app clients, with routes that name it, warns of nothing; neither does a preflight."""
    text = f"""version: 1
authorizers: {{home: {{{HOME}}}}}
apis:
  shop:
    claim_headers: {{x-auth-sub: sub, x-auth-email: email}}
    routes:
      /pets: {{GET: {{authorizer: home}}, POST: {{authorizer: home, authorization_scopes: [pets/write]}}, OPTIONS: {PUBLIC}}}
      /pets/{{petId}}: {{ANY: {{authorizer: home}}, OPTIONS: {PUBLIC}}}
      /health: {{GET: {PUBLIC}}}
"""
    assert warned(text) == []


def test_region_differs(warned):
    """A pool id that begins with another region is a replica's, or a slip."""
    message = (
        "the ARN's region is 'eu-west-1', and the pool id 'us-east-1_Home00001' begins with 'us-east-1': "
        "right for a replica; otherwise a typing error, and no key is ever found"
    )
    assert warned(home(arn=ARN.replace(POOL, "us-east-1_Home00001"))) == [("3:52", "region_differs", IN_HOME, message)]


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        (
            "arn:aws:cognito-idp:eu-wst-1:111122223333:userpool/eu-wst-1_A",
            "region 'eu-wst-1' of partition 'aws' is not known; did you mean 'eu-west-1'?",
        ),
        (
            "arn:aws:cognito-idp:us-gov-west-1:111122223333:userpool/us-gov-west-1_A",
            "region 'us-gov-west-1' of partition 'aws' is not known",
        ),
        ("arn:aws:cognito-idp:local:000000000000:userpool/local_4NLSbbMY", "region 'local' of partition 'aws' is not known"),
    ],
)
def test_unknown_region(warned, arn, message):
    """A region that has no user pools, as far as is known, is told with a guess."""
    (found,) = warned(home(arn=arn))

    assert found[:3] == ("3:52", "unknown_region", IN_HOME)
    assert message in found[3]


def test_regions_do_not_matter_where_keys_are_elsewhere(warned):
    """With an emulator the region in an ARN says nothing."""
    arn = "arn:aws:cognito-idp:local:000000000000:userpool/eu-west-1_4NLSbbMY"
    names = {name for _, name, _, _ in warned(home(arn=arn) + "user_pools: {eu-west-1_4NLSbbMY: {issuer: http://x}}")}

    assert names == {"region_differs", "unknown_region"}
    assert warned(home(arn=arn) + "user_pools: {eu-west-1_4NLSbbMY: {jwks_uri: http://localhost:9229/x}}") == []
    assert warned(home(arn=arn) + "user_pools: {eu-west-1_4NLSbbMY: {jwks_file: x.json}}") == []
    assert warned(home(arn=arn), **{ENDPOINT: "http://localhost:9229"}) == []


def test_an_arn_of_each_stage(warned):
    """An ARN with stage variables is looked at as each api fills it in, and one that two apis fill in alike is told once."""
    text = f"""version: 1
authorizers: {{home: {{{HOME.replace(POOL, "${stageVariables.Pool}")}}}}}
apis:
  a: {{stage_variables: {{Pool: {POOL}}}, routes: {{/: {{GET: {{authorizer: home}}}}}}}}
  b: {{hosts: [b], stage_variables: {{Pool: us-east-1_X}}, routes: {{/: {{GET: {{authorizer: home}}}}}}}}
  c: {{hosts: [c], stage_variables: {{Pool: us-east-1_X}}, routes: {{/: {{GET: {{authorizer: home}}}}}}}}
"""
    (found,) = warned(text)

    assert found[1] == "region_differs"
    assert "us-east-1_X" in found[3]


def test_every_region_of_the_sdk_is_known():
    """The list of regions has all those that the AWS SDK has user pools in."""
    session = botocore.session.Session()

    for partition, known in REGIONS.items():
        assert set(session.get_available_regions("cognito-idp", partition)) <= known


@pytest.mark.parametrize(
    "text",
    ["Bearer.*", "^Bearer [-0-9a-zA-Z._]*$", "[A-Z]{26}", "https://.*", "^$", " .*", "my-client", "zz_.*", "z{3}~"],
)
def test_expression_matches_nothing(warns, text):
    """An expression that no id of an app client can match is told, such as the one on a page of SAM."""
    head = HOME.replace(", app_clients: [web1]", "")
    warns(
        home(f", »identity_validation_expression: '{text}'", head=head),
        ("expression_matches_nothing", IN_HOME, f"{text!r}: no app client id can match, since they are lower-case letters and digits"),
    )


@pytest.mark.parametrize(
    "text", ["web[0-9]+", ".*", "a|B", "[0-9a-z]{26}", "1example23456789", "(?i)WEB1", "[A-Za-z0-9]+", "z.*", "\\C*", ""]
)
def test_expression_that_may_match(warned, text):
    """What can match the id of an app client is not told."""
    head = HOME.replace(", app_clients: [web1]", "")

    assert warned(home(f", identity_validation_expression: '{text}'" if text else ", app_clients: [x]", head=head)) == []


def test_expression_and_app_clients_exclude_each_other(warns, warned):
    """Where app clients are listed, the expression must match one of them."""
    warns(
        home(", »identity_validation_expression: 'mobile.*'"),
        ("expression_matches_nothing", IN_HOME, "'mobile.*': none of app_clients matches. Every token is refused"),
    )
    assert warned(home(", identity_validation_expression: 'web.*'")) == []


def test_expression_with_scopes(warns):
    """An access token has no `aud` to match: the expression is told, with the first of its routes that has scopes."""
    text = home(", »identity_validation_expression: 'web.*'").replace(
        "GET: {authorizer: home}", "PUT: {authorizer: home, authorization_scopes: [a]}"
    )
    warns(text, ("expression_with_scopes", IN_HOME, "authz.yaml:4:"))
    warns(text.replace("»", "").replace(", identity_validation_expression: 'web.*'", ""))


def test_unused_authorizer(warns):
    """An authorizer that no route names is told; not where an api without routes may have it named by Envoy."""
    other = f"  »other: {{{HOME}}}\napis"
    warns(home().replace("apis", other), ("unused_authorizer", "in authorizer 'other'", "no route names authorizer 'other'"))
    text = home().replace("apis: {", other.replace("»", "") + ": {»envoy: {hosts: [envoy.example.com]}, ")
    warns(text, ("api_without_routes", "in api 'envoy'", "api 'envoy' has no routes"))


def test_any_app_client(warns):
    """An authorizer that restricts app clients neither by list nor by expression is told."""
    text = home(head=HOME.replace(", app_clients: [web1]", "")).replace("home: {", "»home: {")
    warns(text, ("any_app_client", IN_HOME, "takes the tokens of every app client"))


def test_updated_issuer(warns):
    """Accepting what API Gateway refuses is told."""
    warns(home(", »accept_updated_issuer: true"), ("updated_issuer", IN_HOME, "which API Gateway refuses"))
    warns(home(", accept_updated_issuer: false"))


@pytest.mark.parametrize("header", ["Cookie", "X-Forwarded-For", "Host"])
def test_unusable_identity_source(warns, header):
    """A header that never holds a bare token is told."""
    warns(
        home(f", »identity_source: method.request.header.{header}"),
        ("unusable_identity_source", IN_HOME, f"header {header.lower()!r} never holds a bare token"),
    )


@pytest.mark.parametrize("header", ["Authorization", "Sec-WebSocket-Protocol", "X-Api-Token", "x-amzn-oidc-accesstoken"])
def test_usable_identity_source(warns, header):
    """Other headers are good, also the one in which browsers' WebSockets can send a token."""
    warns(home(f", identity_source: method.request.header.{header}"))


@pytest.mark.parametrize(("text", "piece"), [("»apis: {}", "there are no apis"), ("", "there are no apis")])
def test_no_apis(warned, text, piece):
    """A file without apis denies each check."""
    (found,) = warned(f"version: 1\n{text.replace('»', '')}")

    assert found[:3] == ("2:1" if text else "1:1", "no_apis", "at the top")
    assert piece in found[3]


@pytest.mark.parametrize("routes", ["", "routes: {}", "routes: {/a: {}}"])
def test_api_without_routes(warns, routes):
    """An api that has no method at all is told."""
    warns(f"version: 1\napis: {{»shop: {{{routes}}}}}", ("api_without_routes", IN_SHOP, "api 'shop' has no routes"))


def test_public_under_protected(warns):
    """A public method is told with the place of the protected `{proxy+}` around it."""
    warns(
        f"""version: 1
authorizers: {{home: {{{HOME}}}}}
apis:
  shop:
    routes:
      /health: {{»GET: {PUBLIC}, OPTIONS: {PUBLIC}}}
      /{{proxy+}}: {{ANY: {{authorizer: home}}}}
""",
        ("public_under_protected", "in this method", "authz.yaml:7:19), which would match it too, is guarded"),
    )


@pytest.mark.parametrize(
    ("asks", "template", "piece"),
    [
        (PUBLIC, "/{proxy+}", "requests HEAD, PATCH, POST, PUT, DELETE /pets/{id} go to ANY /{proxy+} ("),
        (PUBLIC, "/{proxy+}", "which is public, unlike GET /pets/{id}, as on API Gateway."),
        ("{authorizer: home}", "/{proxy+}", "which asks for less than GET /pets/{id}, as on API Gateway."),
        (PUBLIC, "/{x}/mine", "requests HEAD, PATCH, POST, PUT, DELETE /pets/{id}, such as /pets/mine, go to ANY /{x}/mine ("),
    ],
)
def test_less_guarded_method(warned, asks, template, piece):
    """Where another method of a guarded resource leads to less, both places are told."""
    text = f"""version: 1
authorizers: {{home: {{{HOME}}}}}
apis:
  shop:
    routes:
      /pets/{{id}}: {{GET: {{authorizer: home, authorization_scopes: [a]}}}}
      {template}: {{ANY: {asks}}}
"""
    (found,) = warned(text)

    assert found[:3] == ("6:7", "less_guarded_method", "in GET /pets/{id}")
    assert piece in found[3]
    assert f"authz.yaml:7:{len(template) + 10})" in found[3]


def test_plaintext_keys(warns):
    """Keys over plain http from another host are told; from this one they are not."""
    warns(
        home() + f"user_pools: {{{POOL}: {{»jwks_uri: 'http://keys/', allow_http: true}}}}",
        ("plaintext_keys", f"in user pool '{POOL}'", "come over plain http"),
    )
    warns(home() + f"user_pools: {{{POOL}: {{jwks_uri: 'http://localhost/', allow_http: true}}}}")


def test_claim_headers_collide(warns):
    """Headers that differ in `_`, `-` and `.` alone are told, also when one of them holds the token."""
    head = "version: 1\nauthorizers: {home: {" + HOME + ", identity_source: method.request.header.X-Api-Token}}\n"
    api = "apis: {shop: {claim_headers: {x-a-b: sub, »x_a.b: sub, »x_api_token: sub}, routes: {/: {GET: {authorizer: home}}}}}"
    warns(
        head + api,
        ("claim_headers_collide", IN_SHOP, "many upstreams treat 'x_a.b' and 'x-a-b' ("),
        ("claim_headers_collide", IN_SHOP, "many upstreams treat 'x_api_token' as the identity source of authorizer 'home'"),
    )


IGNORED = {
    "any_app_client": [(home(head=HOME.replace(", app_clients: [web1]", "%s")), ", ")],
    "plaintext_keys": [(home() + f"user_pools: {{{POOL}: {{jwks_uri: 'http://keys/', allow_http: true%s}}}}", ", ")],
    "api_without_routes": [("version: 1\napis: {shop: {routes: {}%s}}", ", ")],
    "public_under_protected": [
        (
            f"{home()}  \n".replace("routes: {", "routes: {/a: {GET: {authorization_type: NONE%s}}, '/{p+}': {ANY: {authorizer: home}}, "),
            ", ",
        ),
        (
            f"{home()}  \n".replace(
                "routes: {", "routes: {/a: {GET: {authorization_type: NONE}}, '/{p+}': {ANY: {authorizer: home}}}%s, stage_variables: {"
            )
            .replace(", /: {GET: {authorizer: home}}", "")
            .replace("{/: {GET: {authorizer: home}}}", "{}"),
            ", ",
        ),
    ],
    "less_guarded_method": [
        (
            home().replace(
                "GET: {authorizer: home}",
                "GET: {authorizer: home}}, /a: {GET: {authorizer: home%s}}, '/{p+}': {ANY: {authorization_type: NONE}",
            ),
            ", ",
        ),
        (
            home().replace(
                "GET: {authorizer: home}",
                "GET: {authorizer: home}}, /a: {GET: {authorizer: home}}, '/{p+}': {ANY: {authorization_type: NONE%s}",
            ),
            ", ",
        ),
    ],
}


@pytest.mark.parametrize(("name", "text", "comma"), [(name, *case) for name, cases in IGNORED.items() for case in cases])
def test_a_warning_is_ignored_where_the_file_says_so(warned, name, text, comma):
    """In the part that it is about, or at the top; the name of another warning ignores nothing."""
    other = next(each for each in WARNINGS if each != name)

    assert [found[1] for found in warned(text % "")] == [name]
    assert [found[1] for found in warned(text % f"{comma}ignore_warnings: [{other}]")] == [name]
    assert warned(text % f"{comma}ignore_warnings: [{other}, {name}]") == []
    assert warned(text % "" + f"\nignore_warnings: [{name}]") == []


def test_the_name_of_no_warning_is_a_mistake(refuses):
    """A slip in the list would let the warning stand, or another one go unseen."""
    refuses(
        "version: 1\nignore_warnings: [»any_app_clients, »5]\napis: {a: {ignore_warnings: »no_apis}}",
        f"'any_app_clients' is not possible here, expected one of {', '.join(list(get_args(WarningName))[:12])}, …; did you mean 'any_app_client'?",
        f"the number 5 is not possible here, expected one of {', '.join(list(get_args(WarningName))[:12])}, …",
        "expected a list, not 'no_apis'",
    )


def test_a_name_is_that_of_a_function():
    """The schema takes exactly the names that there are."""
    assert set(get_args(WarningName)) == set(WARNINGS)


def test_each_warning_is_documented():
    """docs/configuration.md has a row for each, in the order of the code."""
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()

    assert re.findall(r"^\| `(\w+)` \|", page.partition("\n## Warnings")[2].partition("\n## ")[0], re.MULTILINE) == list(WARNINGS)


def test_a_warning_says_how_to_ignore_it(configure, tmp_path):
    """Its text has the place, the reason, and the line that silences it."""
    (found,) = configure("version: 1\napis: {shop: {}}").warnings

    assert (
        str(found)
        == f"{tmp_path}/authz.yaml:2:8: {found.message} (if this is intended: `ignore_warnings: [api_without_routes]` in api 'shop')"
    )


def test_the_full_example_warns_of_nothing_that_it_does_not_ignore():
    """What is left is about its expression, its regions and its routes."""
    environment = {"KEYS": "http://keys.example.com", "TTL": "60", "CEILING": "7200"}

    assert {found.name for found in load(FULL, environment).warnings} == set()
