"""Look for known vulnerabilities of everything that a lock names: `make audit`.

Asked for what it does not know, pip-audit skips it and calls the whole a success; told to be strict, it stops there and keeps silent about
what it found elsewhere. So its report is read instead: a vulnerability fails, and whatever was not looked at is *unknown*, in plain words.
One package that is known to be bad is asked for as well: a source that does not know that one has no data.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supply_chain.locks import Pin, pins

KNOWN_BAD = Pin("pyyaml", "5.3")  # CVE-2020-1747
TIMEOUT_SECONDS = 50


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known about some packages.

    Args:
        bad: vulnerabilities by pin.
        unknown: why, by pin.
    """

    bad: dict[Pin, str]
    unknown: dict[Pin, str]


def rounds(wanted: Iterable[Pin]) -> list[list[Pin]]:
    """Part pins so that none of the lists has two versions of a package, which pip-audit refuses."""
    parted: list[dict[str, Pin]] = []
    for pin in wanted:
        for part in parted:
            if part.setdefault(pin.name, pin) is pin:
                break
        else:
            parted.append({pin.name: pin})
    return [list(part.values()) for part in parted]


def ask(pip_audit: str, wanted: Sequence[Pin]) -> Findings:
    """Ask pip-audit about packages of different names.

    Args:
        pip_audit: the command.
        wanted: what to ask for.

    Returns:
        What it reported; what it has not told is unknown.
    """
    command = [pip_audit, "--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json", "--requirement"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{pin}\n" for pin in wanted))
        file.flush()
        try:
            ended = subprocess.run([*command, file.name], capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
            report = {entry["name"]: entry for entry in json.loads(ended.stdout)["dependencies"]}
        except subprocess.TimeoutExpired:
            return Findings({}, dict.fromkeys(wanted, f"no answer within {TIMEOUT_SECONDS} s"))
        except ValueError:
            said = ended.stderr.strip().splitlines() or ["nothing"]
            return Findings({}, dict.fromkeys(wanted, f"pip-audit ended with {ended.returncode} and said: {said[-1]}"))
    entries = {pin: report.get(pin.name, {}) for pin in wanted}
    bad = {pin: ", ".join(each["id"] for each in entry["vulns"]) for pin, entry in entries.items() if entry.get("vulns")}
    unknown = {pin: entry.get("skip_reason", "pip-audit did not name it") for pin, entry in entries.items() if "vulns" not in entry}
    return Findings(bad, unknown)


def conclude(wanted: Sequence[Pin], found: Findings) -> tuple[int, list[str]]:
    """Say what an audit came to.

    Args:
        wanted: the packages of the locks, without the one that is known to be bad.
        found: about these and that one.

    Returns:
        Exit status, and lines for a person.
    """
    lines = [f"{pin}: {found.bad[pin]}" for pin in wanted if pin in found.bad]
    unknown = {pin: why for pin, why in found.unknown.items() if pin in wanted}
    if KNOWN_BAD not in found.bad:
        unknown |= {
            pin: f"the source does not even know that {KNOWN_BAD} is vulnerable" for pin in wanted if pin not in found.bad | unknown
        }
    if unknown:
        lines.append(f"UNKNOWN, which is no pass: {len(unknown)} of {len(wanted)} packages were not audited, such as {_example(unknown)}")
    elif not lines:
        lines.append(f"{len(wanted)} packages, none with a known vulnerability")
    return (1 if any(pin in found.bad for pin in wanted) else 0), lines


def _example(unknown: dict[Pin, str]) -> str:
    pin, why = next(iter(unknown.items()))
    return f"{pin} ({why})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, and say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pip_audit", metavar="PIP-AUDIT", help="the command")
    parser.add_argument("locks", nargs="+", type=Path)
    given = parser.parse_args(arguments)
    wanted = tuple(pins(given.locks))
    found = Findings({}, {})
    for part in rounds([*wanted, KNOWN_BAD]):
        told = ask(given.pip_audit, part)
        found = Findings(found.bad | told.bad, found.unknown | told.unknown)
    status, lines = conclude(wanted, found)
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
