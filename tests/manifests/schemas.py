"""The published schemas of Kubernetes' objects and of custom resources, and what they have against an object."""

import json
import os
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft4Validator, Draft202012Validator
from jsonschema.protocols import Validator
from referencing import Registry, Resource

ROOT = Path(__file__).parents[2]
MODULES = Path(__file__).with_name("definitions.toml")
METADATA = {  # what our objects say of themselves
    "type": "object",
    "properties": {name: {} for name in ("name", "namespace", "labels", "annotations")},
    "additionalProperties": False,
}

Find = Callable[[str, str], Validator]


def kubernetes(version: str) -> Find:
    """Read Kubernetes' own schemas, in which an unknown field is a mistake.

    Args:
        version: of Kubernetes, such as 1.37.

    Returns:
        A function that finds the schema of an apiVersion and a kind.

    Raises:
        FileNotFoundError: from that function, when the version of Kubernetes has no such kind.
    """
    (folder,) = ROOT.glob(f".venv-manifests/lib/*/site-packages/kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict")
    shared = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))

    def find(api_version: str, kind: str) -> Validator:
        group, _, number = api_version.rpartition("/")
        name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], number)))
        return Draft202012Validator(json.loads((folder / f"{name}.json").read_text()), registry=shared @ Registry())

    return find


def custom() -> Find:
    """Read the schemas of custom resources, closed so that an unknown field is a mistake, as it is to `kubectl apply --validate=strict`.

    Returns:
        A function that finds the schema of an apiVersion and a kind.

    Raises:
        KeyError: from that function, when no definition names them.
        ValueError: when a module is another one than `definitions.toml` names.

    Source: Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions"; rules in CEL are for an API server.
    """
    found = {}
    for definition in _definitions():
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": METADATA}  # which every object has, named or not
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = Draft4Validator(schema)
    return lambda api_version, kind: found[api_version, kind]


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Close a structural schema: what it does not name is a mistake, and what is nullable may be null."""
    copy = dict(schema)
    if "properties" in copy:
        copy["properties"] = {name: closed(below) for name, below in copy["properties"].items()}
        if not copy.get("x-kubernetes-preserve-unknown-fields"):
            copy["additionalProperties"] = False
    elif isinstance(copy.get("additionalProperties"), dict):
        copy["additionalProperties"] = closed(copy["additionalProperties"])
    if "items" in copy:
        copy["items"] = closed(copy["items"])
    if copy.get("nullable"):
        return {"anyOf": [{"type": "null"}, copy]}
    return copy


def mistakes(find: Find, thing: dict[str, Any], *, patch: bool = False) -> list[str]:
    """List what a schema has against an object.

    Args:
        find: finds the schema.
        thing: the object.
        patch: whether it is a patch of one, which needs no field, and may delete some with null.

    Returns:
        The place of each mistake and what is wrong there.
    """
    errors = find(thing["apiVersion"], thing["kind"]).iter_errors(_without_null(thing) if patch else thing)
    return [f"{error.json_path}: {error.message}" for error in errors if not (patch and error.validator == "required")]


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(below) for name, below in value.items() if below is not None}
    return [_without_null(below) for below in value] if isinstance(value, list) else value


@cache
def _modules() -> list[tuple[Path, str]]:
    """Fetch the modules, or take them from Go's cache; the folder of each, and which of its files count."""
    wanted = tomllib.loads(MODULES.read_text())["module"]
    command = ["go", "mod", "download", "-json", *(f"{each['path']}@{each['version']}" for each in wanted)]
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOSUMDB": "off"}  # the sums are compared here
    run = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=True)
    told = {each["Path"]: each for each in _json_values(run.stdout)}
    for each in wanted:
        if told[each["path"]]["Sum"] != each["sum"]:
            raise ValueError(f"{each['path']} {each['version']} has the sum {told[each['path']]['Sum']}, not that of {MODULES}")
    return [(Path(told[each["path"]]["Dir"]), each["files"]) for each in wanted]


def _json_values(text: str) -> Iterator[dict[str, Any]]:
    """Read JSON values that stand one after the other."""
    while text := text.lstrip():
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:]


def _definitions() -> Iterator[dict[str, Any]]:
    for folder, files in _modules():
        for file in sorted(folder.glob(files)):
            read = yaml.load_all(file.read_text(), yaml.CSafeLoader)
            yield from (each for each in read if each and each["kind"] == "CustomResourceDefinition")
