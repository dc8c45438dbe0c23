"""Documents: what may stand around a configuration, and what is taken for one by mistake."""

import json
from pathlib import Path

import pytest

from authz_server.config import ConfigurationError
from authz_server.config.documents import Document, from_bytes, unwrap
from authz_server.config.loading import load_document

GOOD = "version: 1\napis: {a: {routes: {/: {GET: {authorization_type: NONE}}}}}\n"
BAD = "version: 1\napis:\n  a: {x: 1}\n"


def document(text: str) -> Document:
    """A document that was read from a file."""
    return Document("authz.yaml", text, Path("authz.yaml"))


def config_map(text: str, *, indent: int = 2, name: str = "authz.yaml") -> str:
    """Write a ConfigMap around a text."""
    pad = " " * indent
    lines = "".join(f"{pad}{pad}{line}\n" if line else "\n" for line in text.split("\n"))
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n{pad}name: authz\ndata:\n{pad}other: &x plain\n{pad}{name}: |\n{lines}{pad}more: *x\n"
    )


def told(text: str) -> list[str]:
    """Say what is wrong with a text that is given to `validate`."""
    try:
        load_document(unwrap(document(text)), {})
    except ConfigurationError as error:
        return [f"{problem.file}:{problem.line}:{problem.column}: {problem.message}" for problem in error.problems]
    return []


@pytest.mark.parametrize("indent", [2, 4])
def test_a_config_map_is_looked_into(indent: int) -> None:
    """The configuration in it is taken, and a mistake is told where it stands in the file."""
    wrapped = config_map(BAD, indent=indent)
    line = next(number for number, text in enumerate(wrapped.split("\n"), 1) if "{x: 1}" in text)
    [problem] = told(wrapped)

    assert told(config_map(GOOD, indent=indent)) == []
    assert problem.startswith(f"authz.yaml:{line}:{2 * indent + 7}: unknown key 'x'")
    assert wrapped.split("\n")[line - 1][2 * indent + 6] == "x"


def test_text_that_is_no_yaml_has_its_place_in_the_config_map() -> None:
    """Also a mistake of syntax is told by its line in the file."""
    [problem] = told(config_map("\n# a comment\nversion: 1\napis: {\n"))

    assert problem.startswith("authz.yaml:12:5: this is not YAML")


def test_a_config_map_among_other_objects() -> None:
    """What a tool prints, several objects in one stream, is understood; lists and other maps are passed over."""
    service = "apiVersion: v1\nkind: Service\nspec: {ports: [{name: a}, b], data: {c: d}}\n"
    other = "kind: ConfigMap\ndata: {envoy.yaml: 'static_resources: {}'}\n"

    assert told(f"{service}---\n{other}---\n{config_map(GOOD)}---\n{service}") == []


def test_a_config_map_in_json() -> None:
    """Where the text is quoted, places are those in the entry, which is named."""
    text = json.dumps({"kind": "ConfigMap", "data": {"authz.yaml": BAD}})

    assert told(text.replace("{x: 1}", "{}")) == []
    assert told(text)[0].startswith("authz.yaml[authz.yaml]:3:7: unknown key 'x'")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kind: ConfigMap\n", "none"),
        ("kind: ConfigMap\ndata: {a: b, c: d}\n", "a, c"),
        (config_map(GOOD) + "---\n" + config_map(GOOD, name="second.yaml"), "authz.yaml, second.yaml"),
    ],
)
def test_a_config_map_without_one_configuration(text: str, found: str) -> None:
    """None or several that could be meant are an error that lists them."""
    expected = "this is a Kubernetes ConfigMap, expected one entry of `data` with a configuration (`version: 1`)"

    assert told(text) == [f"authz.yaml:1:1: {expected}, found {found}"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "openapi: 3.0.1\ninfo: {title: a}\npaths: {}\n",
            "an OpenAPI document; write its security schemes as `authorizers` and its paths as `routes`",
        ),
        ('{"swagger": "2.0", "info": null, "paths": {"/a": {}}}', "an OpenAPI document"),
        ("openapi: 3.0.1\nx: " + "[" * 40 + "]" * 40, "an OpenAPI document"),
        ("swagger: '2.0'\npaths: {a\n", "an OpenAPI document"),
        ("AWSTemplateFormatVersion: 2010-09-09\nResources: {Api: !Ref x}\n", "a CloudFormation template"),
        ("static_resources: {}\n", "a configuration of Envoy"),
        ("apiVersion: v1\nkind: Deployment\n", "a Kubernetes object"),
        ("? [a, b]\n: c\nkind: x\n---\nkind: y", "a Kubernetes object"),
    ],
)
def test_other_documents_are_named(text: str, what: str) -> None:
    """What was given by mistake is called by its name, in one line, also where it could not be read to its end."""
    [problem] = told(text)

    assert problem.startswith(f"authz.yaml:1:1: expected a configuration of authz-server (`version: 1`), this is {what}")


def test_a_config_map_is_no_configuration_for_a_server() -> None:
    """Only `validate` looks into one: a server is given the file that Kubernetes makes of it."""
    with pytest.raises(ConfigurationError, match="a server needs the file that it holds"):
        load_document(document(config_map(GOOD)), {})


@pytest.mark.parametrize("text", ["version: 1\nkind: x\n", "hello: 1\n", "- openapi\n", "version: 1\n# a ConfigMap\nopenapi: {\n"])
def test_a_configuration_with_mistakes_is_not_taken_for_something_else(text: str) -> None:
    """A file that says its version, or nothing that is known, is told what is wrong with it."""
    assert all("expected a configuration of authz-server" not in problem for problem in told(text))
    assert told(text)


def test_what_stands_on_standard_input() -> None:
    """It is named so, and other files that it names are looked for in the working directory."""
    with pytest.raises(ConfigurationError, match=r"^<stdin>:1:5: the file is not UTF-8"):
        from_bytes(b"abc \xff")

    assert from_bytes(b"\xef\xbb\xbfversion: 1").text == "version: 1"
    assert from_bytes(b"").path.parent == Path()


def test_standard_input_has_a_largest_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped in is told like a file that is too large."""
    monkeypatch.setattr("authz_server.config.documents.MAX_SIZE", 2**20)
    with pytest.raises(ConfigurationError, match="<stdin>:1:1: the file is larger than 1 MiB"):
        from_bytes(b" " * (2**20 + 1))
