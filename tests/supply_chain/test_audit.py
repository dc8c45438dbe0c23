"""The audit never takes silence for good news."""

import json
import sys

import pytest

from supply_chain.audit import KNOWN_BAD, main, rounds
from supply_chain.locks import Pin

LOCK = "".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in ("idna==3.0", "pyyaml==6.0"))
GOOD, BAD = {"vulns": []}, {"vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}
SKIPPED = {"skip_reason": "not found"}
DATA = {str(KNOWN_BAD): BAD, "idna==3.0": GOOD, "pyyaml==6.0": GOOD}


@pytest.fixture
def audit(tmp_path, capsys):
    """Audit two packages with a pip-audit that reports what the test says."""

    def run(report, *, body="json.dump({'dependencies': told}, sys.stdout)"):
        command, lock = tmp_path / "pip-audit", tmp_path / "lock"
        command.write_text(
            f"#!{sys.executable}\nimport json, sys\nreport = json.loads({json.dumps(report)!r})\n"
            "told = [{'name': pin.partition('==')[0], **report[pin]} for pin in open(sys.argv[-1]).read().split() if pin in report]\n"
            f"{body}\n"
        )
        command.chmod(0o755)
        lock.write_text(LOCK)
        return main([str(command), str(lock)]), capsys.readouterr().out

    return run


def test_everything_was_looked_at(audit):
    """Only where each package was audited, by a source that has data, is there no known vulnerability."""
    assert audit(DATA) == (0, "2 packages, none with a known vulnerability\n")


def test_a_vulnerability_fails(audit):
    """Status 1, the package and the names of its vulnerabilities."""
    assert audit({**DATA, "idna==3.0": BAD}) == (1, "idna==3.0: CVE-1, CVE-2\n")


def test_a_vulnerability_fails_whatever_is_unknown(audit):
    """What was skipped does not hide what was found elsewhere, nor the other way round."""
    status, said = audit({str(KNOWN_BAD): SKIPPED, "idna==3.0": BAD, "pyyaml==6.0": SKIPPED})

    assert status == 1
    assert "idna==3.0: CVE-1" in said
    assert "UNKNOWN, which is no pass: 1 of 2 packages were not audited, such as pyyaml==6.0 (not found)" in said


@pytest.mark.parametrize(
    ("report", "count", "why"),
    [
        ({**DATA, "pyyaml==6.0": SKIPPED}, 1, "pyyaml==6.0 (not found)"),
        ({str(KNOWN_BAD): BAD, "pyyaml==6.0": GOOD}, 1, "idna==3.0 (pip-audit did not name it)"),
        ({**DATA, str(KNOWN_BAD): GOOD}, 2, "the source does not even know that pyyaml==5.3 is vulnerable"),
        ({**DATA, str(KNOWN_BAD): SKIPPED}, 2, "the source does not even know that pyyaml==5.3 is vulnerable"),
    ],
    ids=["skipped", "not named", "source without data", "source without the package"],
)
def test_what_was_not_looked_at_is_unknown(audit, report, count, why):
    """It fails nothing, and it is not called a pass."""
    status, said = audit(report)

    assert status == 0
    assert f"UNKNOWN, which is no pass: {count} of 2 packages" in said
    assert why in said
    assert "none with" not in said


def test_a_source_that_can_not_be_reached_is_unknown(audit):
    """pip-audit's last words are told."""
    status, said = audit({}, body="sys.exit('no route to host')")

    assert status == 0
    assert "UNKNOWN" in said
    assert "no route to host" in said


def test_two_versions_of_a_package_are_asked_for_apart():
    """A lock has a version for each Python, and pip-audit takes one of a name at a time."""
    assert rounds([Pin("a", "1"), Pin("a", "2"), Pin("b", "1")]) == [[Pin("a", "1"), Pin("b", "1")], [Pin("a", "2")]]
