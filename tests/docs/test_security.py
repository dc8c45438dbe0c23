"""SECURITY.md names the tests of each promise, and they are there and run."""

import os
import re
import shlex
import subprocess
import sys
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


@cache
def collected(*arguments):
    """List the files of which pytest would run a test."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    quick = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # it runs nothing that should count
    listed = subprocess.run(command, cwd=ROOT, env=quick, capture_output=True, text=True, check=True, timeout=120).stdout
    return set(re.findall(r"^(tests/\S+\.py)::", listed, re.MULTILINE))


def of_target(name):
    """List the files of which a target would run a test; of most it runs none."""
    recipe = re.search(rf"^{name}:.*\n\t.*-m pytest .*?(-m .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return collected(*shlex.split(recipe[1])) if recipe else set()


@pytest.mark.parametrize("promise", NAMED)
def test_a_file_that_is_named_holds_tests(promise):
    """With at least one that `make test` runs, or a target that is named beside it."""
    files = FILES.intersection(NAMED[promise]) - collected(*sorted(FILES))
    targets = [target for (named, _), target in TARGETS.items() if named == promise]

    assert [file for file in files if not any(file in of_target(target) for target in targets)] == []


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
