"""References: what must fit together between the parts of a file."""

import pytest

POOL = "eu-west-1_Home00001"
ARN = f"arn:aws:cognito-idp:eu-west-1:111122223333:userpool/{POOL}"
OTHER_ARN = "arn:aws:cognito-idp:us-east-1:111122223333:userpool/us-east-1_Other0001"
STAGED_ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/${stageVariables.Pool}"
HOME = f"{{type: cognito_user_pools, provider_arns: ['{ARN}']}}"
STAGED = f"{{type: cognito_user_pools, provider_arns: ['{ARN}', »'{STAGED_ARN}']}}"
PUBLIC = "{authorization_type: NONE}"
NO_ARN = "is no user pool ARN: its end is 'userpool/x', expected userpool/{poolId} with a pool id such as eu-west-1_Ab1Cd2Ef3"
SECOND = "with this base path already, expected another host or base_path"


def test_a_method_names_an_authorizer_that_is_defined(refuses):
    """An authorizer that nobody defined is told where it is named, with a guess; one that is only defined badly is not told twice."""
    refuses(
        f"""version: 1
authorizers: {{home-users: {HOME}, partners: »5}}
apis:
  a: {{routes: {{/: {{GET: {{authorizer: »home-user}}, PUT: {{authorizer: home-users}}, POST: {{authorizer: partners}}}}}}}}
  b: {{hosts: [b], routes: {{/: {{GET: {{authorizer: »strangers, authorization_scopes: [»a b]}}}}}}}}
""",
        "expected a mapping, not the number 5",
        "authorizer 'home-user' is not defined, expected one of home-users, partners; did you mean 'home-users'?",
        "authorizer 'strangers' is not defined, expected one of home-users, partners",
        "'a b' is no scope, expected 1 to 256 characters without space, quote and backslash",
    )


def test_without_authorizers_none_can_be_named(refuses):
    """A file that defines no authorizer can not name one."""
    refuses(
        "version: 1\napis: {a: {routes: {/: {GET: {authorizer: »home}}}}}",
        "authorizer 'home' is not defined, there are none",
    )


def test_authorizers_that_can_not_be_read_may_define_anything(refuses):
    """Where the section itself is wrong, nothing is concluded about the names in it."""
    refuses(
        "version: 1\nauthorizers: »[]\napis: {a: {routes: {/: {GET: {authorizer: home}}}}}",
        "expected a mapping, not a list",
    )


def test_templates_are_api_gateways_and_do_not_collide(refuses):
    """A bad template and a second parameter at one level are told at the template, also when its methods are wrong."""
    refuses(
        f"""version: 1
apis:
  a:
    routes:
      »pets: {{}}
      /{{petId}}/x: {{GET: {PUBLIC}}}
      »/{{id}}: »[]
      »/{{petId+}}: {{GET: {PUBLIC}}}
      »/a//b: {{}}
  b: {{hosts: [b], routes: {{'/{{id}}': {{}}}}}}
""",
        "resource 'pets' does not start with `/`",
        "resource '/{id}': {id} collides with its sibling {petId}; a level can have one parameter",
        "expected a mapping, not a list",
        "resource '/{petId+}': {petId+} collides with its sibling {petId}; a level can have one parameter",
        "resource '/a//b' has an empty segment (a doubled slash)",
    )


@pytest.mark.parametrize(
    ("stage_variables", "message"),
    [
        ("{}", "for api 'a': stage variable 'Pool' is not defined, there are none"),
        ("{Pools: x}", "for api 'a': stage variable 'Pool' is not defined, expected Pools; did you mean 'Pools'?"),
        (
            "{Pool: x}",
            f"for api 'a': 'arn:aws:cognito-idp:eu-west-1:111122223333:userpool/x' {NO_ARN}",
        ),
    ],
)
def test_a_stage_completes_the_arns_of_the_authorizers_it_uses(refuses, stage_variables, message):
    """A stage variable that an api lacks, or that makes no ARN, is told at the ARN, once for each api."""
    refuses(
        f"""version: 1
authorizers: {{staged: {STAGED}}}
apis:
  a: {{stage_variables: {stage_variables}, routes: {{/: {{GET: {{authorizer: staged}}, PUT: {{authorizer: staged}}}}}}}}
  b: {{hosts: [b.example.com], stage_variables: {{Pool: {POOL}}}, routes: {{/: {{GET: {{authorizer: staged}}}}}}}}
  c: {{hosts: [c.example.com]}}
""",
        message,
    )


def test_stage_variables_that_can_not_be_read_may_hold_anything(refuses):
    """Where the stage variables themselves are wrong, no ARN and no pool id is told on top."""
    refuses(
        f"""version: 1
authorizers: {{staged: {STAGED.replace("»", "")}}}
apis: {{a: {{stage_variables: {{Pool: »'${{POOL}}'}}, routes: {{/: {{GET: {{authorizer: staged}}}}}}}}}}
user_pools: {{eu-west-1_Else00001: {{}}}}
""",
        "environment variable 'POOL' is not set",
    )


def test_a_host_and_base_path_lead_to_one_api(refuses):
    """Two apis at one address are told at the second, whatever the case of the host."""
    refuses(
        """version: 1
apis:
  a: {hosts: [a.example.com, '*.example.com', »A.example.com], base_path: /prod}
  b: {hosts: [b.example.com, »'*.EXAMPLE.com'], base_path: /prod}
  c: {hosts: [a.example.com], base_path: /test}
  d: {}
  »e: {base_path: /}
  f: {base_path: /prod}
  g: {base_path: »prod}
  h: {hosts: [»5]}
""",
        f"api 'a' has host 'a.example.com' {SECOND}",
        f"api 'a' has host '*.example.com' {SECOND}",
        f"api 'd' has every other host {SECOND}",
        "'prod' is no base path, expected literal segments such as /prod or /a/b, without a slash at the end",
        "expected text, not the number 5; quote it",
    )


def test_a_claim_header_is_written_once(refuses):
    """Header names have no case, so a second spelling of one is told; another api may use it again."""
    refuses(
        "version: 1\napis:\n  a: {claim_headers: {x-a: sub, »X-A: email, x-b: »5}}\n  b: {hosts: [b], claim_headers: {X-a: sub}}",
        "header 'X-A' stands twice, the case of 'x-a' makes no difference",
        "expected text, not the number 5; quote it",
    )


def test_a_claim_header_is_no_identity_source(refuses):
    """A claim is never written over the header that holds the token of any authorizer."""
    refuses(
        f"""version: 1
authorizers:
  header: {HOME.replace("}", ", identity_source: method.request.header.X-Api-Token}")}
  cookie: {HOME.replace("}", ", identity_source: method.request.header.Cookie}")}
apis: {{a: {{claim_headers: {{»x-api-token: sub, »cookie: sub}}}}}}
""",
        "header 'x-api-token' is the identity source of authorizer 'header', expected another name",
        "header 'cookie' can not carry a claim, HTTP or Envoy gives it another meaning; expected a name such as x-auth-sub",
    )


def test_an_entry_of_user_pools_is_in_use(refuses):
    """A pool id that no ARN names is told with a guess, also when its entry is wrong."""
    refuses(
        f"""version: 1
authorizers: {{home: {HOME}, staged: {STAGED.replace("»", "")}}}
apis: {{a: {{stage_variables: {{Pool: eu-west-1_Stage0001}}}}}}
user_pools:
  {POOL}: {{}}
  eu-west-1_Stage0001: {{}}
  »eu-west-1_Home0001: {{}}
  »zzz: {{jwks_file: »5}}
""",
        f"no authorizer names user pool 'eu-west-1_Home0001', expected one of {POOL}, eu-west-1_Stage0001; did you mean '{POOL}'?",
        f"no authorizer names user pool 'zzz', expected one of {POOL}, eu-west-1_Stage0001",
        "expected text, not the number 5; quote it",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"authorizers: {{a: {HOME}, b: {{type: cognito_user_pools, provider_arns: [»x]}}}}", "is no user pool ARN"),
        ("authorizers: {a: »x}", "expected a mapping"),
        ("authorizers: »x", "expected a mapping"),
        ("apis: {a: »x}", "expected a mapping"),
        ("apis: »x", "expected a mapping"),
        (f"authorizers: {{a: {STAGED}}}\napis: {{a: {{routes: {{/: {{GET: {{authorizer: a}}}}}}}}}}", "stage variable"),
    ],
)
def test_a_pool_may_be_named_where_the_file_is_wrong(problems, text, message):
    """No pool id is told as long as the part that may name it can not be read."""
    [problem] = problems(f"version: 1\n{text.replace('»', '')}\nuser_pools: {{eu-west-1_Else00001: {{}}}}")

    assert message in problem


@pytest.mark.parametrize(
    ("keys", "issuer"),
    [
        ("", "https://idp.example.com"),
        ("", "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Other0001"),
        (", accept_updated_issuer: true", "https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_Other0001"),
    ],
)
def test_an_issuer_tells_the_pool(problems, keys, issuer):
    """Two pools of one authorizer can not have one issuer: a token would not tell whose keys must have signed it."""
    other = "issuer: https://idp.example.com" if issuer == "https://idp.example.com" else ""
    text = f"""version: 1
authorizers: {{both: {{type: cognito_user_pools, provider_arns: ['{OTHER_ARN}', '{ARN}']{keys}}}}}
apis: {{a: {{}}}}
user_pools:
  {POOL}: {{issuer: '{issuer}'}}
  us-east-1_Other0001: {{{other}}}
"""

    [problem] = problems(text)

    assert problem == (
        f"5:25: authorizer 'both' can not tell user pools 'us-east-1_Other0001' and '{POOL}' apart, both have issuer {issuer!r}"
    )


def test_pools_of_different_authorizers_may_share_an_issuer(problems):
    """An issuer that is ambiguous in the file, but not to any authorizer, is fine."""
    text = f"""version: 1
authorizers: {{home: {HOME}, other: {{type: cognito_user_pools, provider_arns: ['{OTHER_ARN}']}}}}
apis: {{a: {{}}}}
user_pools: {{{POOL}: {{issuer: https://idp}}, us-east-1_Other0001: {{issuer: https://idp}}}}
"""

    assert problems(text) == []
