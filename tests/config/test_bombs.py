"""Configuration files that are made to cost: each is refused in seconds."""

import time

import pytest

SECONDS = 10.0  # for what takes a second at most
HEAD = "version: 1\n"
BOMBS = {
    "aliases of aliases, CWE-776": HEAD
    + "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)),
    "merges of merges": HEAD
    + "a0: &a0 {k: v}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 40)),
    "an anchor in itself": HEAD + "a: &a [*a, *a]\n",
    "deep in brackets": HEAD + "apis: " + "[" * 100_000,
    "deep in braces": HEAD + "apis: " + "{a: " * 50_000,
    "deep by indentation": HEAD + "".join(" " * depth + "a:\n" for depth in range(1_500)),
    "a scalar of a megabyte": HEAD + "apis: " + "a" * 1_000_000,
    "a key of a megabyte": HEAD + "a" * 1_000_000 + ": 1",
    "a block of a million lines": HEAD + "apis: |\n" + "  a\n" * 1_000_000,
    "a number of a million digits": "version: " + "9" * 1_000_000,
    "an exponent without end": "version: 1e" + "9" * 100_000,
    "twenty thousand unknown keys": HEAD + "".join(f"k{n}: 1\n" for n in range(20_000)),
    "the same key over and over": HEAD + "apis: 1\n" * 50_000,
    "variables in variables": HEAD + "apis: " + "${A}" * 100_000,
    "broken variables": HEAD + "apis: " + "${" * 200_000,
    "a host that almost matches": HEAD + "apis: {a: {hosts: [" + "a-" * 100_000 + "!]}}",
    "a template of a megabyte": HEAD + "apis: {a: {routes: {" + "/a" * 500_000 + ": {}}}}",
    "an ARN that almost matches": HEAD + "authorizers: {a: {type: cognito_user_pools, provider_arns: ['arn:aws:" + "a-" * 100_000 + "']}}",
    "an expression that explodes": HEAD
    + "authorizers: {a: {type: cognito_user_pools, provider_arns: [x], identity_validation_expression: '"
    + "(" * 900
    + "a"
    + "{1,900})" * 900
    + "'}}",
    "comments alone": HEAD + "# a\n" * 500_000 + "x: 1",
    "quotes that never end": HEAD + "apis: '" + "''" * 500_000,
    "documents without end": HEAD + "---\n" * 100_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_in_seconds(problems, bomb):
    """Whoever can write the file can stop the server, but not by accident; a bomb keeps no reload busy."""
    began = time.process_time()
    told = problems(bomb, A="${A}")

    assert told
    assert time.process_time() - began < SECONDS
