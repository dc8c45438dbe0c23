"""SECURITY.md names the tests of each promise, and they are there and run."""

import re
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


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_named_holds_tests(name):
    """It is a file that `make test` collects, with at least one test in it."""
    assert re.fullmatch(r"tests/(\w+/)*test_\w+\.py", name)
    assert re.search(r"^    def test_|^def test_", (ROOT / name).read_text(), re.MULTILINE)


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
