"""docs/architecture.md says how the code is."""

import re
from collections import defaultdict
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
DECISIONS = sorted(path for path in (ROOT / "docs/decisions").glob("*.md") if path.name != "README.md")
ALONE = {"authz_server", "__main__"}  # the front door, which every room may pass


def room(module):
    """Find the room of a module."""
    return module.split(".")[1] if "." in module else module


def imported():
    """List which room imports which."""
    graph = grimp.build_graph("authz_server", exclude_type_checking_imports=True)
    pairs = {(room(module), room(found)) for module in graph.modules for found in graph.find_modules_directly_imported_by(module)}
    return {(one, other) for one, other in pairs if one != other and not {one, other} & ALONE}


def drawn():
    """List the arrows of the diagram."""
    block = re.search(r"<!-- rooms -->\n(.*)<!-- end of rooms -->", PAGE, re.DOTALL)[1]
    chains = [re.split(r"\s*-->\s*", line.strip()) for line in block.splitlines() if "-->" in line]
    return {pair for chain in chains for pair in pairwise(chain)}


def below(pairs):
    """List for each room what it can reach along arrows."""
    after = defaultdict(set)
    for one, other in pairs:
        after[one].add(other)
    reached = {}

    def reach(one):
        if one not in reached:
            reached[one] = set().union(*({other} | reach(other) for other in after[one]))
        return reached[one]

    for one in list(after):
        reach(one)
    return reached


def test_every_arrow_is_an_import():
    """The diagram draws nothing that is not there."""
    assert drawn() <= imported()


def test_every_import_goes_along_arrows():
    """The diagram leaves out only what other arrows already lead to."""
    reached = below(drawn())

    assert [(one, other) for one, other in sorted(imported()) if other not in reached.get(one, set())] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_/]+(?:/|\.py))`", PAGE))))
def test_a_path_on_the_page_is_there(path):
    """Files and rooms are named as they are."""
    assert (ROOT / "authz_server" / path).exists()


def test_what_a_hop_names_is_in_its_file():
    """A hop of the form "`file.py`: `Name`" or "`file.py` `Name`" names what the file has."""
    named = re.findall(r"`([a-z_/]+)\.py`:? `([A-Za-z_.]+)`", PAGE)
    assert len(named) > 12
    for file, name in named:
        found = import_module("authz_server." + file.replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)


def test_decisions_are_listed_and_have_their_parts():
    """Each record says what was decided, why, and what would change it; the list names them all."""
    listed = (ROOT / "docs/decisions/README.md").read_text()
    assert len(DECISIONS) >= 10
    for path in DECISIONS:
        text = path.read_text()
        assert f"({path.name})" in listed
        assert re.match(r"# \d+\. ", text), path
        for heading in ("## Decision", "## Why", "## What it costs", "## What would change it"):
            assert heading in text, (path, heading)
