"""The files in deploy/, read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
ENVOY = DEPLOY / "envoy/envoy.yaml"
KUBERNETES = DEPLOY / "kubernetes"


def documents(file: Path) -> list[dict[str, Any]]:
    """Read every document of a YAML file."""
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def manifest(folder: str, kind: str) -> dict[str, Any]:
    """Find the one manifest of a kind."""
    (found,) = [each for file in sorted((DEPLOY / folder).glob("*.yaml")) for each in documents(file) if each.get("kind") == kind]
    return found


def members(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk every member of a document, with the names that lead to it."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield (*path, str(name)), below
            yield from members(below, (*path, str(name)))
    elif isinstance(value, list):
        for below in value:
            yield from members(below, path)
