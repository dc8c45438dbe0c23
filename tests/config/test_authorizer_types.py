"""A type of authorizer is added in two files: its rules, and its configuration."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from authz_server.config.authorizer_types import type_of
from authz_server.config.cognito_user_pools import CognitoUserPools
from tests.config.dummy.model import Machines

ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home00001"
KEYS = "expected one of type, user_pool, prefix, identity_source, authorizer_result_ttl_in_seconds, ignore_warnings"
GOOD = """\
version: 1
authorizers:
  people: {type: cognito_user_pools, provider_arns: ["${ARN}"], app_clients: [a]}
  machines: {type: machines, user_pool: "${ARN}", prefix: machine-}
apis:
  shop: {routes: {/a: {GET: {authorizer: machines}}}}
"""
BAD = {
    "unknown key": ("    prefix: machine-\n", "    prefix: machine-\n    prefixx: a\n"),
    "other type's key": ("    prefix: machine-\n", "    prefix: machine-\n    provider_arns: []\n"),
    "missing key": ("    prefix: machine-\n", ""),
    "wrong type": ("type: machines", "type: machine"),
    "no type": ("    type: machines\n", ""),
    "no mapping": ("  machines:\n    type: machines\n", "  machines: 5\n  other:\n    type: machines\n"),
    "bad value": ("machine-", '""'),
    "bad place": ('"${ARN}"\n', "arn\n"),
    "bad stage": ('"${ARN}"\n', '"${stageVariables.Pool}"\n'),
    "key named like the type": ("    prefix: machine-\n", "    prefix: machine-\n    machines: {a: b}\n"),
    "list": ("    prefix: machine-\n", "    prefix: [a]\n"),
}
FILE = dedent("""\
    version: 1
    authorizers:
      machines:
        type: machines
        user_pool: "${ARN}"
        prefix: machine-
    apis:
      shop: {routes: {/a: {GET: {authorizer: machines}}}, nonsense: 1}
    """)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Try a good file, the bad ones, and many odd ones in one process that knows the type."""
    folder = tmp_path_factory.mktemp("dummy")
    (folder / "good.yaml").write_text(GOOD)
    for name, (before, after) in BAD.items():
        assert before in FILE
        (folder / f"{name}.yaml").write_text(FILE.replace(before, after, 1))
    command = [sys.executable, "-m", "tests.config.dummy", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_dummy_type_decides(outcomes):
    """Its rules decide beside the other type's, in a process that got the configuration from another one."""
    decisions, summaries = outcomes["files"]["good.yaml"]

    assert decisions == ["allow", "deny"]
    assert summaries == ["tokens of eu-west-1_Dummy0001, app clients a", "tokens of machines, whose app clients begin with machine-"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("unknown key", f"7:5: unknown key 'prefixx', {KEYS}; did you mean 'prefix'?"),
        ("other type's key", f"7:5: unknown key 'provider_arns', {KEYS}"),
        ("missing key", "3:3: key 'prefix' is missing, expected for example `prefix: \"machine-\"`"),
        ("wrong type", "4:11: 'machine' is not possible here, expected one of cognito_user_pools, machines; did you mean 'machines'?"),
        ("no type", "3:3: key 'type' is missing, expected for example `type: \"machines\"`"),
        ("no mapping", "3:13: expected a mapping, not the number 5"),
        ("bad value", "6:13: empty text, expected at least one character"),
        ("bad place", "5:16: 'arn' is no user pool ARN, expected arn:{partition}:cognito-idp:{region}:{account}:userpool/{poolId}"),
        ("bad stage", "5:16: '${stageVariables.Pool}' is out of place, stage variables are for provider_arns only"),
        ("key named like the type", f"7:5: unknown key 'machines', {KEYS}"),
        ("list", "6:13: expected text, not a list"),
    ],
)
def test_mistakes_of_a_dummy_type_are_placed(outcomes, name, problem):
    """Each mistake is told where it stands, beside those of other parts."""
    found = outcomes["files"][f"{name}.yaml"]

    assert found[-1].partition(": ")[2].startswith("unknown key 'nonsense'"), found
    assert found[:-1] == [problem]


def test_odd_files_with_a_dummy_type_are_problems(outcomes):
    """Whatever a file says, it is a configuration or has problems, and never a traceback."""
    assert outcomes["odd"] == 1_500


def test_types_are_told_apart():
    """A model is of its own type, and no type takes all tokens of another one."""
    people = CognitoUserPools(type="cognito_user_pools", provider_arns=(ARN,))
    machines = Machines(type="machines", user_pool=ARN, prefix="m")

    assert (type_of(people), type_of(machines)) == (CognitoUserPools, Machines)
    assert not people.takes_all_of(machines)
    assert not machines.takes_all_of(people)
    assert people.summary() == "tokens of eu-west-1_Home00001, any app client"
