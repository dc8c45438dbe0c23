"""SECURITY.md names the tests of each promise, and they are there and run."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_, TABLE = (ROOT / "SECURITY.md").read_text().split("| promise | tests |\n| --- | --- |\n")
PROMISES = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", TABLE, re.MULTILINE))
NAMED = {promise: re.findall(r"`([^`]+)`", tests) for promise, tests in PROMISES.items()}
TARGETS = {(promise, name): name.removeprefix("make ") for promise, names in NAMED.items() for name in names if name.startswith("make ")}
FILES = {name for names in NAMED.values() for name in names} - {name for _, name in TARGETS}


def test_every_row_is_a_promise_with_tests():
    """No line of the table is left out here, and none stands without a test."""
    assert len(PROMISES) == len(TABLE.strip().splitlines())
    assert [promise for promise, names in NAMED.items() if not names] == []


LEFT_OUT = set(re.findall(r"not (\w+)", tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]))
MARK = re.compile(r"pytest\.mark\.(\w+)")


@cache
def marks(name):
    """Give the marks of each test of a file: its own, its file's, and those that a folder puts on all of its tests."""
    file = ROOT / name
    parsed = ast.parse(file.read_text())
    folders = [each / "conftest.py" for each in file.parents if each != ROOT and ROOT in each.parents]
    every = {mark for each in folders if each.exists() for mark in re.findall(r"add_marker\(pytest\.mark\.(\w+)", each.read_text())}
    every |= {mark for line in parsed.body if ast.unparse(line).startswith("pytestmark = ") for mark in MARK.findall(ast.unparse(line))}
    tests = [
        each for each in ast.walk(parsed) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_")
    ]
    return [every | {mark for each in test.decorator_list for mark in MARK.findall(ast.unparse(each))} for test in tests]


def in_make_test(name):
    """Whether `make test` runs a test of a file."""
    return any(not each & LEFT_OUT for each in marks(name))


def in_target(name, target):
    """Whether a target runs a test of a file; most run none."""
    recipe = re.search(rf"^{target}:.*\n\t.*-m pytest .*?-m (\w+).* (tests/\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return bool(recipe) and name.startswith(recipe[2]) and any(recipe[1] in each for each in marks(name))


@pytest.mark.parametrize("promise", NAMED)
def test_a_file_that_is_named_holds_tests(promise):
    """With at least one that `make test` runs, or a target that is named beside it."""
    targets = [target for (named, _), target in TARGETS.items() if named == promise]
    files = FILES.intersection(NAMED[promise])

    assert [file for file in files if not in_make_test(file) and not any(in_target(file, target) for target in targets)] == []


@pytest.mark.parametrize("name", sorted(set(TARGETS.values())))
def test_a_target_that_is_named_runs_in_ci(name):
    """It stands in the Makefile and in `.ci/run`."""
    assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"\nmake {name}\n" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("folder", ["core", "deploy", "e2e", "keys", "server", "supply_chain"])
def test_no_test_of_security_is_forgotten(folder):
    """Tests whose first sentence is about attacks are named: forgeries, misuse, bombs, advisories, secrets."""
    words = re.compile(r"forge|attack|misuse|made to cost|advisor|secret|spoof|vulnerab", re.IGNORECASE)
    about = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests" / folder).glob("test_*.py")
        if words.search(file.read_text().split('"""')[1])
    ]

    assert [name for name in about if name not in FILES] == []
