"""The Pythons that the package names are those that are tried."""

import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from supply_chain import pythons
from supply_chain.pythons import Trial, find, main, trials

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = "3.99"


def interpreter(path, version=VERSION, status=0):
    """Make a program that says its version as Python does, or ends like a shim of pyenv that has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\nexit {status}\n")
    path.chmod(0o755)
    return path


def test_one_of_the_path_is_found(tmp_path):
    """As `python3.99`."""
    python = interpreter(tmp_path / "bin/python3.99")

    assert find(VERSION, str(tmp_path / "bin"), tmp_path / "pyenv") == python


@pytest.mark.parametrize("said", ["", "3.9", "pyenv: python3.99: command not found"])
def test_a_shim_that_starts_nothing_is_passed_over(said, tmp_path):
    """Pyenv puts a shim into the path for each release, also for those that are not chosen; the newest release is asked then."""
    interpreter(tmp_path / "bin/python3.99", said, 127)
    interpreter(tmp_path / "pyenv/versions/3.99.2/bin/python")
    newest = interpreter(tmp_path / "pyenv/versions/3.99.10/bin/python")
    interpreter(tmp_path / "pyenv/versions/3.9.1/bin/python", "3.9")

    assert find(VERSION, str(tmp_path / "bin"), tmp_path / "pyenv") == newest


def test_the_newest_releases_are_tried_on_the_newest_python():
    """3.10 is newer than 3.9; a version that is not there is left out."""
    found = {"3.9": Path("nine"), "3.10": Path("ten")}

    tried = trials(["3.9", "3.10", "3.11", "newest"], found)
    assert tried == [Trial("3.9", Path("nine")), Trial("3.10", Path("ten")), Trial("newest", Path("ten"), locked=False)]
    assert trials(["newest"], {}) == []


def test_a_python_that_is_not_there_is_named(monkeypatch, tmp_path, capsys):
    """What was not tried must not look as if it was."""
    interpreter(tmp_path / "versions/3.99.1/bin/python")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", os.defpath)
    tried = []
    monkeypatch.setattr(pythons, "try_out", lambda trial, _: tried.append(trial.name))

    assert main([VERSION, "3.98", "newest"]) == 0
    assert tried == [VERSION, "newest"]
    assert "not tried: Python 3.98, of which there is none in PATH or in " in capsys.readouterr().out


def test_the_newest_releases_can_be_tried_alone(monkeypatch):
    """On the Python that runs it, where no other is asked for."""
    tried = []
    monkeypatch.setattr(pythons, "try_out", lambda trial, _: tried.append(trial))

    assert main(["newest"]) == 0
    assert tried == [Trial("newest", Path(sys.executable), locked=False)]


def test_package_lock_and_tests_name_the_same_pythons():
    """The oldest is the one that the locks and the checks are made for; each that is classified is tried."""
    makefile = (ROOT / "Makefile").read_text()
    (tried,) = re.findall(r"^PYTHON_VERSIONS := (.*)$", makefile, re.MULTILINE)
    classified = [
        found[1]
        for each in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each))
    ]
    oldest, *later = classified

    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert f"--python-version {oldest} " in makefile
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert set(later) < set(tried.split())
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in {*classified, *tried.split()}
