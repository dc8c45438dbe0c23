"""The wheel is the same wherever and whenever it is built, and its bill of materials is complete."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from supply_chain import wheel as wheels
from supply_chain.bill import bill
from supply_chain.licences import installed
from supply_chain.locks import read

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements-server.lock"
WHEN = 1_790_000_000


def copy(folder, *, age, mask):
    """Copy the project to another folder, as if it had been checked out at another time by somebody else."""
    before = os.umask(mask)
    try:
        for name in ("authz_server", "deploy/envoy/envoy.yaml", "pyproject.toml", "README.md", "LICENSE"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile)
            else:
                shutil.copyfile(ROOT / name, target)
    finally:
        os.umask(before)
    for path in folder.rglob("*"):
        os.utime(path, (age, age))
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this project."""
    return wheels.build(ROOT, tmp_path_factory.mktemp("wheel"), WHEN)


@pytest.fixture(scope="module")
def told(wheel):
    """Its bill of materials, as text."""
    return bill(wheel, LOCK, installed(sys.path), WHEN)


@pytest.fixture(scope="module")
def parts(told):
    """The components of the bill, by `bom-ref`."""
    return {each["bom-ref"]: each for each in json.loads(told)["components"]}


def test_a_wheel_built_elsewhere_at_another_time_has_the_same_octets(wheel, tmp_path):
    """Neither the folder, nor the age and mode of files, nor the clock is in it."""
    other = copy(tmp_path / "somewhere" / "else", age=1_000_000_000, mask=0o077)

    assert wheels.build(other, tmp_path, WHEN).read_bytes() == wheel.read_bytes()


def test_everything_in_a_wheel_bears_the_time_it_was_given(wheel):
    """SOURCE_DATE_EPOCH, and so the commit, decides; another one makes other octets."""
    with zipfile.ZipFile(wheel) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 9, 21, 14, 13, 20)}


def test_the_time_is_that_of_the_last_commit(tmp_path, monkeypatch):
    """Unless SOURCE_DATE_EPOCH is set, as those who build again do."""
    name = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, env={**os.environ, **name, "GIT_COMMITTER_DATE": f"{WHEN} +0200"})

    assert wheels.commit_time(tmp_path) == WHEN
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert wheels.commit_time(tmp_path) == 7


def test_the_bill_is_valid_cyclonedx(told):
    """It passes CycloneDX's own schema, version 1.6, strictly."""
    assert json.loads(told)["specVersion"] == "1.6"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(told) is None


def test_the_bill_names_what_the_server_runs_with(parts):
    """Each pin of the server's lock, with the hashes of the lock and an SPDX licence, and nothing else."""
    wanted = {f"pkg:pypi/{pin.name}@{pin.version}": hashes for pin, hashes in read(LOCK).items()}

    assert parts.keys() == wanted.keys()
    for reference, hashes in wanted.items():
        part = parts[reference]
        assert part["purl"] == reference
        assert sorted(each["content"] for each in part["externalReferences"][0]["hashes"]) == sorted(hashes)
        assert part["licenses"]


def test_the_bill_says_what_needs_what(told, parts):
    """Every component is reached from the product: what nothing needs would not be in the lock."""
    needs = {each["ref"]: each.get("dependsOn", []) for each in json.loads(told)["dependencies"]}
    reached, ahead = set(), [json.loads(told)["metadata"]["component"]["bom-ref"]]
    while ahead:
        reference = ahead.pop()
        if reference not in reached:
            reached.add(reference)
            ahead += needs[reference]

    assert parts.keys() < reached


def test_the_bill_is_of_this_very_wheel(told, wheel):
    """The product bears the hash of the wheel, and time and serial number follow from what is described."""
    product = json.loads(told)["metadata"]["component"]

    assert (product["type"], product["name"]) == ("application", "authz-server")
    assert product["hashes"] == [{"alg": "SHA-256", "content": sha256(wheel.read_bytes()).hexdigest()}]
    assert bill(wheel, LOCK, installed(sys.path), WHEN) == told


def test_make_wheel_writes_both(tmp_path, monkeypatch, capsys):
    """The wheel and its bill lie side by side."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(WHEN))

    assert wheels.main([str(tmp_path)]) == 0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".whl"]
    assert capsys.readouterr().out.split() == [str(path) for path in sorted(tmp_path.iterdir(), key=lambda path: path.suffix != ".whl")]
