"""Check the licence of everything that a lock names: `make licences`.

A licence that `licences.toml` does not allow fails, and so does a package whose licence can not be told.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, Licensing, get_spdx_licensing

from supply_chain.locks import Pin, pins

POLICY = Path(__file__).with_name("licences.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is allowed, and what a person found out.

    Args:
        allowed: SPDX identifiers.
        words: SPDX expression by what metadata says instead.
        read: SPDX expression by pin.
    """

    allowed: frozenset[str]
    words: Mapping[str, str]
    read: Mapping[str, str]

    @classmethod
    def load(cls, file: Path = POLICY) -> "Policy":
        """Read the policy of this repository."""
        told = tomllib.loads(file.read_text())
        return cls(allowed=frozenset(told["allowed"]), words=told["words"], read=told["read"])

    def licence(self, pin: Pin, metadata: Message | None) -> str | None:
        """Tell the licence of a package.

        Args:
            pin: the package.
            metadata: its own, or None where it is not installed.

        Returns:
            An SPDX expression, or None when it can not be told.

        Source: core metadata, `License-Expression`, `License` and `Classifier`.
        """
        if str(pin) in self.read:
            return self.read[str(pin)]
        if metadata is None:
            return None
        if expression := metadata.get("License-Expression"):
            return self._joined([expression])
        first, *_ = metadata.get("License", "").strip().splitlines() or [""]
        classifiers = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", []) if each.startswith("License :: ")]
        told = [self.words.get(words, words) for words in ([first], classifiers) for words in words]
        return self._joined(told[:1]) or self._joined(told[1:])

    def allows(self, expression: str) -> bool:
        """Whether an SPDX expression can be met by allowed licences: all of them, or one where there is a choice."""
        return self._met(_spdx().parse(expression, validate=True))

    def _met(self, part: Any) -> bool:
        if isinstance(part, _spdx().OR):
            return any(map(self._met, part.args))
        if isinstance(part, _spdx().AND):
            return all(map(self._met, part.args))
        return str(part) in self.allowed

    @staticmethod
    def _joined(expressions: Sequence[str]) -> str | None:
        """Join expressions, when there are some and each is SPDX's."""
        try:
            for each in expressions:
                _spdx().parse(each, validate=True)
        except ExpressionError:
            return None
        return " AND ".join(filter(None, expressions)) or None


@cache
def _spdx() -> Licensing:
    return get_spdx_licensing()


def installed(folders: Sequence[str]) -> dict[Pin, Message]:
    """Read the metadata of what is installed.

    Args:
        folders: `site-packages` of each environment.

    Returns:
        Metadata by name and version.
    """
    found = distributions(path=list(folders))
    return {Pin(each.metadata["Name"].lower().replace("_", "-").replace(".", "-"), each.version): each.metadata for each in found}


def problems(policy: Policy, wanted: Iterable[Pin], metadata: Mapping[Pin, Message]) -> Iterator[str]:
    """Find what may not be used, or is not known well enough.

    Args:
        policy: what is allowed.
        wanted: every pin of the locks.
        metadata: of what is installed.

    Yields:
        Sentences.
    """
    wanted = tuple(wanted)
    for pin in wanted:
        licence = policy.licence(pin, metadata.get(pin))
        if licence is None:
            yield f"{pin}: its licence can not be told; read it, and add it to [read] in {POLICY.name}"
        elif not policy.allows(licence):
            yield f"{pin}: {licence} is not allowed; use something else, or add it to `allowed` in {POLICY.name}"
    for name in policy.read.keys() - set(map(str, wanted)):
        yield f"{name}: no lock names it; take it out of [read] in {POLICY.name}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and say what is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--site", action="append", default=[], metavar="SITE-PACKAGES", help="of an environment made of the locks")
    parser.add_argument("locks", nargs="+", type=Path)
    given = parser.parse_args(arguments)
    wanted = tuple(pins(given.locks))
    found = list(problems(Policy.load(), wanted, installed(given.site)))
    print("\n".join(found) if found else f"{len(wanted)} packages, all of an allowed licence", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
