"""Every dependency is of a licence that somebody has agreed to."""

import sys
from email.message import Message
from pathlib import Path

import pytest

from supply_chain.licences import Policy, installed, main, problems
from supply_chain.locks import Pin, pins

ROOT = Path(__file__).parents[2]
PIN = Pin("left", "1.0")
POLICY = Policy(allowed=frozenset({"MIT", "Apache-2.0"}), words={"Apache 2": "Apache-2.0"}, read={})


def metadata(**fields):
    """Write core metadata; names are given with underscores."""
    message = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


def found(message, policy=POLICY):
    """Check one package."""
    return list(problems(policy, [PIN], {} if message is None else {PIN: message}))


@pytest.mark.parametrize(
    "message",
    [
        metadata(License_Expression="MIT"),
        metadata(License_Expression="MIT AND Apache-2.0"),
        metadata(License_Expression="GPL-3.0-only OR MIT"),
        metadata(License_Expression="(GPL-3.0-only OR MIT) AND Apache-2.0"),
        metadata(License="MIT"),
        metadata(License="Apache 2\n\nand all the text"),
        metadata(License="see LICENSE", Classifier=["Typing :: Typed", "License :: OSI Approved :: Apache 2"]),
    ],
    ids=lambda message: "; ".join(map(": ".join, message.items())),
)
def test_an_allowed_licence_passes(message):
    """SPDX expressions, the licence field and classifiers are understood, in this order."""
    assert found(message) == []


@pytest.mark.parametrize(
    "message",
    [
        metadata(License_Expression="GPL-3.0-only"),
        metadata(License_Expression="MIT AND GPL-3.0-only"),
        metadata(License_Expression="Apache-2.0 WITH LLVM-exception"),
        metadata(License="MPL-2.0", Classifier="License :: OSI Approved :: Apache 2"),
        metadata(Classifier=["License :: OSI Approved :: Apache 2", "License :: MPL-2.0"]),
    ],
    ids=lambda message: "; ".join(map(": ".join, message.items())),
)
def test_another_licence_fails(message):
    """All licences of a package must be allowed, where it offers no choice."""
    (problem,) = found(message)

    assert problem.startswith("left==1.0: ")
    assert "is not allowed" in problem


@pytest.mark.parametrize(
    "message", [None, metadata(), metadata(License="ours"), metadata(Classifier="License :: OSI Approved :: BSD License")]
)
def test_a_licence_that_can_not_be_told_fails(message):
    """A package that is not installed, or says nothing exact, has to be read by a person."""
    (problem,) = found(message)

    assert "can not be told" in problem


def test_what_a_person_has_read_counts_for_one_version():
    """Another version may have another licence, and an entry that no lock needs any more is pointed out."""
    policy = Policy(allowed=POLICY.allowed, words={}, read={"left==1.0": "MIT"})

    assert found(None, policy) == []
    assert len(list(problems(policy, [Pin("left", "1.1")], {}))) == 2


def test_the_allow_list_is_spdx():
    """Each allowed licence is an SPDX identifier, and each word stands for an allowed one."""
    policy = Policy.load()

    assert [each for each in [*policy.allowed, *policy.words.values(), *policy.read.values()] if not policy.allows(each)] == []


def test_what_the_server_runs_with_is_of_an_allowed_licence():
    """Nothing that runs, tests or builds this server fails the check; `make licences` asks the same of all locks."""
    told = problems(Policy.load(), pins([ROOT / "requirements.lock", ROOT / "requirements-server.lock"]), installed(sys.path))

    assert [each for each in told if "no lock names it" not in each] == []


def test_what_a_person_has_read_is_still_used():
    """Each entry is of a package that some lock names, in that version."""
    assert Policy.load().read.keys() <= {str(pin) for pin in pins(ROOT.glob("requirements*.lock"))}


@pytest.mark.parametrize(("read", "status"), [({}, 1), ({"left==1.0": "MIT"}, 0), ({"left==1.0": "GPL-3.0-only"}, 1)])
def test_the_command_fails_for_what_is_not_allowed(tmp_path, monkeypatch, capsys, read, status):
    """It ends with 1 and names the package, or with 0 and says how many it has looked at."""
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"left==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(Policy, "load", lambda: Policy(allowed=POLICY.allowed, words={}, read=read))

    assert main([str(lock)]) == status
    said = capsys.readouterr()
    assert (said.err if status else said.out).startswith("left==1.0: " if status else "1 packages, all of")


def test_names_of_what_is_installed_are_those_of_the_locks():
    """Metadata may spell a name with capitals, dots and underscores, a lock does not."""
    assert {"pyyaml", "pyjwt", "google-re2", "typing-extensions", "boolean-py"} <= {pin.name for pin in installed(sys.path)}
