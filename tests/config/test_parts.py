"""A configuration crosses from the process that loads it to the one that serves."""

import os
import pickle
from io import BytesIO
from pathlib import Path

import pytest

from authz_server import config
from authz_server.config import ConfigurationError, load
from authz_server.config.__main__ import main as child
from authz_server.config.compile import BATCH, parts
from authz_server.config.parts import RoutesPart
from authz_server.server import loader

FULL = Path(__file__).with_name("full.yaml")
ENVIRONMENT = {"KEYS": "https://keys.example.com", "TTL": "60", "CEILING": "7200"}


def test_a_configuration_loaded_in_another_process_is_the_same(tmp_path):
    """Parts that cross a pipe, in batches, assemble to the gateway that one process would have compiled."""
    path = tmp_path / "authz.yaml"
    many = "".join(f"      /r{number}: {{GET: {{authorization_type: NONE}}}}\n" for number in range(2 * BATCH + 1))
    path.write_text(FULL.read_text().replace("\napis:\n", f"\napis:\n  many:\n    hosts: [many.test]\n    routes:\n{many}"))
    environment = {**os.environ, **ENVIRONMENT}
    sent = list(loader.parts(path, environment))
    here = list(parts(load(path, environment)))

    assert sent == here
    assert sum(isinstance(part, RoutesPart) for part in sent) > 3


def test_warnings_cross_to_the_other_process(tmp_path):
    """The server gets each line that `validate` would print, a hundred at most, and a bad file warns of nothing."""
    path, lines = tmp_path / "authz.yaml", []
    path.write_text("version: 1\napis:\n" + "".join(f"  a{number}: {{hosts: [a{number}]}}\n" for number in range(102)))
    assert list(loader.parts(path, dict(os.environ), warn=lines.append))

    assert lines[:100] == [str(warning) for warning in load(path, {}).warnings][:100]
    assert lines[100:] == ["… and 2 more"]
    path.write_text("version: 2\napis: {}")
    with pytest.raises(ConfigurationError):
        list(loader.parts(path, dict(os.environ), warn=lines.append))
    assert len(lines) == 101


def test_problems_cross_to_the_other_process(tmp_path):
    """Every mistake that the child finds is told by the parent."""
    path = tmp_path / "authz.yaml"
    path.write_text("version: 1\nnonsense: 1\nmore: 2\n")
    with pytest.raises(ConfigurationError) as told:
        list(loader.parts(path, dict(os.environ)))

    assert [problem.line for problem in told.value.problems] == [2, 3]


def test_a_child_that_dies_is_a_problem(tmp_path):
    """A loader that ends without a word is told like a mistake, and nothing is taken for a configuration."""
    with pytest.raises(ConfigurationError, match="ended with status"):
        list(loader.parts(tmp_path / "authz.yaml", {**os.environ, "PYTHONHOME": "/nonexistent"}))


def test_the_child_writes_what_it_found(tmp_path, monkeypatch, capsysbinary):
    """`python -m authz_server.config FILE` writes pickled warnings and parts, or the list of problems."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("version: 1\napis: {a: {}}\n")
    bad.write_text("version: 2\n")
    for path in (good, bad):
        monkeypatch.setattr("sys.argv", ["config", str(path)])
        child()
    written = BytesIO(capsysbinary.readouterr().out)
    warned, part, problems = (pickle.load(written) for _ in range(3))

    assert [line.startswith(f"{good}:2:") for line in warned.lines] == [True]
    assert part.name == "a"
    assert [problem.line for problem in problems] == [1]


def test_every_public_name_is_there():
    """`__all__` names what can be imported, and a name that is not there is an AttributeError."""
    assert all(hasattr(config, name) for name in config.__all__)
    assert not hasattr(config, "nonsense")
