"""`validate`: what it reads, what it prints, and when it fails."""

import json

import pytest
from click.testing import CliRunner

from authz_server.cli import main
from authz_server.cli.report import MAX_ROUTES
from authz_server.testing import Fault, LocalCognito, UserPool

ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Cli000001"
GOOD = f"""version: 1
authorizers:
  users: {{type: cognito_user_pools, provider_arns: ['{ARN}'], app_clients: [web1, app2]}}
  web: {{type: cognito_user_pools, provider_arns: ['{ARN}'], identity_validation_expression: 'web.*', identity_source: method.request.header.X-T}}
apis:
  shop:
    hosts: [api.example.com, '*.example.com']
    base_path: /prod
    routes:
      /pets: {{ANY: {{authorizer: users, authorization_scopes: [pets/read, pets/write]}}}}
      /pets/{{petId}}: {{ANY: {{authorizer: web}}}}
      /status: {{GET: {{authorization_type: NONE}}}}
  empty: {{ignore_warnings: [api_without_routes]}}
"""
LEAK = GOOD.replace(
    "      /status: {GET",
    "      /{proxy+}: {ANY: {authorization_type: NONE}}\n      /toys: {GET: {authorizer: users}}\n      /status: {GET",
)
WARNED = GOOD.replace(", app_clients: [web1, app2]", "")
BAD = "version: 1\napis: {a: {x: 1}}\nmore: 2\n"


@pytest.fixture
def run(tmp_path):
    """Write a file and validate it: status, standard output and standard error."""
    path = tmp_path / "authz.yaml"

    def run(text, *arguments, stdin=None, environment=None):
        path.write_text(text)
        given = [str(argument).replace("FILE", str(path)) for argument in arguments]
        done = CliRunner(env=environment).invoke(main, ["validate", *given], input=stdin)
        return done.exit_code, done.stdout.replace(str(path), "FILE"), done.stderr.replace(str(path), "FILE")

    return run


@pytest.mark.parametrize("arguments", [["FILE"], ["--config", "FILE"], ["-"]])
def test_where_the_configuration_is(run, arguments):
    """It is the argument, the flag, or standard input."""
    status, out, err = run(GOOD, *arguments, stdin=GOOD)

    assert (status, err) == (0, "")
    assert out.startswith("<stdin>: good\n" if arguments == ["-"] else "FILE: good\n")


def test_the_variable_names_a_file_where_no_argument_does(run, tmp_path):
    """AUTHZ_CONFIG is what the server would read; an argument goes before it."""
    assert run(GOOD, environment={"AUTHZ_CONFIG": str(tmp_path / "authz.yaml")})[0] == 0
    assert run(GOOD, "FILE", environment={"AUTHZ_CONFIG": "/none"})[0] == 0
    assert run(GOOD, environment={"AUTHZ_CONFIG": "/none"})[2].startswith("/none:1:1: the file can not be read")


@pytest.mark.parametrize(("arguments", "message"), [([], "name a FILE"), (["FILE", "--config", "FILE"], "exclude each other")])
def test_one_configuration_is_named(run, arguments, message):
    """None, and two, are mistakes in the command."""
    status, _, err = run(GOOD, *arguments)

    assert status == 2
    assert message in err


def test_a_good_file_is_shown_as_it_was_understood(run):
    """Authorizers, apis with hosts and base path, and what each route takes."""
    _, out, _ = run(GOOD, "FILE")

    assert (
        out
        == """\
FILE: good

Authorizers
  users  method.request.header.Authorization, tokens of eu-west-1_Cli000001, app clients web1, app2
  web    method.request.header.X-T, tokens of eu-west-1_Cli000001, any app client, aud matching web.*

Api shop: api.example.com, *.example.com, below /prod
  ANY     /pets          users: access token with pets/read or pets/write
  ANY     /pets/{petId}  web: ID token
  GET     /status        public

Api empty: every other host, below /
"""
    )


def test_a_long_table_is_cut(run):
    """A person is shown a thousand routes of an api, a program all of them."""
    many = (
        "version: 1\napis: {a: {routes: {"
        + ", ".join(f"/r{number}: {{GET: {{authorization_type: NONE}}}}" for number in range(MAX_ROUTES + 2))
        + "}}}"
    )
    _, out, _ = run(many, "FILE")

    assert out.endswith("\n  … and 2 more; --format json has all\n")
    assert len(json.loads(run(many, "FILE", "--format", "json")[1])["apis"][0]["routes"]) == MAX_ROUTES + 2


@pytest.mark.parametrize(
    ("text", "title", "name"),
    [(WARNED, "Warnings (1)", "any_app_client"), (LEAK, "Methods that lead to less guarded routes (1)", "less_guarded_method")],
)
def test_warnings_have_sections_of_their_own(run, text, title, name):
    """What is probably a mistake is told behind the rest and fails nothing, unless that is asked for."""
    status, out, _ = run(text, "FILE")

    assert status == 0
    assert f"\n\n{title}\n  FILE:" in out
    assert f"\n      if this is intended: `ignore_warnings: [{name}]` in " in out
    assert run(text, "FILE", "--strict")[:2] == (1, out)
    assert run(text + f"ignore_warnings: [{name}]", "FILE", "--strict")[0] == 0


def test_a_guarded_resource_whose_other_methods_are_public_is_told_with_both_places(run):
    """The place of the resource and that of the public method stand in one line."""
    _, out, _ = run(LEAK, "FILE")

    assert (
        "FILE:13:7: requests HEAD, PATCH, POST, PUT, DELETE /toys go to ANY /{proxy+} (FILE:12:19), which is public, unlike GET /toys"
        in out
    )


def test_many_warnings_are_cut(run):
    """A hundred are listed, and how many more there are."""
    text = "version: 1\napis:\n" + "".join(f"  a{number}: {{hosts: [a{number}]}}\n" for number in range(103))
    _, out, _ = run(text, "FILE")

    assert "\nWarnings (103)\n" in out
    assert out.endswith("\n  … and 3 more\n")


def test_mistakes_go_to_standard_error(run):
    """Each with its place; nothing else is printed."""
    status, out, err = run(BAD, "FILE")

    assert (status, out) == (1, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["FILE:2:12", "FILE:3:1"]


def test_a_config_map_is_looked_into(run):
    """`kubectl` or a template may have put the file into one."""
    wrapped = "kind: ConfigMap\ndata:\n  authz.yaml: |\n" + "".join(f"    {line}\n" for line in BAD.splitlines())

    assert run("", "-", stdin=wrapped)[2].startswith("<stdin>:5:16: unknown key 'x'")


def test_json(run):
    """A program gets everything in one object, good or bad."""
    good, bad = json.loads(run(LEAK, "FILE", "--format", "json")[1]), json.loads(run(BAD, "FILE", "--format", "json")[1])

    assert (good["file"], good["good"], good["problems"]) == ("FILE", True, [])
    assert [(each["line"], each["name"]) for each in good["warnings"]] == [(13, "less_guarded_method")]
    assert good["apis"][0]["routes"][0] == {
        "method": "ANY",
        "resource": "/pets",
        "takes": "users: access token with pets/read or pets/write",
    }
    assert (good["apis"][0]["hosts"], good["apis"][0]["base_path"]) == (["api.example.com", "*.example.com"], "/prod")
    assert (bad["good"], [each["line"] for each in bad["problems"]], bad["apis"]) == (False, [2, 3], [])


def test_github(run):
    """A workflow shows mistakes and warnings beside their lines; a good file needs no word."""
    assert run(GOOD, "FILE", "--format", "github") == (0, "", "")
    assert run(BAD, "FILE", "--format", "github")[1].startswith("::error file=FILE,line=2,col=12,title=authz-server::unknown key 'x'")
    assert run(WARNED, "FILE", "--format", "github")[1].startswith(
        "::warning file=FILE,line=3,col=3,title=any_app_client::authorizer 'users' takes"
    )


def test_github_escapes_what_would_end_a_command(run, tmp_path):
    """A per cent sign, a colon or a comma in a name is escaped."""
    odd = tmp_path / "a,b:c%d.yaml"
    odd.write_text(BAD)

    assert "/a%2Cb%3Ac%25d.yaml,line=2," in run("", str(odd), "--format", "github")[1]


@pytest.fixture(scope="module")
def pool():
    """Make one pool for all tests: keys take time to make."""
    made = UserPool("eu-west-1_Cli000001")
    made.jwks_document()
    return made


def test_fetch_asks_every_pool(run, pool):
    """The keys of each pool are asked for once; where that fails, so does the command, in each form."""
    with LocalCognito(pool) as cognito:
        text = GOOD.replace(ARN, pool.arn) + f"user_pools: {{{pool.id}: {{jwks_uri: '{cognito.jwks_uri(pool)}'}}}}\n"
        status, out, _ = run(text, "FILE", "--fetch")
        assert status == 0
        assert f"\nKeys\n  {pool.id} from {cognito.jwks_uri(pool)}: 2 keys\n" in out

        cognito.faults[pool.id] = Fault(status=500)
        status, out, _ = run(text, "FILE", "--fetch")
        assert status == 1
        assert f"  {pool.id} from {cognito.jwks_uri(pool)}: HTTP 500\n" in out
        assert f"::error title=keys::{pool.id} from " in run(text, "FILE", "--fetch", "--format", "github")[1]
        assert json.loads(run(text, "FILE", "--fetch", "--format", "json")[1])["user_pools"][0]["failure"] == "HTTP 500"


def test_fetch_of_a_file_that_is_no_key_set(run, tmp_path):
    """What was found but holds no keys is a failure, too."""
    (tmp_path / "keys.json").write_text("{}")
    status, out, _ = run(GOOD + "user_pools: {eu-west-1_Cli000001: {jwks_file: keys.json}}\n", "FILE", "--fetch")

    assert status == 1
    assert "keys.json: the document has no `keys` array" in out
